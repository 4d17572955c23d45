"""Words on pictures: drawn with Pillow's own font on a white card, and the same letters in an order that is no word."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection as Held
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SHORTEST, LONGEST, LEAST_SIDE, TILE, TRIES = 3, 24, 160, 96, 30
HIGH, PADDING = 0.25, 0.15


def drawable(name: str) -> bool:
    """Whether Pillow's font can draw a name large enough to be read, and its letters can be in another order."""
    signs = name.replace(" ", "")
    return name.isascii() and len(signs) >= SHORTEST and len(name) <= LONGEST and len(set(signs.lower())) > 1


def shuffled(name: str, known: Held[str], rng: np.random.Generator) -> str | None:
    """The same letters in an order that is none of the known names, spaces left alone; None where none was drawn."""
    places = [at for at, sign in enumerate(name) if sign != " "]
    for _ in range(TRIES):
        signs = list(name)
        for at, other in zip(places, rng.permutation(places).tolist(), strict=True):
            signs[at] = name[other]
        if (made := "".join(signs)) != name and made not in known:
            return made
    return None


def written(picture: Any, words: Sequence[str], wide: float, rng: np.random.Generator) -> list[Image.Image]:
    """The picture with each of the words on a card of one size at one place, which is drawn.

    Args:
        wide: the card's width as a share of the picture's; it is at most a quarter of it high.
    """
    ground = picture.convert("RGB")
    if (least := min(ground.size)) < LEAST_SIDE:
        ground = ground.resize([round(side * LEAST_SIDE / least) for side in ground.size], Image.Resampling.BICUBIC)
    unit = ImageFont.load_default(100)
    boxes = [unit.getbbox(word) for word in words]
    across, down = max(b[2] - b[0] for b in boxes), max(b[3] - b[1] for b in boxes)
    card = 1 + 2 * PADDING
    scale = min(wide * ground.width / (across + 2 * PADDING * down), HIGH * ground.height / (down * card))
    width, height = round(scale * (across + 2 * PADDING * down)), round(scale * down * card)
    left = int(rng.integers(0, max(1, ground.width - width + 1)))
    top = int(rng.integers(0, max(1, ground.height - height + 1)))
    font, made = ImageFont.load_default(max(6.0, 100 * scale)), []
    for word in words:
        image = ground.copy()
        pen = ImageDraw.Draw(image)
        pen.rectangle((left, top, left + width - 1, top + height - 1), fill="white")
        pen.text((left + width / 2, top + height / 2), word, fill="black", font=font, anchor="mm")
        made.append(image)
    return made


def sheet(rows: Sequence[Sequence[Image.Image]]) -> str:
    """An SVG of pictures side by side, a row under another."""
    size = max(len(row) for row in rows) * TILE, len(rows) * TILE
    whole = Image.new("RGB", size, "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            tile = picture.convert("RGB")
            tile.thumbnail((TILE - 2, TILE - 2))
            whole.paste(tile, (x * TILE, y * TILE))
    held = io.BytesIO()
    whole.save(held, "JPEG", quality=85)
    source = "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode()
    shape = f'width="{size[0]}" height="{size[1]}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {shape}><image href="{source}" {shape}/></svg>'
