from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.parts.classify._feedback import Feedback


@part(
    paper="(plain baseline; Rocchio, Relevance Feedback in Information Retrieval, 1971)",
    place="retrieve",
    traits=("unlabelled", "topics"),
)
class Rocchio(Feedback):
    """A class is where the documents nearest to its name lie: one step of feedback without anybody's judgement.

    Formula, with n_c the mean of the unit vectors that name class c, at unit length, and u_j the documents::

        D_c = the `most` documents of greatest u_j . n_c, those of cosine >= `at_least`, but at least `fewest` of them
        p_c = mean of D_c at unit length;  p(c | x) = softmax_c(x . p_c / temperature)

    Without documents the names alone are the classes.

    Use it where a class has a name and no items: keywords, words of a label, a sentence.

    Relations: `lbl2vec` takes out what does not belong among D_c. `nearest-mean` needs items of every class.

    Shapes: x [n, d] the names, y [n] their classes, unlabelled [m, d]; `similarity` [n, classes] cosines.
    """

    def __init__(
        self,
        *,
        at_least: Annotated[float, Field(ge=-1, le=1)] = 0.3,
        fewest: Annotated[int, Field(ge=1, le=1_000_000)] = 10,
        most: Annotated[int, Field(ge=1, le=1_000_000)] = 30,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.05,
    ) -> None:
        self.at_least, self.fewest, self.most, self.temperature = at_least, fewest, most, temperature

    def _kept(self, documents: np.ndarray) -> np.ndarray:
        return np.ones(len(documents), bool)
