"""The five tasks of finding what does not belong, and which scores serve which.

After Miyai et al., "Generalized Out-of-Distribution Detection and Beyond in Vision Language Model Era: A Survey",
TMLR 2025 (version 2 of the framework of Yang et al.): tasks differ in what shifts, in how many normal classes there
are, in whether known items are to be classified too, and in whether all items are there when the score is fitted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Task:
    """One of the tasks.

    Attributes:
        shift: `covariate` (a known thing that looks otherwise), `semantic` (another thing), or either.
        classes: how many normal classes: `one` (or several taken as one), or `several`.
        classified: whether known items are to be named as well.
        transductive: whether what is judged is also what is fitted on.
        example: in a few words.
    """

    name: str
    shift: str
    classes: str
    classified: bool
    transductive: bool
    example: str

    def row(self) -> list[str]:
        """For a table."""
        said = ["yes" if held else "no" for held in (self.classified, self.transductive)]
        return [self.name, self.shift, self.classes, *said, self.example]


COLUMNS = ("task", "what shifts", "normal classes", "known items named", "all items at hand", "example")
TASKS = (
    Task("anomaly detection", "covariate or semantic", "one", False, False, "scratched parts among whole ones"),
    Task("novelty detection", "semantic", "one", False, False, "a new kind of letter, kinds being unlabelled"),
    Task("open-set recognition", "semantic", "several", True, False, "some classes of one collection left out"),
    Task("out-of-distribution detection", "semantic", "several", True, False, "items of anywhere else"),
    Task("outlier detection", "covariate or semantic", "one", False, True, "what should not be in a collection"),
)


def tasks_of(traits: Collection[str]) -> Sequence[str]:
    """The names of the tasks that a score of these traits serves: one that needs labels or names has several classes,
    and nothing where it does not find the unknown."""
    if "unknown" not in traits:
        return ()
    classes = {"labels", "names"} & set(traits)
    return tuple(task.name for task in TASKS if task.classes == "several" or not classes)


def threshold_for(scores: np.ndarray, false_alarms: float) -> float:
    """The threshold above which, of these scores of known items, at most the share `false_alarms` lies."""
    return float(np.quantile(scores, 1 - false_alarms, method="higher"))
