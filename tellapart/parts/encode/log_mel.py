from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.parts.encode._windows import window

WINDOW, HOP = 0.025, 0.010
LOWEST, HIGHEST = 125.0, 7500.0
OFFSET = 0.01
FRAMES_AT_ONCE = 4096


@part(
    paper="Hershey et al.: CNN Architectures for Large-Scale Audio Classification, ICASSP 2017",
    place="encode",
    traits=("frozen", "tokens"),
)
class LogMel:
    """How loud each band of pitch is in every moment of a sound.

    Formula, for samples x at `rate` a second (the mean of the channels), frames i of 25 ms every 10 ms, w the periodic
    Hann window of L samples, N the power of two from L on::

        S_i(b)  = | sum_s w_s x_(i hop + s) exp(-2 pi j b s / N) |            b = 1 .. N / 2, no constant
        mel(f)  = 1127 ln(1 + f / 700);  edges e_0 .. e_(bands+1) at equal distances of mel, from 125 to 7,500 Hz
        W_m(b)  = max(0, min((mel(f_b) - e_(m-1)) / (e_m - e_(m-1)), (e_(m+1) - mel(f_b)) / (e_(m+1) - e_m)))
        M_i(m)  = ln(sum_b W_m(b) S_i(b) + 0.01)
        encode         mean and standard deviation of M over all frames          2 `bands` numbers
        encode_tokens  the mean of M over each of `pieces` equal runs of frames, at length 1; fewer where there are
                       fewer frames

    That is the front end of the paper (VGGish), which puts a trained network behind it; here a head does. Above half of
    `rate` there is nothing: the highest edge is then there. A sound shorter than 25 ms is filled with silence; what
    does not fill a last frame is left out.

    Input: windows [channels, steps] of finite numbers, samples in about -1..1; sound that `data.sound` reads has 16,000
    a second. Gives [n, 2 `bands`] float32 and for tokens a list of [t, `bands`] float32. numpy alone, no weights.

    Use it for sound: `series=log-mel` for a column `sound` (docs/data.md), with `strategy=tefal` beside pictures.

    Relations: `rocket` and `channel-statistics` read windows of slow sensors.
    """

    modality = "series"

    def __init__(
        self,
        *,
        rate: Annotated[int, Field(ge=1000, le=192_000)] = 16_000,
        bands: Annotated[int, Field(ge=4, le=128)] = 64,
        pieces: Annotated[int, Field(ge=1, le=256)] = 16,
    ) -> None:
        self.rate, self.bands, self.pieces = rate, bands, pieces

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return 2 * self.bands

    @property
    def fingerprint(self) -> str:
        """What the vectors depend on."""
        return hashlib.sha256(f"log-mel 1 {self.rate} {self.bands} {self.pieces}".encode()).hexdigest()[:16]

    def encode(self, items: Sequence[Any], *, batch_size: int = 32) -> np.ndarray:
        """[n, dim] float32 of windows [channels, steps]."""
        found = [self._frames(item) for item in items]
        rows = [np.concatenate([x.mean(0), x.std(0)]) for x in found]
        return np.stack(rows).astype(np.float32) if rows else np.empty((0, self.dim), np.float32)

    def encode_tokens(self, items: Sequence[Any], *, batch_size: int = 32) -> list[np.ndarray]:
        """[t, bands] float32 unit rows for each window, in the order of time."""
        return [self._tokens(self._frames(item)) for item in items]

    def _tokens(self, frames: np.ndarray) -> np.ndarray:
        rows = np.stack([run.mean(0) for run in np.array_split(frames, min(self.pieces, len(frames)))])
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows / np.maximum(length, 1e-12)).astype(np.float32)

    def _frames(self, item: Any) -> np.ndarray:
        """[frames, bands] M."""
        x = window(item, "log-mel").mean(0)
        length, hop = round(self.rate * WINDOW), round(self.rate * HOP)
        if len(x) < length:
            x = np.pad(x, (0, length - len(x)))
        size = 1 << math.ceil(math.log2(length))
        taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
        weights, found = self._weights(size), []
        framed = np.lib.stride_tricks.sliding_window_view(x, length)[::hop]
        for start in range(0, len(framed), FRAMES_AT_ONCE):
            spectrum = np.abs(np.fft.rfft(framed[start : start + FRAMES_AT_ONCE] * taper, size))
            found.append(np.log(spectrum @ weights + OFFSET))
        return np.concatenate(found)

    def _weights(self, size: int) -> np.ndarray:
        """[size / 2 + 1, bands] W."""
        at = 1127 * np.log1p(np.arange(size // 2 + 1) * self.rate / size / 700)[:, None]
        ends = 1127 * np.log1p(np.array([LOWEST, min(HIGHEST, self.rate / 2)]) / 700)
        edges = np.linspace(*ends, self.bands + 2)
        rising = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[2:] - at) / (edges[2:] - edges[1:-1])
        weights = np.maximum(0, np.minimum(rising, falling))
        weights[0] = 0
        return weights
