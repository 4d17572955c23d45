"""Tokens of a picture, of words or of both through one transformer to one vector; numpy alone.

What a strategy of the trait `fusion` learns is applied here wherever torch is not: the index, search, serving. The
torch modules whose tensors these are stand in `parts/encode/_joint_torch.py`.

An item goes in as its tokens one after the other, [n, tokens * each]; a token of zeros is none. So an item that is not
known is a row of zeros, or of NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tellapart.core.composing import NORM_FLOOR, Composer
from tellapart.core.errors import DataError, PartError

KIND = "joint"
ROWS_AT_ONCE = 1024
NUMBERS_A_HEAD = 32
State = Mapping[str, np.ndarray]


def heads_of(dim: int) -> int:
    """Heads of attention for a width: one for every 32 numbers, and one where these do not fill it."""
    return 1 if dim % NUMBERS_A_HEAD else dim // NUMBERS_A_HEAD


def tower(state: State, *items: tuple[str, np.ndarray]) -> np.ndarray:
    """[n, dim] float32 unit vectors of items of which several pieces are known, taken together from the first layer on.

    Args:
        state: tensors of the entrances, each with its prefix, and of the trunk (`trunk.…`).
        items: prefix of the entrance, and the tokens that go in there, [n, tokens * each].

    Raises:
        DataError: tokens of another width, or values that are not finite.
        PartError: tensors that make no such tower.
    """
    try:
        for prefix, x in items:
            _check(state, prefix, x)
    except KeyError as error:
        raise PartError(f"these tensors make no tower of tokens: {error} is missing") from None
    try:
        n = len(items[0][1])
        blocks = [
            _through(state, [_entered(state, prefix, x[at : at + ROWS_AT_ONCE]) for prefix, x in items])
            for at in range(0, n, ROWS_AT_ONCE)
        ]
    except (KeyError, ValueError) as error:
        raise PartError(f"these tensors make no tower of tokens: {error}") from None
    dim = len(state["trunk.end"])
    return np.concatenate(blocks).astype(np.float32) if blocks else np.empty((0, dim), np.float32)


@dataclass(frozen=True)
class Joint(Composer):
    """One tower for a reference, for words, and for both: what `Composer` is for vectors, for tokens of items."""

    of_features = True

    def __post_init__(self) -> None:
        if self.kind != KIND or "trunk.end" not in self.state or "plain" not in self.state:
            raise PartError("these tensors make no tower of tokens: run again")
        if any(not np.isfinite(x).all() for x in self.state.values()):
            raise PartError("the tensors of this tower hold values that are not finite: run again")

    def __call__(self, reference: np.ndarray, change: np.ndarray) -> np.ndarray:
        """[n, d] float32 unit vectors to search with.

        Args:
            reference, change: the tokens of both, [n, tokens * each]; a row of NaN is not known.

        Raises:
            DataError: shapes that do not fit, or rows of which neither is known.
        """
        r, t = (np.asarray(x, np.float32) for x in (reference, change))
        if r.ndim != 2 or t.ndim != 2 or len(r) != len(t):
            raise DataError(f"give as many references as changes, [n, numbers] each, not {r.shape} and {t.shape}")
        no_r, no_t = (np.asarray(np.isnan(x).any(1)) for x in (r, t))
        if (nothing := np.flatnonzero(no_r & no_t)).size:
            raise DataError(f"nothing is known of item {nothing[0]}: give a reference or what is to change")
        r, t = np.where(no_r[:, None], np.float32(0), r), np.where(no_t[:, None], np.float32(0), t)
        return tower(self.state, ("reference.", r), ("change.", t))

    @property
    def words_alone(self) -> bool:
        """Whether words without a reference were trained on as a query of their own."""
        return bool(self.state["plain"] > 0)


def _check(state: State, prefix: str, x: np.ndarray) -> None:
    tokens, each = len(state[f"{prefix}position"]), len(state[f"{prefix}mean"])
    if x.ndim != 2 or x.shape[1] != tokens * each:
        raise DataError(
            f"this tower was trained on {tokens} tokens of {each} numbers, and was given an array of shape {x.shape}"
        )
    if not np.isfinite(x).all():
        raise DataError("the vectors hold values that are not finite (NaN or infinity); embed those items anew")


def _entered(state: State, prefix: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([n, t, dim] tokens in the tower's width, [n, t] bool which there are)."""
    rows: np.ndarray = np.asarray(x, np.float32).reshape(len(x), len(state[f"{prefix}position"]), -1)
    there = np.asarray(rows.any(-1))
    used = int(np.flatnonzero(there.any(0)).max(initial=-1)) + 1
    rows = (rows[:, :used] - state[f"{prefix}mean"]) / state[f"{prefix}spread"]
    return _dense(state, f"{prefix}enter", rows) + state[f"{prefix}position"][:used], there[:, :used]


def _through(state: State, pieces: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """[n, dim]: what the last layer has at the token that stands after all others."""
    n, dim = len(pieces[0][0]), len(state["trunk.end"])
    end = np.broadcast_to(state["trunk.end"], (n, 1, dim))
    x = np.concatenate([*(tokens for tokens, _ in pieces), end], 1)
    there = np.concatenate([*(held for _, held in pieces), np.ones((n, 1), bool)], 1)
    layers = sum(name.startswith("trunk.") and name.endswith("norm1.weight") for name in state)
    for at in range(layers):
        name, y = f"trunk.layers.{at}.", _normed(state, f"trunk.layers.{at}.norm1", x)
        # Only one token is read after the last layer, so only that one asks there.
        x, asking = (x, y) if at + 1 < layers else (x[:, -1:], y[:, -1:])
        x = x + _attended(state, f"{name}attention", asking, y, there)
        inner = np.maximum(_dense(state, f"{name}wide", _normed(state, f"{name}norm2", x)), 0)
        x = x + _dense(state, f"{name}narrow", inner)
    made = _normed(state, "trunk.norm", x[:, -1])
    unit: np.ndarray = made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)
    return unit


def _attended(state: State, name: str, asking: np.ndarray, asked: np.ndarray, there: np.ndarray) -> np.ndarray:
    (n, a, dim), heads = asking.shape, heads_of(asking.shape[2])
    q, k, v = (
        _dense(state, f"{name}.{part}", x).reshape(n, -1, heads, dim // heads).swapaxes(1, 2)
        for part, x in (("q", asking), ("k", asked), ("v", asked))
    )
    scores = q @ k.swapaxes(2, 3) / np.sqrt(np.float32(dim // heads))
    scores = np.where(there[:, None, None], scores, -np.inf)
    weight = np.exp(scores - scores.max(-1, keepdims=True))
    found = (weight / weight.sum(-1, keepdims=True)) @ v
    return _dense(state, f"{name}.out", found.swapaxes(1, 2).reshape(n, a, dim))


def _dense(state: State, name: str, x: np.ndarray) -> np.ndarray:
    made: np.ndarray = x @ state[f"{name}.weight"].T + state[f"{name}.bias"]
    return made


def _normed(state: State, name: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + NORM_FLOOR)
    made: np.ndarray = centred / spread * state[f"{name}.weight"] + state[f"{name}.bias"]
    return made
