"""What the protocol rerank measures, on vectors of known truth, and that its parts of the split share nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.core.hits import Hits
from tellapart.protocol.rerank import PARTS, parted, right, run


class Backwards:
    """The hits the other way round."""

    def rank(self, queries, hits, vectors):
        return Hits.sorted(hits.ids, -hits.scores)


def test_places_are_counted_from_one() -> None:
    k = np.eye(4)
    q = np.asarray([[1.0, 0.5, 0, 0], [1.0, 0.5, 0, 0]])
    assert right(None, q, k).tolist() == [1.0, 2.0]
    assert right(Backwards(), q, k).tolist() == [4.0, 3.0]


@pytest.mark.parametrize("one_each", [False, True])
def test_no_concept_is_in_two_parts(one_each) -> None:
    concept = np.repeat(np.arange(200), 3)
    rows = parted(concept, 1, one_each=one_each)
    held = {name: set(concept[at].tolist()) for name, at in rows.items()}
    assert set(held) == set(PARTS) and sum(map(len, held.values())) == 200 == len(set.union(*held.values()))
    assert len(held["train"]) == 100 and len(rows["train"]) == 300
    assert len(rows["test"]) == len(held["test"]) * (1 if one_each else 3)


def test_unknown_data_and_options_are_named() -> None:
    with pytest.raises(DataError, match="knows openmoji"):
        run({"options": {}}, "digits", 0)
    with pytest.raises(PartError, match="no option 'wrong'"):
        run({"options": {"wrong": 1}}, "openmoji", 0)
