"""By how much a language model's loss on a text falls when the model has read the target: two n-gram models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.parts import part
from tellapart.parts.score import _hashed

_TARGET = 2  # after both halves of the pool


@part(
    paper="Brandfonbrener et al., CoLoR-Filter: Conditional Loss Reduction Filtering for Targeted Language Model "
    "Pre-training, NeurIPS 2024",
    place="curate",
    system="color-filter",
    traits=("target", "texts", "stream"),
)
class ColorFilter:
    """Which texts of a pool a model that has read the target likes better than it did before.

    Formula, for a text of words and runs of punctuation w_1 .. w_n, lower-cased, and an end mark w_{n+1}::

        score(x) = 1 / (n + 1) sum_i log p_cond(w_i | before) - log p_prior(w_i | before)
        p_k(w | h) = (s(h) f(w | h) + smoothing p_{k-1}(w | h')) / (s(h) + smoothing),       p_0 = 1 / buckets
        f(w | h) = min(c(hw), c(h)) / c(h)

    k goes from 1 to `ngrams`; h are the k - 1 words before, from a start mark on, and h' lacks the first of them; c of
    no word is the number of all. In the prior, c counts the n-grams of a random half of the pool and s = c; the
    conditional model is the prior trained on: `passes` times the target's counts are added to c, and once to s, as
    reading a text again shows nothing new of how much more there is. The pool is halved by a hash of each text, and
    every text is scored by the prior that read the other half: one that has read the text itself finds it likely.
    Higher = more like the target: the paper's reduction is minus this score, and its LOWEST are kept.

    An n-gram is counted in one of `buckets` counters of its length: 24 bytes x ngrams x buckets of memory whatever the
    number of texts, which are read as streams. N-grams that share a counter are taken for one, by both models alike.

    Of the paper and its code: two fixed models, the second begun from the first, the difference of their mean losses a
    token, the best n kept. Different: n-gram models stand in for transformers of 150 million weights (any likelihood
    would do), `passes` for epochs of fine-tuning; two halves for one small part of a pool that is hardly read. The
    paper's texts are pieces of 512 tokens, for which sum and mean order alike; here the lengths differ, and the mean is
    what a budget of words asks for. Very short texts have the most extreme scores.

    Args:
        ngrams: words of the longest n-gram. passes: how often the target is read.
        smoothing: how many observations the shorter context is worth.

    When to use: a small sample of what is wanted and a large mixed pool to train on. Relations: `dsir` compares two
    bags of words, takes sums, and draws by them. `losses(x)[:, 1]` alone prefers what is easy to predict for anybody.

    Shapes: x an iterable of n texts, y [n] with true for target texts and false for the pool; score [n] float32, nats.
    Raises `DataError` for what is no text, for missing marks, and without words in target or pool.
    """

    def __init__(
        self,
        *,
        ngrams: Annotated[int, Field(ge=1, le=5)] = 2,
        buckets: Annotated[int, Field(ge=2, le=100_000_000)] = 1_000_000,
        smoothing: Annotated[float, Field(gt=0, le=1e6)] = 50.0,
        passes: Annotated[float, Field(gt=0, le=1e6)] = 10.0,
    ) -> None:
        self.ngrams = ngrams
        self.buckets = buckets
        self.smoothing = smoothing
        self.passes = passes

    def fit(self, x: Iterable[str], y: Iterable[Any] | None = None) -> ColorFilter:
        """Train both models; x and y may be streams of equal length."""
        return self._take_in(np.zeros((3, self.ngrams, self.buckets), np.int64), np.zeros(3, np.int64), x, y)

    def observe(self, x: Iterable[str], y: Iterable[Any] | None) -> ColorFilter:
        """Train on further texts of target or pool; the result is that of one `fit` on all."""
        return (
            self._take_in(self.counts_.copy(), self.words_.copy(), x, y) if hasattr(self, "counts_") else self.fit(x, y)
        )

    def score(self, x: Iterable[str]) -> np.ndarray:
        """[n] float32 by how many nats a word the loss falls, higher = more like the target."""
        losses = self.losses(x)
        return (losses[:, 0] - losses[:, 1]).astype(np.float32)

    def losses(self, x: Iterable[str]) -> np.ndarray:
        """[n, 2] float64 mean losses a word, in nats, of the prior and of the conditional model."""
        if not hasattr(self, "counts_"):
            raise DataError("color-filter has not been fitted yet: call fit(x, y) first")
        found = []
        for texts in _hashed.blocks(x):
            tokens, owner = _hashed.marked(texts)
            grams = list(self._grams(tokens, owner))
            inside = _hashed.inside(owner)  # the start mark is given, not predicted
            length = np.bincount(owner[inside], minlength=len(texts))
            read = 1 - np.array([_half(text) for text in texts])[owner]
            each = [-np.log(self._probability(grams, read, passes)[inside]) for passes in (0.0, self.passes)]
            found.append(np.stack([np.bincount(owner[inside], loss, len(texts)) / length for loss in each], axis=1))
        if not found:
            raise DataError("there are no texts to score")
        return np.concatenate(found)

    def _take_in(self, counts: np.ndarray, words: np.ndarray, x: Iterable[str], y: Iterable[Any] | None) -> ColorFilter:
        if y is None:
            raise DataError(
                "color-filter must know the target: fit(x, y) with y true for target texts, false for others"
            )
        marks = iter(y)
        for texts in _hashed.blocks(x):
            block = [mark for _, mark in zip(texts, marks, strict=False)]
            if len(block) < len(texts) or any(mark not in (0, 1) for mark in block):
                raise DataError("every text needs one mark in y: true (target) or false (pool)")
            sides = [_TARGET if mark else _half(text) for text, mark in zip(texts, block, strict=True)]
            for side in range(3):
                mine = [t for t, s in zip(texts, sides, strict=True) if s == side and _hashed.has_words(t)]
                tokens, owner = _hashed.marked(mine)
                words[side] += len(tokens) - len(mine)
                for k, (ids, there) in enumerate(self._grams(tokens, owner)):
                    np.add.at(counts[side, k], ids[there], 1)
        if next(marks, None) is not None:
            raise DataError("every text needs one mark in y, and there are more marks than texts")
        if not (words[_TARGET] and words[:_TARGET].any()):
            which = "pool" if words[_TARGET] else "target"
            raise DataError(f"the {which} holds no words: mark some texts as target and some as pool")
        self.counts_, self.words_ = counts, words
        return self

    def _grams(self, tokens: np.ndarray, owner: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        return _hashed.grams(tokens, owner, longest=self.ngrams, buckets=self.buckets)

    def _probability(self, grams: list[Any], read: np.ndarray, passes: float) -> np.ndarray:
        """[m] of each token."""
        p = np.full(len(read), 1 / self.buckets)
        context = self.words_[read], np.full(len(read), self.words_[_TARGET])
        for k, (ids, there) in enumerate(grams):
            counted = self.counts_[read, k, ids], self.counts_[_TARGET, k, ids]
            pool, target = (np.minimum(c, h) for c, h in zip(counted, context, strict=True))
            every = context[0] + passes * context[1]
            shown = context[0] + (passes > 0) * context[1]
            frequency = (pool + passes * target) / np.where(every > 0, every, 1)
            p = np.where(there, (shown * frequency + self.smoothing * p) / (shown + self.smoothing), p)
            context = _hashed.before(counted[0]), _hashed.before(counted[1])
        return p


def _half(text: str) -> int:
    return _hashed.number(text) & 1
