"""The contract of scores of the trait `positions`, whose items are maps of vectors, [n, h, w, d], as pictures give."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.contract.classify import must_refuse, planted

Build = Callable[..., Any]
Check = Callable[[Build], None]

ROWS, COLUMNS = 2, 3


class Spread:
    """A part that is given vectors, as any score is, each for all positions of a picture."""

    def __init__(self, part: Any) -> None:
        self.part = part

    def fit(self, x: np.ndarray, y: Any = None) -> Spread:
        """Fit on pictures of one vector each."""
        self.part.fit(spread(x), y)
        return self

    def score(self, x: np.ndarray) -> np.ndarray:
        """Of such pictures."""
        found: np.ndarray = self.part.score(spread(x))
        return found


def spread(x: np.ndarray) -> np.ndarray:
    """[n, ROWS, COLUMNS, d] of [n, d], the same everywhere."""
    return np.broadcast_to(x[:, None, None], (len(x), ROWS, COLUMNS, x.shape[1])).copy()


def with_positions(check: Check) -> Check:
    """A check of vectors, for a part that is given positions."""

    @functools.wraps(check)
    def checked(build: Build) -> None:
        check(lambda **options: Spread(build(**options)))

    return checked


def check_place(build: Build) -> None:
    """The map is [n, h, w] float32, its largest is the score, and lies where a picture is odd."""
    side = 6
    normal = planted(40, each=5 * side**2)[0].reshape(-1, side, side, 8)
    odd = normal[:4].copy()
    odd[:, :2, -2:] = -4 * np.eye(8)[6]
    part = build().fit(normal[4:])
    maps = part.maps(odd)
    assert isinstance(maps, np.ndarray) and maps.shape == (4, side, side), "a map must give a number a position"
    assert maps.dtype == np.float32 and np.isfinite(maps).all(), "maps must be finite float32"
    assert np.allclose(part.score(odd), maps.max(axis=(1, 2))), "the score must be the largest of the map"
    for picture in maps:
        row, column = np.unravel_index(picture.argmax(), picture.shape)
        assert row < 2 and column >= side - 2, "the map is not largest where the picture is odd"


def check_vectors_refused(build: Build) -> None:
    """Vectors of whole pictures are refused in words."""
    must_refuse("vectors in place of positions", lambda: build().fit(planted(41)[0]))
    part = build().fit(spread(planted(41)[0]))
    must_refuse("vectors in place of positions in mapping", lambda: part.maps(planted(41)[0]))


CHECKS: list[Check] = [check_place, check_vectors_refused]
