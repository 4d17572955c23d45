"""One way to open a picture: bounded before it is decoded, upright, RGB, its first frame; or a reason in words."""

from __future__ import annotations

import functools
import io
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tellapart.core.errors import DataError
from tellapart.data.limits import IMAGE_BYTES, IMAGE_PIXELS, size_words

# Formats that Pillow decodes itself; those that call other programs (EPS) or play back drawings (WMF) are left out.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "MPO", "AVIF", "JPEG2000", "TGA", "DIB", "QOI")
SUFFIXES = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".jpe": "JPEG", ".png": "PNG", ".apng": "PNG", ".webp": "WEBP",
    ".gif": "GIF", ".bmp": "BMP", ".dib": "DIB", ".tif": "TIFF", ".tiff": "TIFF", ".ppm": "PPM", ".pgm": "PPM",
    ".pbm": "PPM", ".pnm": "PPM", ".ico": "ICO", ".avif": "AVIF", ".jp2": "JPEG2000", ".tga": "TGA", ".qoi": "QOI",
}  # fmt: skip
UNREAD = {
    ".svg": "a drawing in SVG", ".heic": "a picture in HEIC", ".heif": "a picture in HEIF", ".psd": "a Photoshop file",
    ".eps": "a drawing in EPS", ".raw": "a camera's raw file", ".cr2": "a camera's raw file",
    ".nef": "a camera's raw file", ".arw": "a camera's raw file", ".dng": "a camera's raw file",
    ".jxl": "a picture in JPEG XL",
}  # fmt: skip
KIN = ({"JPEG", "MPO"}, {"BMP", "DIB"})
WHITE = (255, 255, 255, 255)
ORIENTATION = 274
_VEILED = ("RGBA", "LA", "PA", "La", "RGBa")

_header = threading.Lock()


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes of a picture say, before anything is decoded.

    Attributes:
        note: "" or what is unusual: a name that promises another format, several frames.
        turned: whether it is stored lying on its side (EXIF), so that upright it is `height` wide.
    """

    format: str
    width: int
    height: int
    mode: str
    frames: int
    note: str
    turned: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) of the picture as `open_image` gives it."""
        return (self.height, self.width) if self.turned else (self.width, self.height)


def open_image(
    source: bytes | str | Path,
    *,
    max_pixels: int = IMAGE_PIXELS,
    at_least: int | None = None,
    box: Sequence[int] | None = None,
) -> Image.Image:
    """A picture as upright RGB, whatever it was stored as.

    The orientation in EXIF is applied; CMYK, palettes and 16 bits a channel are converted; what is transparent is laid
    over white; of an animation the first frame is taken. Size is checked on the header, before decoding.

    Args:
        source: the bytes of a file, or its path.
        max_pixels: more are refused.
        at_least: decode a JPEG at a reduced size that still has this many pixels a side (faster thumbnails).
        box: x, y, width and height of the part that is wanted, in pixels of the upright picture; None: all of it.

    Raises:
        DataError: empty, too large, cut short, damaged or no picture at all; the message says which.
    """
    with _opened(source, max_pixels) as image:
        try:
            if at_least and box is None and image.format == "JPEG":
                image.draft(None, (at_least, at_least))
            image.load()
            whole = _rgb(_upright(image))
            return whole if box is None else whole.crop((box[0], box[1], box[0] + box[2], box[1] + box[3]))
        except DataError:
            raise
        except MemoryError:
            raise DataError(f"too large to decode: {image.width} x {image.height} pixels") from None
        except Exception as error:
            raise DataError(f"damaged or cut short: {_words(error)}") from None


def opacity(
    source: bytes | str | Path, *, max_pixels: int = IMAGE_PIXELS, box: Sequence[int] | None = None
) -> Image.Image | None:
    """How opaque a picture is, mode L, 255 where nothing shines through, as `open_image` places it; None where all is.

    Raises:
        DataError: as `open_image`.
    """
    with _opened(source, max_pixels) as image:
        if image.mode not in _VEILED and "transparency" not in image.info:
            return None
        try:
            image.load()
            alpha = _upright(image).convert("RGBA").getchannel("A")
        except MemoryError:
            raise DataError(f"too large to decode: {image.width} x {image.height} pixels") from None
        except Exception as error:
            raise DataError(f"damaged or cut short: {_words(error)}") from None
    if alpha.getextrema() == (255, 255):
        return None
    return alpha if box is None else alpha.crop((box[0], box[1], box[0] + box[2], box[1] + box[3]))


