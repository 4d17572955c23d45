"""Who is positive, negative or neither to whom, with weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Keys:
    """What is known of each row or column of a score matrix; three int64 tensors of one length.

    Attributes:
        item: the item's own number: an item is never anything to itself.
        group: its duplicate group: members are never each other's negatives.
        target: what makes two entries positive to each other when equal (a pair's number, a label, a concept);
            -1 is equal to nothing.
    """

    item: Tensor
    group: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.item)

    def __getitem__(self, rows: slice | Tensor) -> Keys:
        return Keys(self.item[rows], self.group[rows], self.target[rows])

    @staticmethod
    def cat(*keys: Keys) -> Keys:
        """One after the other."""
        return Keys(*(torch.cat([getattr(k, f) for k in keys]) for f in ("item", "group", "target")))


@dataclass(frozen=True)
class Relation:
    """Weights of positives and negatives between n rows and m columns.

    Attributes:
        pos: [n, m] >= 0.
        neg: [n, m] >= 0, zero wherever `pos` is not. Both zero: the pair is ignored.
    """

    pos: Tensor
    neg: Tensor

    def __post_init__(self) -> None:
        if self.pos.shape != self.neg.shape or self.pos.ndim != 2:
            raise ValueError(f"pos {tuple(self.pos.shape)} and neg {tuple(self.neg.shape)} must be one [n, m] shape")

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.pos.shape[0], self.pos.shape[1]

    @staticmethod
    def of_keys(rows: Keys, cols: Keys, *, same_space: bool = False) -> Relation:
        """The relation that the keys imply: equal targets are positive, the rest negative.

        Members of one duplicate group that are not positive are ignored, and so, where rows and columns are vectors
        of one encoder (`same_space`), is the entry of an item with itself.
        """
        pos = (rows.target[:, None] == cols.target) & (rows.target >= 0)[:, None]
        if same_space:
            pos &= rows.item[:, None] != cols.item
        neg = (rows.group[:, None] != cols.group) & (rows.item[:, None] != cols.item) & ~pos
        return Relation(pos.float(), neg.float())

    def without_negatives(self, where: Tensor) -> Relation:
        """The relation with the marked entries of `neg` set to zero."""
        return replace(self, neg=self.neg.masked_fill(where, 0.0))

    def weighing_negatives(self, weight: Tensor) -> Relation:
        """The relation with `neg` multiplied by a weight >= 0."""
        return replace(self, neg=self.neg * weight)

    def with_columns(self, pos: Tensor, neg: Tensor) -> Relation:
        """The relation with further columns to its right."""
        return Relation(torch.cat([self.pos, pos], 1), torch.cat([self.neg, neg], 1))

    def problems(self) -> str | None:
        """What breaks the definition of a relation, in words; None when nothing does."""
        if (self.pos < 0).any() or (self.neg < 0).any():
            return "a weight is negative"
        if not (torch.isfinite(self.pos).all() and torch.isfinite(self.neg).all()):
            return "a weight is not finite"
        if (self.pos * self.neg != 0).any():
            return "an entry is both positive and negative"
        return None
