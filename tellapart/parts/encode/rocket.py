from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.parts.encode._windows import window

LENGTHS = (7, 9, 11)


@dataclass(frozen=True, eq=False)
class _Kernel:
    """One random kernel: `weights` [channels chosen, length], which channels, and how it is laid over a window."""

    channels: np.ndarray
    weights: np.ndarray
    bias: float
    dilation: int
    padded: bool


@part(
    paper="Dempster, Petitjean, Webb: ROCKET: exceptionally fast and accurate time series classification using random "
    "convolutional kernels, Data Mining and Knowledge Discovery 2020",
    place="encode",
    traits=("frozen",),
)
class Rocket:
    """Windows of recordings under many random convolutions: how often each answers, and how strongly at most.

    Formula, for kernel j with weights w [c, l], bias b and dilation d, on a window x whose channels were each brought
    to mean 0 and standard deviation 1::

        y_t = b + sum_c sum_i w_ci x_c,(t + i d)
        vector = (share of t with y_t > 0, max_t y_t)  for every kernel: first all shares, then all maxima

    Kernels are drawn as in the paper: length 7, 9 or 11 alike, weights normal and less their mean, bias uniform in
    -1..1, dilation floor(2^u) with u uniform up to the largest that fits into `steps`, zeros around the window for one
    half of them. Of several channels a kernel sees a random few, as in the authors' later code: floor(2^u) of them,
    u uniform from 0 to log2(min(channels, length) + 1), each with weights of its own less their mean.

    Input: windows [channels, steps] of finite numbers, of any length; gives [n, 2 `kernels`] float32. No weights are
    loaded, nothing is fitted, and a window's vector depends on nothing but the window. Windows of one number of
    channels are under the same kernels, those of another under others: vectors of two sensors can be compared only
    above trained heads.

    Deviations: 1,000 kernels, not 10,000, since a head is trained on the vectors; dilations go by `steps`, about the
    length of the windows, for windows of all lengths, and a kernel that reaches farther than a window sees zeros around
    it. Mean and scale of a channel are lost, as in the paper.

    Use it for what moves or oscillates: sensors, machines, electrocardiograms. Where level or strength tells items
    apart, `joined(parts='rocket|channel-statistics')`.

    Relation: `channel-statistics` keeps what this throws away, and nothing of the order in time.
    """

    modality = "series"

    def __init__(
        self,
        *,
        kernels: Annotated[int, Field(ge=1, le=100_000)] = 1000,
        steps: Annotated[int, Field(ge=2, le=1_000_000)] = 128,
        seed: Annotated[int, Field(ge=0, le=2147483647)] = 0,
    ) -> None:
        self.kernels, self.steps, self.seed = kernels, steps, seed

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return 2 * self.kernels

    @property
    def fingerprint(self) -> str:
        """What the vectors depend on: the kernels as this version of numpy draws them."""
        digest = hashlib.sha256(f"rocket 1 {self.kernels} {self.steps} {self.seed}".encode())
        for channels in (1, 3):
            for kernel in self.drawn(channels):
                digest.update(kernel.weights.tobytes() + f"{kernel.bias} {kernel.dilation} {kernel.padded}".encode())
        return digest.hexdigest()[:16]

    def encode(self, items: Sequence[Any], *, batch_size: int = 32) -> np.ndarray:
        """[n, dim] float32 of windows [channels, steps]."""
        return np.stack([self._one(item) for item in items]) if len(items) else np.empty((0, self.dim), np.float32)

    def drawn(self, channels: int) -> tuple[_Kernel, ...]:
        """The kernels for windows of so many channels."""
        return _draw(self.kernels, self.steps, self.seed, channels)

    def _one(self, item: Any) -> np.ndarray:
        x = window(item, "rocket")
        x = ((x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-8)).astype(np.float32)
        channels, steps = x.shape
        share, most = np.empty((2, self.kernels), np.float32)
        plan = _plan(self.drawn(channels), channels)
        widest = max((length - 1) * dilation // 2 for length, dilation, *_ in plan)
        wide = np.zeros((channels, steps + 2 * widest), np.float32)
        wide[:, widest : widest + steps] = x
        for length, dilation, numbers, weights, bias, padded in plan:
            edge = (length - 1) * dilation // 2
            places = np.lib.stride_tricks.sliding_window_view(wide[:, widest - edge :], steps, axis=1)
            seen = places[:, : 2 * edge + 1 : dilation]
            y = weights @ seen.reshape(channels * length, steps) + bias
            share[numbers], most[numbers] = np.count_nonzero(y > 0, axis=1) / steps, y.max(1)
            inside = steps - 2 * edge
            if inside > 0:
                inner, bare = y[~padded, edge : edge + inside], numbers[~padded]
                share[bare], most[bare] = np.count_nonzero(inner > 0, axis=1) / inside, inner.max(1)
        return np.concatenate([share, most])


@functools.lru_cache(maxsize=16)
def _draw(kernels: int, steps: int, seed: int, channels: int) -> tuple[_Kernel, ...]:
    rng = np.random.default_rng(np.random.SeedSequence([seed, channels]))
    found = []
    for _ in range(kernels):
        length = int(rng.choice(LENGTHS))
        seen = int(2 ** rng.uniform(0, np.log2(min(channels, length) + 1)))
        chosen = np.sort(rng.choice(channels, seen, replace=False))
        weights = rng.normal(size=(seen, length))
        weights -= weights.mean(1, keepdims=True)
        largest = np.log2(max(1.0, (steps - 1) / (length - 1)))
        dilation = int(2 ** rng.uniform(0, largest))
        found.append(_Kernel(chosen, weights, float(rng.uniform(-1, 1)), dilation, bool(rng.integers(2))))
    return tuple(found)


@functools.lru_cache(maxsize=16)
def _plan(kernels: tuple[_Kernel, ...], channels: int) -> list[tuple[int, int, *tuple[np.ndarray, ...]]]:
    """Kernels of one length and dilation together: (length, dilation, numbers, weights, biases, padded)."""
    alike: dict[tuple[int, int], list[int]] = {}
    for number, kernel in enumerate(kernels):
        alike.setdefault((kernel.weights.shape[1], kernel.dilation), []).append(number)
    found = []
    for (length, dilation), numbers in alike.items():
        weights = np.zeros((len(numbers), channels, length), np.float32)
        for row, number in enumerate(numbers):
            weights[row, kernels[number].channels] = kernels[number].weights
        bias = np.asarray([[kernels[n].bias] for n in numbers], np.float32)
        padded = np.asarray([kernels[n].padded for n in numbers])
        found.append((length, dilation, np.asarray(numbers), weights.reshape(len(numbers), -1), bias, padded))
    return found
