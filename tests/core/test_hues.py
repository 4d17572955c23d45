"""Colours of pictures in one word, and hues turned."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from tellapart.core.hues import COLOURS, colour_of, turned_hue

KNOWN = {
    "red": (220, 30, 40), "orange": (240, 130, 20), "yellow": (250, 220, 40), "green": (40, 170, 60),
    "blue": (40, 90, 220), "purple": (130, 50, 190), "pink": (250, 110, 190), "brown": (120, 70, 30),
}  # fmt: skip


def disc(colour, ground="white"):
    image = Image.new("RGB", (60, 60), ground)
    ImageDraw.Draw(image).ellipse((10, 10, 50, 50), fill=colour, outline="black")
    return image


@pytest.mark.parametrize("name", COLOURS)
def test_a_disc_has_its_colour_on_any_ground_without_one(name):
    assert [colour_of(disc(KNOWN[name], ground)) for ground in ("white", "black", "grey")] == [name] * 3


def test_what_has_no_colour_or_several_has_none():
    both = disc(KNOWN["red"])
    draw = ImageDraw.Draw(both)
    draw.rectangle((10, 10, 22, 50), fill=KNOWN["green"])
    draw.rectangle((23, 10, 34, 50), fill=KNOWN["blue"])
    assert colour_of(both) == colour_of(disc("grey")) == colour_of(Image.new("RGB", (9, 9), "white")) == ""


def test_hues_are_turned_and_grey_stays():
    assert colour_of(turned_hue(disc(KNOWN["red"]), 120)) == "green"
    assert colour_of(turned_hue(disc(KNOWN["red"]), 240)) == "blue"
    assert turned_hue(disc("grey"), 90).getpixel((30, 30)) == disc("grey").getpixel((30, 30))
