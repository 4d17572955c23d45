"""Windows of recordings: arrays [channels, steps] in .npy files, or sound; bounded by header, checked when opened."""

from __future__ import annotations

import ast
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.data.limits import SERIES_BYTES, SERIES_CHANNELS, size_words
from tellapart.data.sound import ends_as_sound, is_sound, open_sound

SUFFIX = ".npy"
HEADER = 12
LONGEST_HEADER = 4096
FEWEST_STEPS = 2
DRAWN = 12
COLOURS = ("#2563c9", "#d4660a", "#1a8a5a", "#8a4fc7", "#b8325e", "#6b7280")

Source = bytes | Path


@dataclass
class Shapes:
    """What the windows of one column have in common, learnt from the first that is sound.

    Attributes:
        as_bytes: whether they are kept as bytes, not as paths of files.
        channels: how many each window has; 0 before the first.
        steps: the fewest and the most steps met.
    """

    as_bytes: bool = False
    channels: int = 0
    steps: tuple[int, int] = (0, 0)

    def check(self, shape: tuple[int, int]) -> None:
        """Raise `DataError` for a window of another number of channels than the first."""
        if self.channels and shape[0] != self.channels:
            raise DataError(
                f"another number of channels: {shape[0]}, and the first window has {self.channels}; a window is an "
                "array [channels, steps]"
            )

    def take(self, shape: tuple[int, int]) -> None:
        """One more window."""
        self.channels = shape[0]
        self.steps = (min(self.steps[0] or shape[1], shape[1]), max(self.steps[1], shape[1]))

    def words(self) -> str:
        """What the windows are."""
        fewest, most = self.steps
        length = f"{most} steps" if fewest == most else f"{fewest} to {most} steps, each read at its own length"
        odd = "; more channels than steps: are they transposed? A window is [channels, steps]"
        return f"windows of {self.channels} channels and {length}{odd if self.channels > most else ''}"


def may_be_window(value: Any) -> bool:
    """Whether a cell could hold a window: numbers, bytes, the path of an .npy file or of sound; no text, no number."""
    return (
        isinstance(value, list | bytes | np.ndarray)
        or ends_as_window(value)
        or (isinstance(value, dict) and "bytes" in value)
    )


def ends_as_window(value: Any) -> bool:
    """Whether a value is the path of an .npy file or of sound."""
    return isinstance(value, str) and (value.strip().lower().endswith(SUFFIX) or ends_as_sound(value))


def series_source(value: bytes | str | None, root: Path | None) -> Source:
    """What `open_series` takes, from a cell of a column of windows: its bytes, or its path below the root."""
    if value is None:
        raise DataError("the item has no window of a recording")
    if isinstance(value, bytes):
        return value
    return (root / value) if root is not None else Path(value)


def open_series(source: Any) -> np.ndarray:
    """A window as [channels, steps] float32.

    Args:
        source: an .npy file as bytes or as a path, read without pickle and bounded by its header before anything else
            of it is; sound in such a form (`data.sound`); or an array or lists of numbers. One row of numbers is one
            channel.

    Raises:
        DataError: no such file, or no window: other than one or two axes, no channel, fewer than two steps, missing or
            infinite values, more than is read.
    """
    if isinstance(source, bytes | str | Path):
        found = _read(source)
    else:
        try:
            found = np.asarray(source, dtype=np.float32) if isinstance(source, list | tuple) else np.asarray(source)
        except (ValueError, TypeError, OverflowError):
            raise DataError("channels of unequal lengths, or something that is no number, in a window") from None
        if found.dtype.kind not in "fiu":
            raise DataError(f"a window of a recording is an array of numbers, not {type(source).__name__}")
        _check(found.shape)
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(np.atleast_2d(found), dtype=np.float32)
    wrong = int((~np.isfinite(found)).sum())
    if wrong:
        raise DataError(f"missing or infinite values: {wrong} of {found.size}; fill or cut them before")
    return found


def packed(window: Any) -> bytes:
    """The bytes of an .npy file that holds a window; what `open_series` takes."""
    sink = io.BytesIO()
    np.save(sink, open_series(window), allow_pickle=False)
    return sink.getvalue()


