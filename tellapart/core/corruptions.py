"""What pictures really suffer, in five severities: saved too small, photographed in the dark, scanned, stained.

A registry after that of MedMNIST-C (Di Salvo, Doerrich, Ledig, 2024), of the damage that files of the web, photographs
taken by hand and scans of paper have, instead of that of medical instruments. Lengths are shares of the shorter side,
so that a severity means the same for an icon and for a photograph. Nothing moves: what a picture shows, and where,
stays. numpy and Pillow only.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

Source = Literal["any", "web", "photo", "scan"]
SEVERITIES = 5
_WORDS = ("SAMPLE", "COPY", "PREVIEW", "DRAFT")


@dataclass(frozen=True)
class Corruption:
    """One kind of damage.

    Attributes:
        family: what it has in common with others: digital, blur, noise, colour, dirt.
        sources: what kinds of pictures have it.
        levels: the parameter at severities 1 to 5.
        made: (RGB picture, level, rng) -> RGB picture.
    """

    name: str
    family: str
    sources: frozenset[str]
    levels: tuple[float, float, float, float, float]
    made: Callable[[Image.Image, float, np.random.Generator], Image.Image]

    def at(self, image: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
        """The picture at a severity of 1 to 5, which need not be whole; of the same size and mode."""
        level = float(np.interp(severity, np.arange(1, SEVERITIES + 1), self.levels))
        return self._back(image, level, rng)

    def anyhow(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """The picture at a level drawn evenly between the lowest and the highest."""
        return self._back(image, float(rng.uniform(min(self.levels), max(self.levels))), rng)

    def _back(self, image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
        made = self.made(image.convert("RGB"), level, rng)
        return made if made.mode == image.mode else made.convert(image.mode)


def corruptions(source: Source = "any", but: str = "") -> list[Corruption]:
    """Those that pictures of this source have, in a fixed order.

    Args:
        but: names or families to leave out, with "|" between.
    """
    left = set(but.split("|"))
    wanted = [c for c in REGISTRY.values() if source == "any" or source in c.sources]
    return [c for c in wanted if c.name not in left and c.family not in left]


def _side(image: Image.Image) -> int:
    return min(image.size)


def _floats(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32)


def _picture(x: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(x), 0, 255).astype(np.uint8))


def _jpeg(image: Image.Image, quality: float, rng: np.random.Generator) -> Image.Image:
    held = io.BytesIO()
    image.save(held, "JPEG", quality=round(quality))
    held.seek(0)
    return Image.open(held).convert("RGB")


def _palette(image: Image.Image, bits: float, rng: np.random.Generator) -> Image.Image:
    return image.quantize(max(2, round(2**bits)), dither=Image.Dither.NONE).convert("RGB")


def _rescaled(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Shrunk until a pixel is that share of the shorter side, and enlarged again."""
    factor = min(1.0, 1 / (share * _side(image)))
    small = tuple(max(1, round(factor * n)) for n in image.size)
    shrunk = image.resize((small[0], small[1]), Image.Resampling.BOX)
    return shrunk.resize(image.size, Image.Resampling.BILINEAR)


def _blurred(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(share * _side(image)))


