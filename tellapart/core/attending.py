"""How a query reads the tokens of an item, without torch: by a softmax of cosines, or by trained attention."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

EPSILON = 1e-5
LINEAR, NORMS = ("q", "k", "v", "out", "inner"), ("before", "between", "after")


def softmax_cosine(
    q: np.ndarray, tokens: np.ndarray, there: np.ndarray, item: np.ndarray, temperature: float
) -> np.ndarray:
    """[n] cosines of queries with the sum of their item's tokens, weighed by softmax(q . token / temperature).

    Args:
        q: [n, d] unit vectors. tokens: [m, t, d] of items. there: [m, t] bool, at least one an item.
        item: [n] which item's tokens each query reads.
    """
    held = tokens[item]
    weight = softmax((held @ q[:, :, None])[:, :, 0] / temperature, there[item])
    return cosine(q, (weight[:, None] @ held)[:, 0])


def read(
    state: Mapping[str, np.ndarray], q: np.ndarray, tokens: np.ndarray, there: np.ndarray, item: np.ndarray
) -> np.ndarray:
    """[n, d] what queries read from their item's tokens by one block of cross-attention; zeros where there is none.

    With the linear maps and norms of `state` (a layer norm before, one between and one after)::

        x = sum_t softmax_t(q(before(query)) . k(before(token_t)) / sqrt(d)) out(v(before(token_t)))
        y = between(x);  after(y + inner(y))

    Args:
        state: `NAME.weight` and `NAME.bias` for the names of `LINEAR` and `NORMS`.
        q: [n, d]. tokens: [m, t, d] of items that may have none. there: [m, t] bool. item: [n] which one each reads.
    """
    asked, held = norm(state, "before", q), norm(state, "before", tokens)
    keys, values = linear(state, "k", held), linear(state, "out", linear(state, "v", held))
    sim = (keys[item] @ linear(state, "q", asked)[:, :, None])[:, :, 0] / np.sqrt(q.shape[1])
    y = norm(state, "between", (softmax(sim, there[item])[:, None] @ values[item])[:, 0])
    found: np.ndarray = norm(state, "after", y + linear(state, "inner", y)) * there[item].any(1, keepdims=True)
    return found


def softmax(sim: np.ndarray, there: np.ndarray) -> np.ndarray:
    """[n, t] weights that sum to 1 over what is there; zeros where nothing is."""
    if not sim.shape[1]:
        return sim
    top = np.where(there, sim, -np.inf).max(1, keepdims=True)
    grown = np.where(there, np.exp(np.where(there, sim - np.where(np.isfinite(top), top, 0), 0)), 0)
    found: np.ndarray = grown / np.maximum(grown.sum(1, keepdims=True), 1e-30)
    return found


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[n] cosines of rows of equal number."""
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found: np.ndarray = (a * b).sum(1) / np.maximum(length, 1e-12)
    return found.astype(np.float32)


def linear(state: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    """A linear map of the last axis."""
    found: np.ndarray = x @ state[f"{name}.weight"].T + state[f"{name}.bias"]
    return found


def norm(state: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    """A layer norm of the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
    found: np.ndarray = scaled * state[f"{name}.weight"] + state[f"{name}.bias"]
    return found