def thumbnail(source: Source, *, size: int = 256) -> bytes:
    """The curves of a window as a WebP of `size` pixels, for a page or a report: each channel in a strip of its own.

    All channels have one scale, so that one that hardly moves looks so; of many channels about `DRAWN` are drawn.
    """
    from PIL import Image, ImageDraw

    window = open_series(source)
    width, height = size, max(16, size * 5 // 8)
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    shown = window[:: math.ceil(len(window) / DRAWN)]
    strip = height / len(shown)
    middle = (shown.max(1, keepdims=True) + shown.min(1, keepdims=True)) / 2
    reach = float(np.abs(shown - middle).max()) or 1.0
    xs = np.linspace(2, width - 3, shown.shape[1])
    for row, curve in enumerate((shown - middle) / reach):
        ys = strip * (row + 0.5 - 0.42 * curve)
        points = list(zip(xs.tolist(), ys.tolist(), strict=True))
        pen.line(points, fill=COLOURS[row % len(COLOURS)], width=1 + size // 200)
    sink = io.BytesIO()
    picture.save(sink, format="WEBP", quality=80)
    return sink.getvalue()


def _read(source: bytes | str | Path) -> np.ndarray:
    try:
        if not isinstance(source, bytes):
            source = Path(source)
            if not source.is_file():
                raise DataError("there is no such file" if not source.exists() else "not a file")
            with source.open("rb") as file:
                start, size = file.read(HEADER + LONGEST_HEADER), source.stat().st_size
                if is_sound(start):
                    return _checked(open_sound(source))
                dtype, shape, offset, fortran = _header(start, size)
                file.seek(offset)
                content = file.read(math.prod(shape) * dtype.itemsize)
        elif is_sound(source):
            return _checked(open_sound(source))
        else:
            dtype, shape, offset, fortran = _header(source[: HEADER + LONGEST_HEADER], len(source))
            content = source[offset:]
    except OSError as error:
        raise DataError(f"cannot be opened: {error.strerror or error}") from None
    flat = np.frombuffer(content, dtype, count=math.prod(shape))
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(start: bytes, size: int) -> tuple[np.dtype, tuple[int, ...], int, bool]:
    """(dtype, shape, where the values begin, whether columns come first) of an .npy file of so many bytes."""
    if not start.startswith(np.lib.format.MAGIC_PREFIX) or len(start) < HEADER:
        said = "no .npy file and no sound (WAV, FLAC, Ogg): write windows with numpy.save, [channels, steps]"
        raise DataError(said if start else "empty: 0 bytes")
    wide = start[6] > 1
    length = int.from_bytes(start[8 : 12 if wide else 10], "little")
    offset = (12 if wide else 10) + length
    if length > LONGEST_HEADER or len(start) < offset:
        raise DataError("an .npy file whose header is damaged")
    try:
        held = ast.literal_eval(start[12 if wide else 10 : offset].decode("latin1").strip())
        dtype, shape, fortran = np.dtype(held["descr"]), tuple(held["shape"]), bool(held["fortran_order"])
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        raise DataError("an .npy file whose header is damaged") from None
    if dtype.kind not in "fiu":
        raise DataError(f"an .npy file of {dtype}: a window of a recording is an array of plain numbers")
    _check(shape)
    room = math.prod(shape) * dtype.itemsize
    if room > SERIES_BYTES:
        raise DataError(f"too large: {size_words(room)}, and at most {size_words(SERIES_BYTES)} are read")
    if size - offset < room:
        raise DataError(f"an .npy file cut short: {size - offset} of {room} bytes of values")
    return dtype, shape, offset, fortran


def _checked(window: np.ndarray) -> np.ndarray:
    _check(window.shape)
    return window


def _check(shape: Sequence[int]) -> None:
    """Raise `DataError` for a shape that no window has."""
    if len(shape) not in (1, 2) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise DataError(f"an array of shape {list(shape)}: a window has one or two axes, [channels, steps]")
    channels, steps = (1, *shape)[-2:]
    if channels < 1 or steps < FEWEST_STEPS:
        raise DataError(f"empty: a window of {channels} channels and {steps} steps")
    if channels > SERIES_CHANNELS:
        raise DataError(f"too many channels: {channels:,}, and at most {SERIES_CHANNELS:,} are read; is it transposed?")
    if channels * steps * 4 > SERIES_BYTES:
        raise DataError(f"too large: {channels} x {steps} values, and at most {size_words(SERIES_BYTES)} are read")
