from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.parts import part
from tellapart.parts.encode._windows import window

EACH = 8


@part(
    paper="Nanopoulos, Alcock, Manolopoulos: Feature-based classification of time-series data, International Journal "
    "of Computer Research 2001",
    place="encode",
    traits=("frozen",),
)
class ChannelStatistics:
    """How each channel of a recording is distributed, and how its changes from step to step are.

    Formula, for a channel x_1..x_T and its differences d_t = x_{t+1} - x_t: of each of the two the mean m, the standard
    deviation s (divided by the count), the skewness mean((x - m)^3) / s^3 and the kurtosis mean((x - m)^4) / s^4; both
    are 0 where s is. Eight numbers a channel, those of the values first, as the paper's first- and second-order
    features (which it takes at several lags; here the lag is one step).

    Input: windows [channels, steps] of finite numbers; gives [n, 8 `channels`] float32, with zeros for the channels
    that a window does not have. One with more is a `DataError`. A window of one step has no differences; its second
    four numbers are 0.

    It keeps level and strength, which `rocket` throws away, and nothing of shape and order. Use it beside that:
    `joined(parts='rocket|channel-statistics')`, or as what a better encoder has to beat.
    """

    modality = "series"

    def __init__(self, *, channels: Annotated[int, Field(ge=1, le=4096)] = 16) -> None:
        self.channels = channels

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return EACH * self.channels

    @property
    def fingerprint(self) -> str:
        """What the vectors depend on."""
        return hashlib.sha256(f"channel-statistics 1 {self.channels}".encode()).hexdigest()[:16]

    def encode(self, items: Sequence[Any], *, batch_size: int = 32) -> np.ndarray:
        """[n, dim] float32 of windows [channels, steps]."""
        return np.stack([self._one(item) for item in items]) if len(items) else np.empty((0, self.dim), np.float32)

    def _one(self, item: Any) -> np.ndarray:
        x = window(item, "channel-statistics")
        if len(x) > self.channels:
            raise DataError(
                f"a window of {len(x)} channels, and channel-statistics takes {self.channels}: write "
                f"channel-statistics(channels={len(x)})"
            )
        found = np.zeros((self.channels, EACH))
        found[: len(x)] = np.concatenate([_moments(x), _moments(np.diff(x))], 1)
        return found.astype(np.float32).ravel()


def _moments(x: np.ndarray) -> np.ndarray:
    """[channels, 4] mean, standard deviation, skewness, kurtosis along the second axis."""
    if not x.shape[1]:
        return np.zeros((len(x), 4))
    mean = x.mean(1, keepdims=True)
    spread = x.std(1, keepdims=True)
    # of equal values rounding leaves a spread that is none
    flat = spread <= 1e-9 * np.abs(x).max(1, keepdims=True)
    z = np.where(flat, 0.0, (x - mean) / np.where(flat, 1.0, spread))
    return np.concatenate(
        [mean, np.where(flat, 0.0, spread), (z**3).mean(1, keepdims=True), (z**4).mean(1, keepdims=True)], 1
    )
