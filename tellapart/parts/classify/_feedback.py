"""What `rocchio` and `lbl2vec` share: classes named by a few vectors, moved to where the documents near them lie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.features import labels, matrix, softmax, unit_rows


class Feedback(ABC):
    """Classes as the mean of documents that are near their named vectors; a part says which of these it keeps."""

    at_least: float
    fewest: int
    most: int
    temperature: float

    @abstractmethod
    def _kept(self, documents: np.ndarray) -> np.ndarray:
        """[n] bool: which of the documents [n, d] that were found for a class count."""

    def fit(self, x: Any, y: Any, *, unlabelled: Any = None) -> Any:
        """Learn from vectors [n, d] that name the classes [n], and documents [m, d] without a label.

        Raises:
            DataError: one class, values that are not finite, or shapes that do not fit.
        """
        x = unit_rows(matrix(x))
        classes, codes = labels(y, len(x), least=2)
        named = unit_rows(np.stack([x[codes == c].mean(0) for c in range(len(classes))]))
        if unlabelled is not None and len(unlabelled):
            documents = unit_rows(matrix(unlabelled, dim=x.shape[1], what="unlabelled items"))
            named = unit_rows(np.stack([self._moved(documents, z) for z in named]))
        self.classes_, self.means_ = classes, named
        return self

    def _moved(self, documents: np.ndarray, z: np.ndarray) -> np.ndarray:
        """[d] the mean of what is near a named class."""
        scores = documents @ z
        order = np.argsort(-scores, kind="stable")[: self.most]
        near = max(self.fewest, int((scores[order] >= self.at_least).sum()))
        found = documents[order[:near]]
        mean: np.ndarray = found[self._kept(found)].mean(0)
        return mean

    def similarity(self, x: Any) -> np.ndarray:
        """[n, classes] cosines of documents with the classes' vectors, by which a class's documents are ranked."""
        if not hasattr(self, "means_"):
            raise DataError(f"{type(self).__name__.lower()} has not been fitted yet: call fit(x, y) first")
        found: np.ndarray = unit_rows(matrix(x, dim=self.means_.shape[1])) @ self.means_.T
        return found

    def predict_proba(self, x: Any) -> np.ndarray:
        """[n, classes] float32."""
        return softmax(self.similarity(x) / self.temperature)

    def predict(self, x: Any) -> np.ndarray:
        """[n] labels."""
        said: np.ndarray = self.classes_[self.similarity(x).argmax(1)]
        return said
