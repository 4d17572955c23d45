"""Sound: WAV, FLAC and Ogg files as windows [1, steps] of one rate, bounded by their header before they are decoded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.needs import require
from tellapart.data.limits import SERIES_BYTES, SOUND_SECONDS, size_words

SUFFIXES = (".wav", ".flac", ".ogg", ".oga")
RATE = 16_000
RATES = (1000, 768_000)
FRAMES_A_BLOCK = 1 << 20


def is_sound(start: bytes) -> bool:
    """Whether a file that begins so is one of those read here."""
    return start[:4] in (b"fLaC", b"OggS") or (start[:4] in (b"RIFF", b"RF64") and start[8:12] == b"WAVE")


def ends_as_sound(value: Any) -> bool:
    """Whether a value is the path of such a file."""
    return isinstance(value, str) and value.strip().lower().endswith(SUFFIXES)


def open_sound(source: bytes | Path) -> np.ndarray:
    """[1, steps] float32 samples within about -1..1, `RATE` a second: the mean of the channels, resampled.

    Raises:
        DataError: nothing that can be decoded, a file that is cut short, or more than is read.
        MissingExtraError: without the extra `sound`.
    """
    library = require("soundfile", "reading sound")
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > SERIES_BYTES:
        raise DataError(f"too large: {size_words(size)}, and at most {size_words(SERIES_BYTES)} of sound are read")
    try:
        with library.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as file:
            rate, frames = file.samplerate, file.frames
            _check(rate, frames, file.channels)
            blocks = file.blocks(blocksize=FRAMES_A_BLOCK, dtype="float32", always_2d=True)
            mono = np.concatenate([block.mean(1) for block in blocks])
    except library.SoundFileError as error:
        raise DataError(f"sound that cannot be decoded: {error}") from None
    if len(mono) < frames:
        raise DataError(f"sound that is cut short: {len(mono):,} of {frames:,} samples")
    return resampled(mono, rate)[None]


def resampled(x: np.ndarray, rate: int, to: int = RATE) -> np.ndarray:
    """[steps] -> [round(steps to / rate)] float32: the same frequencies, less those that the new rate cannot hold."""
    steps = max(1, round(len(x) * to / rate))
    if steps == len(x):
        return x.astype(np.float32)
    found: np.ndarray = np.fft.irfft(np.fft.rfft(x), steps) * (steps / len(x))
    return found.astype(np.float32)


def _check(rate: int, frames: int, channels: int) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise DataError(f"sound of {rate} samples a second: {RATES[0]:,} to {RATES[1]:,} are read")
    if frames < 1:
        raise DataError("sound without a sample")
    if frames > SOUND_SECONDS * rate or frames * channels * 4 > SERIES_BYTES:
        raise DataError(
            f"sound of {frames / rate:,.0f} seconds and {channels} channels: at most {SOUND_SECONDS} seconds and "
            f"{size_words(SERIES_BYTES)} of samples are read; cut it into pieces"
        )
