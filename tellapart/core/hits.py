"""What a search gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hits:
    """Ids and scores of the best k items for each query, best first, ties by id.

    Attributes:
        ids: [queries, k] str; an empty string fills up where there were fewer than k.
        scores: [queries, k] float32; -inf there.
        calls: how many times a scorer was asked to get here (0: the index alone).
    """

    ids: np.ndarray
    scores: np.ndarray
    calls: int = 0

    def __post_init__(self) -> None:
        if self.ids.shape != self.scores.shape or self.ids.ndim != 2:
            raise ValueError(f"ids {self.ids.shape} and scores {self.scores.shape} must be one [queries, k] shape")

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, query: int) -> list[tuple[str, float]]:
        """The hits of one query as (id, score), without filling."""
        found = self.ids[query] != ""
        return list(zip(self.ids[query][found].tolist(), self.scores[query][found].tolist(), strict=True))

    @staticmethod
    def sorted(ids: np.ndarray, scores: np.ndarray, k: int | None = None, calls: int = 0) -> Hits:
        """Order candidates of each query by falling score, ties by id, and keep the first k.

        Entries with an empty id or a score of -inf are filling and go last.
        """
        ids = np.asarray(ids, dtype=str)
        scores = np.where(ids == "", -np.inf, np.asarray(scores, dtype=np.float32)).astype(np.float32)
        by_id = np.argsort(ids, axis=1, kind="stable")
        ids, scores = np.take_along_axis(ids, by_id, 1), np.take_along_axis(scores, by_id, 1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, : k or ids.shape[1]]
        ids, scores = np.take_along_axis(ids, best, 1), np.take_along_axis(scores, best, 1)
        return Hits(np.where(np.isneginf(scores), "", ids), scores, calls)
