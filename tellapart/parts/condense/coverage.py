"""Items that lie in the midst of the others of their class."""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.condensed import Condensed, counted
from tellapart.core.coverage import covering_classes
from tellapart.core.features import labels, matrix, unit_rows
from tellapart.core.parts import part


@part(
    paper="Liu, Mirzasoleiman: Data-Efficient Augmentation for Training Neural Networks, NeurIPS 2022",
    place="curate",
    system="data-efficient-aug",
    aliases=("facility-location",),
)
def coverage(x: Any, y: Any, count: int, *, seed: int = 0) -> Condensed:
    """The items of each class from which the others of the class are nearest, and how many each stands for.

    Formula, within each class, greedily for S of its share of `count`, with unit vectors u:
        maximise sum_i max_{j in S} (max_kl |u_k - u_l| - |u_i - u_j|);
        weight_j = number of items that j in S is nearest to, divided by the mean of these numbers.

    The paper chooses what to augment by this rule on the gradients of a network's last layer while it trains, which
    `strategy=data-efficient-aug` does; here it is on vectors that are given, before anything is trained. A class of
    more than 4,000 items is dealt at random into pieces, each covered alone.

    Use it to pick what to label again, to augment by hand, or to show, without picking the same thing twice.
    Where one item a class is kept, the one nearest to the mean of the class teaches as much or more (see the evidence).

    Relations: `dcc` makes items in place of choosing them.

    Args:
        x: [n, d] vectors. y: [n] labels.
        count: how many items in all; every class gives in proportion, one at least.

    Raises `DataError` for values that are not finite, missing labels, or a count below the number of classes or above
    that of the items.
    """
    x = matrix(x)
    classes, code = labels(y, len(x))
    rows, held = covering_classes(unit_rows(x), code, counted(count, len(x), len(classes)), seed=seed)
    return Condensed(x[rows].astype(np.float32), classes[code[rows]], (held / held.mean()).astype(np.float32), rows)
