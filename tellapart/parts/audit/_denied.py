"""What a model makes of things that are asked for and denied: shares of comparisons, item by item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tellapart.core.features import unit_rows
from tellapart.parts.audit._nearly_right import vectors_of, won
from tellapart.parts.audit._things import Ask, Pair

SAID, ALONE, CHOICE, TRUE = "X, put before", "no X, put after", "X or Y", "X, not Y or the reverse"
PLAIN, JOINED, THIRD, DENIED = "X", "X and Y", "X, not a third thing", "X, not Y"
UNLIKE = "X, and an item with Y as --unlike"
FEWEST = 10


@dataclass(frozen=True)
class Answers:
    """What was asked about items with X and without Y, for X and Y of every pair and the other way round.

    Attributes:
        mine, theirs: [n] numbers of items with X and of items with Y.
        names: [n] of X and Y; pair: [n] which pair of things they stand in.
        share: [n] by what was asked: of `mine` for the first four, of `theirs` for what is asked with X in a search.
    """

    mine: np.ndarray
    theirs: np.ndarray
    names: list[tuple[str, str]]
    pair: np.ndarray
    share: dict[str, np.ndarray]


def answers(
    z: np.ndarray, names: list[str], pairs: list[Pair], ask: Ask, alone: list[str], both: list[str], joined: list[str]
) -> Answers:
    """All that is asked about the pairs; every text is encoded once.

    Args:
        z: [n, d] unit vectors of the items; alone, both, joined: ways to say it, with {x} and {y}.
    """
    turns = [turn for p in pairs for turn in _turns(p)]
    words = [(names[x], names[y], names[p.third]) for p, x, y, _, _ in turns]
    every = [text for x, y, w in words for text in (x, *_said(alone, x, x), *_said(both, x, y), *_said(both, x, w))]
    every += [text for x, y, _ in words for text in _said(joined, x, y)]
    at = {text: row for row, text in enumerate(dict.fromkeys(every))}
    t = vectors_of(ask, list(at), z.shape[1])

    def scores(rows: np.ndarray, texts: list[str]) -> np.ndarray:
        return np.asarray(t[[at[text] for text in texts]] @ z[rows].T)

    found: dict[str, list[np.ndarray]] = {}
    for (p, _, _, mine, theirs), (x, y, w) in zip(turns, words, strict=True):

        def before(rows: np.ndarray, others: np.ndarray, texts: list[str]) -> np.ndarray:
            return _before(scores(rows, texts), scores(others, texts)).mean(axis=0)

        def nearer(these: list[str], those: list[str], rows: np.ndarray = mine) -> np.ndarray:
            return won(scores(rows, these) - scores(rows, those)).mean(axis=0)

        away, plain = z[np.roll(theirs, 1)], t[at[x]]
        turned = unit_rows(plain - np.maximum(0, away @ plain)[:, None] * away)
        margin = np.einsum("nd,nd->n", turned, z[theirs])[:, None] - turned @ z[p.neither].T
        one = {
            SAID: before(mine, theirs, [x]),
            ALONE: 1 - before(mine, theirs, _said(alone, x, x)),
            CHOICE: nearer([x], [y]),
            TRUE: nearer(_said(both, x, y), _said(both, y, x)),
            PLAIN: before(theirs, p.neither, [x]),
            THIRD: before(theirs, p.neither, _said(both, x, w)),
            DENIED: before(theirs, p.neither, _said(both, x, y)),
            JOINED: before(theirs, p.neither, _said(joined, x, y)),
            UNLIKE: won(margin).mean(axis=1),
        }
        for name, values in one.items():
            found.setdefault(name, []).append(values)
    each = len(pairs[0].mine)
    return Answers(
        np.concatenate([mine for *_, mine, _ in turns]),
        np.concatenate([theirs for *_, theirs in turns]),
        [(x, y) for x, y, _ in words for _ in range(each)],
        np.repeat(np.arange(len(pairs)), 2 * each),
        {name: np.concatenate(values) for name, values in found.items()},
    )


def _turns(p: Pair) -> list[tuple[Pair, int, int, np.ndarray, np.ndarray]]:
    return [(p, p.first, p.second, p.mine, p.theirs), (p, p.second, p.first, p.theirs, p.mine)]


def _said(ways: list[str], x: str, y: str) -> list[str]:
    return [way.replace("{x}", x).replace("{y}", y) for way in ways]


def _before(ours: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[texts, n] share of others [texts, m] that each of ours [texts, n] scores above; equal ones are half."""
    return won(ours[:, :, None] - others[:, None, :]).mean(axis=2)