def probe(source: bytes | str | Path, *, max_pixels: int = IMAGE_PIXELS) -> Header:
    """Read the header alone; raises `DataError` with the reason when it is no picture or too large."""
    with _opened(source, max_pixels) as image:
        format_ = image.format or ""
        frames = int(getattr(image, "n_frames", 1)) if format_ in ("GIF", "WEBP", "PNG", "AVIF", "TIFF") else 1
        notes = []
        if not isinstance(source, bytes):
            promised = SUFFIXES.get(Path(source).suffix.lower())
            if promised and promised != format_ and not any({promised, format_} <= kin for kin in KIN):
                notes.append(f"named as {promised}, is {format_}")
        if frames > 1:
            notes.append(f"{frames} frames, the first is taken")
        return Header(format_, image.width, image.height, image.mode, frames, "; ".join(notes), _turned(image))


def thumbnail(
    source: bytes | str | Path,
    *,
    size: int = 256,
    format: Literal["webp", "jpeg"] = "webp",
    quality: int = 80,
    max_pixels: int = IMAGE_PIXELS,
    box: Sequence[int] | None = None,
) -> bytes:
    """The bytes of a small copy, at most `size` pixels a side, for a page or a report; never an enlarged one.

    Args:
        box: see `open_image`.
    """
    if not 8 <= size <= 2048:
        raise DataError(f"a thumbnail has between 8 and 2048 pixels a side, not {size}")
    image = open_image(source, max_pixels=max_pixels, at_least=2 * size, box=box)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, format=format.upper(), quality=quality)
    return out.getvalue()


def image_source(value: bytes | str | None, root: Path | None) -> bytes | Path:
    """What `open_image` takes, from a cell of the column `image`: its bytes, or its path below the root."""
    if value is None:
        raise DataError("the item has no image")
    if isinstance(value, bytes):
        return value
    return (root / value) if root is not None else Path(value)


@contextmanager
def _opened(source: bytes | str | Path, max_pixels: int) -> Iterator[Image.Image]:
    if isinstance(source, bytes):
        size, file = len(source), cast("IO[bytes]", io.BytesIO(source))
    else:
        path = Path(source)
        try:
            if not path.is_file():
                raise DataError("there is no such file" if not path.exists() else "not a file")
            size, file = path.stat().st_size, path.open("rb")
        except DataError:
            raise
        except (OSError, ValueError) as error:
            raise DataError(f"cannot be opened: {_words(error)}") from None
    try:
        if size == 0:
            raise DataError("empty: the file has 0 bytes")
        if size > IMAGE_BYTES:
            raise DataError(f"too large: {size_words(size)}, and at most {size_words(IMAGE_BYTES)} are read")
        image = _header_of(file, size)
        if image.width * image.height > max_pixels:
            raise DataError(_too_many(f"{image.width} x {image.height} pixels", max_pixels))
        if not image.width or not image.height:
            raise DataError("a picture without pixels")
        yield image
    finally:
        file.close()


def _header_of(file: IO[bytes], size: int) -> Image.Image:
    # Pillow warns once above its own limit before it gives the header back; here that is an answer, not a warning.
    # The filters of `warnings` belong to the whole process, so only one thread at a time may change them.
    start = file.read(16)
    file.seek(0)
    try:
        with _header, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(file, formats=_formats())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = next((w.strip("()") for w in str(error).split() if w.strip("()").isdigit()), "too many")
        raise DataError(_too_many(f"{pixels} pixels", Image.MAX_IMAGE_PIXELS or 0)) from None
    except UnidentifiedImageError:
        raise DataError(f"not a picture that can be read (it starts with {start!r})") from None
    except Exception as error:
        raise DataError(f"damaged or cut short: {_words(error)}") from None


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(f for f in FORMATS if f in Image.OPEN)


def _too_many(claims: str, limit: int) -> str:
    return f"it claims {claims}, and more than {limit:,} are refused before decoding; make it smaller first"


def _turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception:
        # As in `_upright`.
        return False


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.getexif().get(ORIENTATION, 1) == 1:
            return image
        return ImageOps.exif_transpose(image) or image
    except Exception:
        # EXIF that cannot be read says nothing about which side is up.
        return image


def _rgb(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if mode in _VEILED or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    out = image if image.mode == "RGB" else image.convert("RGB")
    out.info = {}
    return out


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    """One channel of 16 or 32 bits or of floats as uint8.

    Whole numbers up to 65,535 are 16 bits deep, floats up to 1 are shares; anything else is spread from its least value
    to its greatest.
    """
    wide = np.nan_to_num(pixels.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(wide.min()), float(wide.max())
    if np.issubdtype(pixels.dtype, np.integer) and low >= 0 and high <= 65_535:
        low, high = 0.0, 65_535.0
    elif low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return np.round((wide - low) / max(high - low, 1e-12) * 255).clip(0, 255).astype(np.uint8)


def _words(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
