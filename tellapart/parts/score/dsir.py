"""Importance weights of texts by hashed word n-grams, and resampling by them."""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.parts import part

_TOKEN = re.compile(r"\w+|[^\w\s]+")
_TEXTS_A_BLOCK = 1024


@part(
    paper="Xie et al., Data Selection for Language Models via Importance Resampling, NeurIPS 2023",
    place="curate",
    system="dsir",
    traits=("target", "texts", "select", "stream"),
)
class Dsir:
    """Which texts of a pool look as if they came from a target: importance resampling on n-gram counts.

    Formula:
        A text is lower-cased, cut into words and runs of punctuation, and its uni- to `ngrams`-grams are counted in
        `buckets` buckets, bucket = SHA-256 of the n-gram modulo buckets. p_target and p_raw are the shares of the
        buckets in target and pool, each plus `smoothing`.
            score(x) = sum_j count_j(x) (log p_target_j - log p_raw_j).  Higher = more like the target.
        `select` draws n texts without replacement by the Gumbel-top-k trick: the n largest of score + Gumbel noise.
        KL reduction = KL(p_target || p_random) - KL(p_target || p_selected): how much nearer the selection has come
        to the target than a random one; the paper's cheap predictor of how well a selection will train.
    Tokens, buckets and `smoothing` = 1e-8 are those of the authors' package; its filter of texts under 100 words is
    not applied. With a small target most buckets are empty, and each n-gram it lacks costs a text about 10 nats, so
    that short texts win: fewer buckets or more smoothing help then.

    Use it to pick from a large mixed pool what resembles a small sample; it reads texts one by one and keeps two
    histograms only. A long text has a larger weight than a short one; `color-filter` weighs by the word, and takes the
    best instead of drawing.

    Shapes: x an iterable of n texts, y [n] with true for target texts and false for the pool; score [n] float32.
    """

    def __init__(
        self,
        *,
        buckets: Annotated[int, Field(ge=2, le=10_000_000)] = 10_000,
        ngrams: Annotated[int, Field(ge=1, le=5)] = 2,
        smoothing: Annotated[float, Field(gt=0, le=1)] = 1e-8,
    ) -> None:
        self.buckets = buckets
        self.ngrams = ngrams
        self.smoothing = smoothing

    def fit(self, x: Iterable[str], y: Iterable[Any] | None = None) -> Dsir:
        """Count target and pool; x and y may be streams of equal length."""
        return self._take_in(np.zeros((2, self.buckets), dtype=np.int64), x, y)

    def observe(self, x: Iterable[str], y: Iterable[Any] | None) -> Dsir:
        """Count further texts of the target or the pool; the result is that of one `fit` on all."""
        if not hasattr(self, "counts_"):
            return self.fit(x, y)
        return self._take_in(self.counts_.copy(), x, y)

    def _take_in(self, counts: np.ndarray, x: Iterable[str], y: Iterable[Any] | None) -> Dsir:
        if y is None:
            raise DataError("dsir must know the target: fit(x, y) with y true for target texts, false for the pool")
        marks = iter(y)
        for ids, owner, texts in self._blocks(x):
            block = list(itertools.islice(marks, texts))
            if len(block) < texts or any(mark not in (0, 1) for mark in block):
                raise DataError("every text needs one mark in y: true (target) or false (pool)")
            of_target = np.asarray(block, dtype=bool)[owner]
            for row in (0, 1):
                counts[row] += np.bincount(ids[of_target == row], minlength=self.buckets)
        if next(marks, None) is not None:
            raise DataError("every text needs one mark in y, and there are more marks than texts")
        if not counts.any(axis=1).all():
            which = "target" if counts[0].any() else "pool"
            raise DataError(f"the {which} holds no words: mark some texts as target and some as pool")
        self.counts_ = counts
        raw, target = self._share(counts[0]), self._share(counts[1])
        self.log_ratio_ = np.log(target) - np.log(raw)
        return self

    def score(self, x: Iterable[str]) -> np.ndarray:
        """[n] float32 log importance weights, higher = more like the target; 0 for a text without words."""
        return self._weights(x).astype(np.float32)

    def select(self, x: Iterable[str], n: int, *, rng: np.random.Generator) -> np.ndarray:
        """[n] row numbers, rising, drawn without replacement in proportion to the importance weights."""
        noisy = self._weights(x)
        if not 0 < n <= len(noisy):
            raise DataError(f"cannot select {n} of {len(noisy)} texts")
        noisy = noisy + rng.gumbel(size=len(noisy))
        return np.sort(np.argsort(-noisy, kind="stable")[:n])

    def kl_reduction(self, x: Iterable[str], random: Iterable[str] | None = None) -> float:
        """How much nearer the selected texts x are to the target than `random` ones of equal number, in nats.

        Without `random` the whole pool stands for them: it holds more words, which makes any selection look worse.
        """
        chosen, usual = self._histogram(x), self.counts_[0] if random is None else self._histogram(random)
        target = self._share(self.counts_[1])
        return float((target * (np.log(self._share(chosen)) - np.log(self._share(usual)))).sum())

    def _share(self, counts: np.ndarray) -> np.ndarray:
        return counts / counts.sum() + self.smoothing

    def _histogram(self, x: Iterable[str]) -> np.ndarray:
        counts = sum(np.bincount(ids, minlength=self.buckets) for ids, _, _ in self._blocks(x))
        if not np.any(counts):
            raise DataError("the selection holds no words")
        return np.asarray(counts)

    def _weights(self, x: Iterable[str]) -> np.ndarray:
        if not hasattr(self, "log_ratio_"):
            raise DataError("dsir has not been fitted yet: call fit(x, y) first")
        found = [np.bincount(o, weights=self.log_ratio_[i], minlength=n) for i, o, n in self._blocks(x)]
        if not found:
            raise DataError("there are no texts to score")
        return np.concatenate(found)

    def _blocks(self, x: Iterable[str]) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """(buckets of the n-grams, the text each is of, number of texts), for some texts at a time."""
        if isinstance(x, str | bytes):
            raise DataError("give a list of texts, not one text")
        stream = iter(x)
        while texts := list(itertools.islice(stream, _TEXTS_A_BLOCK)):
            found = [self._grams(text) for text in texts]
            ids = np.fromiter((_number(g) % self.buckets for grams in found for g in grams), dtype=np.int64)
            yield ids, np.repeat(np.arange(len(texts)), [len(grams) for grams in found]), len(texts)

    def _grams(self, text: str) -> list[str]:
        if not isinstance(text, str):
            raise DataError(f"texts are needed, and one of the items is {type(text).__name__}")
        words = _TOKEN.findall(text.lower())
        return [" ".join(words[i : i + n]) for n in range(1, self.ngrams + 1) for i in range(len(words) - n + 1)]


@functools.lru_cache(maxsize=1 << 19)
def _number(gram: str) -> int:
    return int.from_bytes(hashlib.sha256(gram.encode("utf-8", "surrogatepass")).digest(), "big")