def _moved(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """The mean of the picture along a line of that length; what comes in from outside repeats the rim."""
    angle, length = float(rng.uniform(0, math.pi)), share * _side(image)
    steps = max(2, math.ceil(length) + 1)
    offsets = {(round(t * math.cos(angle)), round(t * math.sin(angle))) for t in np.linspace(-0.5, 0.5, steps) * length}
    reach = max(max(abs(dx), abs(dy)) for dx, dy in offsets)
    wide = np.pad(_floats(image), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    (w, h), total = image.size, np.zeros((image.height, image.width, 3), np.float32)
    for dx, dy in sorted(offsets):
        total += wide[reach + dy : reach + dy + h, reach + dx : reach + dx + w]
    return _picture(total / len(offsets))


def _noisy(image: Image.Image, spread: float, rng: np.random.Generator) -> Image.Image:
    x = _floats(image)
    return _picture(x + 255 * spread * rng.standard_normal(x.shape, dtype=np.float32))


def _specked(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    x, drawn = np.array(image), rng.random((image.height, image.width), dtype=np.float32)
    x[drawn < share / 2], x[drawn > 1 - share / 2] = 0, 255
    return Image.fromarray(x)


def _brightened(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def _faded(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Less contrast, towards a light grey: what light and age do to ink."""
    return Image.blend(image, Image.new("RGB", image.size, (214, 214, 214)), share)


def _cast(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Light of a colour: lamps and old paper warm, shade cold."""
    tint = (1.0, 1 - 0.45 * share, 1 - share) if rng.random() < 0.5 else (1 - share, 1 - 0.35 * share, 1.0)
    return _picture(_floats(image) * np.asarray(tint, np.float32))


def _stained(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Brown blots with a soft rim, whose areas sum to about that share of the picture."""
    veil, blots = Image.new("L", image.size, 0), int(rng.integers(1, 4))
    for _ in range(blots):
        r = math.sqrt(share * image.width * image.height / blots / math.pi)
        x, y, flat = rng.uniform(0, image.width), rng.uniform(0, image.height), rng.uniform(0.7, 1.4)
        ImageDraw.Draw(veil).ellipse((x - r * flat, y - r / flat, x + r * flat, y + r / flat), fill=190)
    soft = veil.filter(ImageFilter.GaussianBlur(0.02 * _side(image)))
    brown = ImageChops.multiply(image, Image.new("RGB", image.size, (120, 84, 50)))
    return Image.composite(brown, image, soft)


def _scratched(image: Image.Image, count: float, rng: np.random.Generator) -> Image.Image:
    made = image.copy()
    pen, width = ImageDraw.Draw(made), max(1, round(0.012 * _side(image)))
    for _ in range(round(count)):
        ends = rng.uniform(0, 1, 4) * np.tile(image.size, 2)
        pen.line([float(v) for v in ends], fill=(235, 235, 235) if rng.random() < 0.5 else (40, 40, 40), width=width)
    return made


def _marked(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """A word across the picture, as shops and archives write it."""
    word = _WORDS[int(rng.integers(len(_WORDS)))]
    band = Image.new("L", (6 * len(word) + 4, 12), 0)
    ImageDraw.Draw(band).text((2, 0), word, fill=255)
    width = max(1, round(0.9 * image.width))
    height = max(1, min(image.height, round(width * band.height / band.width)))
    veil = Image.new("L", image.size, 0)
    place = ((image.width - width) // 2, int(rng.integers(0, max(1, image.height - height + 1))))
    veil.paste(band.resize((width, height), Image.Resampling.BILINEAR).point(lambda v: round(v * strength)), place)
    return Image.composite(Image.new("RGB", image.size, (128, 128, 128)), image, veil)


def _of(*kinds: Corruption) -> dict[str, Corruption]:
    return {kind.name: kind for kind in kinds}


_WEB, _PHOTO, _SCAN = frozenset({"web"}), frozenset({"photo"}), frozenset({"scan"})
REGISTRY: dict[str, Corruption] = _of(
    Corruption("jpeg", "digital", _WEB | _PHOTO | _SCAN, (30, 20, 12, 7, 3), _jpeg),
    Corruption("palette", "digital", _WEB, (5, 4, 3, 2, 1), _palette),
    Corruption("rescaled", "digital", _WEB | _PHOTO, (0.025, 0.035, 0.05, 0.075, 0.11), _rescaled),
    Corruption("blur", "blur", _PHOTO | _SCAN, (0.01, 0.018, 0.028, 0.04, 0.055), _blurred),
    Corruption("motion", "blur", _PHOTO, (0.05, 0.09, 0.14, 0.2, 0.28), _moved),
    Corruption("noise", "noise", _PHOTO, (0.06, 0.1, 0.16, 0.24, 0.34), _noisy),
    Corruption("specks", "noise", _SCAN, (0.01, 0.03, 0.06, 0.11, 0.18), _specked),
    Corruption("dark", "colour", _PHOTO, (0.6, 0.45, 0.32, 0.22, 0.14), _brightened),
    Corruption("bright", "colour", _PHOTO | _SCAN, (1.3, 1.6, 2.0, 2.5, 3.2), _brightened),
    Corruption("faded", "colour", _SCAN, (0.4, 0.55, 0.68, 0.79, 0.88), _faded),
    Corruption("cast", "colour", _PHOTO | _SCAN, (0.2, 0.35, 0.5, 0.65, 0.8), _cast),
    Corruption("stain", "dirt", _SCAN, (0.06, 0.12, 0.2, 0.3, 0.42), _stained),
    Corruption("scratches", "dirt", _SCAN, (2, 4, 7, 11, 16), _scratched),
    Corruption("watermark", "dirt", _WEB, (0.3, 0.45, 0.6, 0.8, 1.0), _marked),
)


def families() -> Sequence[str]:
    """The families of the registry, in its order."""
    return list(dict.fromkeys(c.family for c in REGISTRY.values()))
