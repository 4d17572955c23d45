"""What maps between two spaces of vectors share: dense layers, and pairs that are looked at first. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows

FEWEST_PAIRS = 2
SIDES = ("query", "document")


@dataclass(frozen=True)
class Layer:
    """`x @ weight.T + bias`, then ReLU where it says so; weight is [out, in] float32."""

    weight: np.ndarray
    bias: np.ndarray
    relu: bool = False


class Aligner:
    """A map of vectors that is a list of dense layers: a part of shape `align` says which, after `fit`.

    What is learnt is kept in attributes that end in `_` and are numpy arrays, and nowhere else.
    """

    def layers(self, side: str = "query") -> list[Layer]:
        """The map of a side as dense layers, for vectors of length 1; the unit length of what comes out is after them.

        Raises:
            DataError: nothing has been fitted.
        """
        raise NotImplementedError

    def transform(self, new: Any, *, side: str = "query") -> np.ndarray:
        """[n, d] vectors of the new space -> [n, d'] float32 unit vectors, in numpy."""
        return through(self.layers(side), new)

    def learnt(self, name: str) -> np.ndarray:
        """An attribute that fitting makes, or `DataError`."""
        if not hasattr(self, name):
            raise DataError(f"{type(self).__name__} has not been fitted yet: call fit(new, old) first")
        found: np.ndarray = getattr(self, name)
        return found


def state_of(part: Any) -> dict[str, np.ndarray]:
    """What a fitted part has learnt, by the names of its attributes."""
    return {name: np.asarray(value) for name, value in vars(part).items() if name.endswith("_")}


def through(layers: list[Layer], x: Any) -> np.ndarray:
    """[n, d] vectors, brought to length 1, through dense layers: [n, d'] float32 of length 1.

    Raises:
        DataError: another width than that of the first layer, or values that are not finite.
    """
    z = unit_rows(matrix(x, dim=layers[0].weight.shape[1], what="the vectors to be mapped")).astype(np.float32)
    for layer in layers:
        z = z @ layer.weight.T + layer.bias
        if layer.relu:
            z = np.maximum(z, 0)
    return unit_rows(z)


def paired(new: Any, old: Any, *, least: int = FEWEST_PAIRS) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the same items in two spaces, row by row, as float64 of length 1.

    Raises:
        DataError: too few items, another number of them on each side, values that are not finite, or vectors of zeros.
    """
    x, y = matrix(new, what="the new vectors"), matrix(old, what="the old vectors")
    if len(x) != len(y):
        raise DataError(
            f"{len(x)} new and {len(y)} old vectors are no pairs: give each item once in both, in the same order"
        )
    if len(x) < least:
        raise DataError(f"{len(x)} items in both spaces are too few to fit a map: at least {least} are needed")
    for name, z in (("new", x), ("old", y)):
        empty = ~z.any(axis=1)
        if empty.any():
            raise DataError(f"the {name} vector of row {int(empty.argmax())} is all zeros and has no direction")
    return unit_rows(x), unit_rows(y)
