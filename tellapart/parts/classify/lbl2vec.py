from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.parts.classify._feedback import Feedback


@part(
    paper="Schopf, Braun, Matthes: Lbl2Vec: An Embedding-Based Approach for Unsupervised Document Retrieval on "
    "Predefined Topics, WEBIST 2021",
    place="retrieve",
    system="lbl2vec",
    traits=("unlabelled", "topics"),
    needs=("sklearn",),
)
class Lbl2vec(Feedback):
    """Topics by keywords: a topic is the mean of the documents near its keywords, less those that stand apart.

    Formula, with n_c the mean of the unit vectors of the keywords of topic c, at unit length, and u_j the documents::

        D_c = the `most` documents of greatest u_j . n_c, those of cosine >= `at_least`, but at least `fewest` of them
        D'_c = D_c without those whose local outlier factor over `neighbours` neighbours is above `apart`
        p_c = mean of D'_c at unit length;  p(c | x) = softmax_c(x . p_c / temperature)

    The paper's words and documents are of one Doc2Vec; here any encoder gives both, so the words are read in its space
    (a picture's as well, where words and pictures share one). The local outlier factor (Breunig et al., 2000) is 1 amid
    others; the paper names no bound, and scikit-learn's 1.5 takes nothing out of embeddings of hundreds of numbers,
    whose distances are nearly equal. Where D_c has at most `neighbours` documents all others are neighbours, and of
    fewer than 3 nothing is taken out. The probabilities are not the paper's, which ranks by cosine.

    Use it to sort or search documents by topics of your own, with three to five keywords each and no labels:
    `tellapart topics`.

    Relations: `rocchio` keeps the outliers, and is one step of pseudo-relevance feedback.

    Shapes: x [n, d] the keywords, y [n] their topics, unlabelled [m, d]; `similarity` [n, topics] cosines.
    """

    def __init__(
        self,
        *,
        at_least: Annotated[float, Field(ge=-1, le=1)] = 0.3,
        fewest: Annotated[int, Field(ge=1, le=1_000_000)] = 10,
        most: Annotated[int, Field(ge=1, le=1_000_000)] = 30,
        neighbours: Annotated[int, Field(ge=1, le=1000)] = 20,
        apart: Annotated[float, Field(ge=1, le=100)] = 1.1,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.05,
    ) -> None:
        self.at_least, self.fewest, self.most, self.temperature = at_least, fewest, most, temperature
        self.neighbours, self.apart = neighbours, apart

    def _kept(self, documents: np.ndarray) -> np.ndarray:
        from sklearn.neighbors import LocalOutlierFactor

        if len(documents) < 3:
            return np.ones(len(documents), bool)
        factor = LocalOutlierFactor(min(self.neighbours, len(documents) - 1)).fit(documents)
        kept: np.ndarray = factor.negative_outlier_factor_ >= -self.apart
        return kept if kept.any() else np.ones(len(documents), bool)
