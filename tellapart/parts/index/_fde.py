"""Fixed dimensional encodings: sets of vectors as one vector each, whose dot products come near to MaxSim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tellapart.core.errors import DataError

TOKENS_A_BLOCK = 8192
NUMBERS_AT_ONCE = 1 << 22
MOST_DIMENSIONS = 65_536
Combine = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Encodings:
    """The random draws of one encoding, and both of its sides.

    Args:
        dim: width of the token vectors.
        repetitions, k_sim, dim_proj, final: see the part `muvera`; 0 for `dim_proj` or `final` projects nothing.
        seed: equal seeds give equal draws.
    """

    def __init__(self, dim: int, *, repetitions: int, k_sim: int, dim_proj: int, final: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.planes = rng.standard_normal((repetitions, k_sim, dim)).astype(np.float32)
        self.signs = _signs(rng, (repetitions, dim_proj, dim))
        whole = repetitions * 2**k_sim * (dim_proj or dim)
        if max(final, 0 if final else whole) > MOST_DIMENSIONS:
            raise DataError(f"{final or whole} dimensions an item are too many: take fewer repetitions or a `final`")
        self.final = _signs(rng, (final, whole if final else 0))
        self._prepare()

    @staticmethod
    def load(file: Path) -> Encodings:
        """The same draws, as `save` wrote them; a file that cannot be meant raises `ValueError` or `KeyError`."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            held = load_file(file)
        except SafetensorError as error:
            raise ValueError(str(error)) from None
        made = Encodings.__new__(Encodings)
        made.planes = held["planes"]
        made.signs, made.final = (_unpacked(held[name], held[f"{name} shape"]) for name in ("signs", "final"))
        made._prepare()
        return made

    def save(self, file: Path) -> None:
        """Write the draws, a bit for each sign: no other version of numpy can then draw others."""
        from safetensors.numpy import save_file

        held = {"planes": self.planes}
        for name, signs in (("signs", self.signs), ("final", self.final)):
            held |= {name: np.packbits(signs > 0), f"{name} shape": np.asarray(signs.shape, np.int64)}
        save_file(held, file)

    @property
    def width(self) -> int:
        """Dimensions of an encoding."""
        return len(self.final) or len(self.planes) * self._buckets * self._inner

    def queries(self, tokens: Sequence[np.ndarray]) -> np.ndarray:
        """[n, width] float32 of sets [t, d]: the sum of the tokens in each bucket."""
        return self._encode(tokens, self._sums)

    def documents(self, tokens: Sequence[np.ndarray]) -> np.ndarray:
        """[n, width] float32 of sets [t, d]: the mean in each bucket, and the nearest token where a bucket is empty."""
        return self._encode(tokens, self._means)

    def _prepare(self) -> None:
        repetitions, k_sim, dim = self.planes.shape
        self._buckets = 2**k_sim
        self._inner = self.signs.shape[1] or dim
        self._looks = np.ascontiguousarray(self.planes.reshape(-1, dim).T)
        root = np.float32(np.sqrt(self._inner * repetitions))
        drawn = self.signs.reshape(-1, dim).T.astype(np.float32) / root
        self._projects = drawn if self.signs.size else None
        self._last = self.final.T.astype(np.float32) / np.float32(np.sqrt(max(len(self.final), 1)))
        every = np.arange(self._buckets)
        self._every = every[:, None]
        self._apart = np.bitwise_count(every[:, None] ^ every)

    def _encode(self, tokens: Sequence[np.ndarray], combine: Combine) -> np.ndarray:
        out = np.empty((len(tokens), self.width), np.float32)
        start = 0
        while start < len(tokens):
            end, held = start, 0
            while end < len(tokens) and (end == start or held + len(tokens[end]) <= TOKENS_A_BLOCK):
                held += len(tokens[end])
                end += 1
            out[start:end] = self._block(tokens[start:end], combine)
            start = end
        return out

    def _block(self, tokens: Sequence[np.ndarray], combine: Combine) -> np.ndarray:
        x = np.concatenate(tokens).astype(np.float32, copy=False)
        repetitions, k_sim, _ = self.planes.shape
        positive = (x @ self._looks > 0).reshape(len(x), repetitions, k_sim)
        codes = (positive << np.arange(k_sim)).sum(2).T
        if self._projects is None:
            inner = np.broadcast_to(x / np.float32(np.sqrt(repetitions)), (repetitions, *x.shape))
        else:
            inner = (x @ self._projects).reshape(len(x), repetitions, -1).transpose(1, 0, 2)
        counts = np.asarray([len(t) for t in tokens])
        starts = np.cumsum(counts) - counts
        whole = np.empty((len(tokens), repetitions * self._buckets * self._inner), np.float32)
        for count in np.unique(counts):
            of_count = np.flatnonzero(counts == count)
            most = max(1, NUMBERS_AT_ONCE // (repetitions * self._buckets * int(count)))
            for first in range(0, len(of_count), most):
                rows = of_count[first : first + most]
                at = starts[rows][:, None] + np.arange(count)
                blocks = combine(codes[:, at][:, :, None], inner[:, at])
                whole[rows] = blocks.transpose(1, 0, 2, 3).reshape(len(rows), -1)
        return whole @ self._last if len(self.final) else whole

    def _sums(self, codes: np.ndarray, inner: np.ndarray) -> np.ndarray:
        """[repetitions, n, buckets, inner] of codes [repetitions, n, 1, t] and tokens [repetitions, n, t, inner]."""
        return (codes == self._every).astype(np.float32) @ inner

    def _means(self, codes: np.ndarray, inner: np.ndarray) -> np.ndarray:
        held = codes == self._every
        counts = held.sum(3, dtype=np.float32)[..., None]
        means = (held.astype(np.float32) @ inner) / np.maximum(counts, 1)
        nearest = np.moveaxis(self._apart[:, codes[:, :, 0]], 0, 2).argmin(3)
        return np.where(counts > 0, means, np.take_along_axis(inner, nearest[..., None], 2))


def _unpacked(bits: np.ndarray, shape: np.ndarray) -> np.ndarray:
    count = int(np.prod(shape))
    return (2 * np.unpackbits(bits, count=count).astype(np.int8) - 1).reshape(shape)


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (2 * rng.integers(0, 2, shape, dtype=np.int8) - 1).astype(np.int8)
