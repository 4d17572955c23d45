"""From the vectors of a reference and of a change in words to one vector that is searched with; numpy alone.

What a strategy of the trait `composed` learns is applied here wherever torch is not: search, serving, evaluation. The
torch modules of the same names, whose tensors these are, stand in `parts/strategy/_composer.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tellapart.core.errors import DataError, PartError, near

NORM_FLOOR = 1e-5


@dataclass(frozen=True)
class Composer:
    """A learnt module in numpy.

    Attributes:
        kind: one of `KINDS`.
        state: its tensors by name, float32.
        heads: of its attention, where it has some.
        of_features: whether it takes what goes into the towers, in place of the vectors that come out (`core.joint`).

    Raises:
        PartError: a kind that is not known, or tensors that are not its.
    """

    kind: str
    state: Mapping[str, np.ndarray] = field(repr=False)
    heads: int = 1
    of_features: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise PartError(f"a composer of the kind {self.kind!r} is not known here; {near(self.kind, KINDS)}")
        if any(not np.isfinite(x).all() for x in self.state.values()):
            raise PartError("the tensors of this composer hold values that are not finite: run again")

    def __call__(self, reference: np.ndarray, change: np.ndarray) -> np.ndarray:
        """[n, d] float32 unit vectors to search with.

        Args:
            reference, change: [n, d] unit vectors; a row of NaN is not known, and the other is then the query as it is.

        Raises:
            DataError: shapes that do not fit, or rows of which neither is known.
        """
        r, t = (np.asarray(x, np.float32) for x in (reference, change))
        if r.shape != t.shape or r.ndim != 2:
            raise DataError(f"reference and change must have one shape [n, d], not {r.shape} and {t.shape}")
        no_r, no_t = (np.asarray(np.isnan(x).any(1)) for x in (r, t))
        if (nothing := np.flatnonzero(no_r & no_t)).size:
            raise DataError(f"nothing is known of item {nothing[0]}: give a reference or what is to change")
        try:
            made = KINDS[self.kind](self, np.nan_to_num(r), np.nan_to_num(t))
        except (KeyError, ValueError) as error:
            raise PartError(
                f"these tensors make no composer {self.kind!r} for vectors of {r.shape[1]}: {error}"
            ) from None
        made = np.where(no_r[:, None], t, np.where(no_t[:, None], r, made))
        return (made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)).astype(np.float32)

    @property
    def of_captions(self) -> bool:
        """Whether it was learnt of captions: words alone are then a question too, and rows need no reference."""
        return self.kind in OF_CAPTIONS

    def dense(self, name: str, x: np.ndarray) -> np.ndarray:
        """`x @ weight.T + bias` of the layer of that name."""
        made: np.ndarray = x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]
        return made

    def normed(self, name: str, x: np.ndarray) -> np.ndarray:
        """Layer norm over the last axis."""
        centred = x - x.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + NORM_FLOOR)
        made: np.ndarray = centred / spread * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]
        return made

    def attended(self, name: str, asking: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Attention of several heads: [n, a, d] looking at [n, b, d] gives [n, a, d]."""
        (n, a, d), b = asking.shape, asked.shape[1]
        split = (n, -1, self.heads, d // self.heads)
        q = self.dense(f"{name}.q", asking).reshape(split)
        k, v = (self.dense(f"{name}.{part}", asked).reshape(split) for part in "kv")
        scores = np.einsum("nahe,nbhe->nhab", q, k) / np.sqrt(np.float32(d // self.heads))
        weight = np.exp(scores - scores.max(-1, keepdims=True))
        weight /= weight.sum(-1, keepdims=True)
        assert weight.shape[-2:] == (a, b)
        return self.dense(f"{name}.out", np.einsum("nhab,nbhe->nahe", weight, v).reshape(n, a, d))


def gated(made: Composer, r: np.ndarray, t: np.ndarray) -> np.ndarray:
    """`g r + (1 - g) t + m`, with the share g (one number a row) and the rest m from one hidden layer over both."""
    hidden = np.maximum(made.dense("hidden", np.concatenate([r, t], 1)), 0)
    share = 1 / (1 + np.exp(-made.dense("gate", hidden)))
    moved: np.ndarray = share * r + (1 - share) * t + made.dense("out", hidden)
    return moved


def attention(made: Composer, r: np.ndarray, t: np.ndarray) -> np.ndarray:
    """`r + m`, with m pooled by a learnt query from both vectors after layers of self-attention."""
    x = made.dense("enter", np.stack([r, t], 1) * np.sqrt(np.float32(r.shape[1]))) + made.state["kinds"]
    layers = sum(name.endswith("norm1.weight") for name in made.state)
    for at in range(layers):
        y = made.normed(f"layers.{at}.norm1", x)
        x = x + made.attended(f"layers.{at}.attention", y, y)
        y = np.maximum(made.dense(f"layers.{at}.wide", made.normed(f"layers.{at}.norm2", x)), 0)
        x = x + made.dense(f"layers.{at}.narrow", y)
    asking = np.broadcast_to(made.state["asking"], (len(r), *made.state["asking"].shape))
    moved: np.ndarray = r + made.dense("leave", made.attended("pool", asking, made.normed("norm", x))[:, 0])
    return moved


def pseudo_word(made: Composer, r: np.ndarray, t: np.ndarray) -> np.ndarray:
    """`gated` of the reference as a word, `r + V relu(U r + a) + b`, and the other words."""
    return gated(made, r + made.dense("leave", np.maximum(made.dense("enter", r), 0)), t)


KINDS: dict[str, Callable[[Composer, np.ndarray, np.ndarray], np.ndarray]] = {
    "gated": gated, "attention": attention, "pseudo-word": pseudo_word,
}  # fmt: skip
OF_CAPTIONS = frozenset({"pseudo-word"})
