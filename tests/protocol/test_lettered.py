"""The reader reads the card, and nothing where there is none or no name on it."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from tellapart.protocol import lettered

NAMES = ("anchor", "boat", "candle")


def card(word: str) -> Image.Image:
    picture = Image.new("RGB", (160, 160), (60, 120, 90))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((20, 40, 140, 80), fill="white")
    pen.text((80, 60), word, fill="black", font=ImageFont.load_default(28), anchor="mm")
    return picture


def test_names_are_read_and_other_letters_are_not():
    assert [lettered._read(card(name), NAMES) for name in NAMES] == list(NAMES)
    assert lettered._read(card("chanor"), NAMES) == ""
    assert lettered._read(Image.new("RGB", (160, 160), (60, 120, 90)), NAMES) == ""
