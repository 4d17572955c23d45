"""Blocks under scores of another measure."""

from __future__ import annotations

import pytest
import torch

from tellapart.core.encoded import Encoded
from tellapart.core.relation import Relation


def test_scores_of_another_measure_stay_with_the_block() -> None:
    q, k = torch.eye(3), torch.eye(3)[:2]
    enc = Encoded(q, k, Relation(torch.zeros(3, 2), torch.ones(3, 2)))
    other = enc.with_scores(-torch.ones(3, 2))
    assert torch.equal(enc.sim, q @ k.T)
    fewer = other.with_relation(other.rel.without_negatives(torch.ones(3, 2, dtype=torch.bool)))
    assert torch.equal(fewer.sim, -torch.ones(3, 2)) and fewer.rel.neg.sum() == 0
    with pytest.raises(ValueError, match=r"scores of shape \(2, 3\) do not fit"):
        enc.with_scores(torch.zeros(2, 3))
