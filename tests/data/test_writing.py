"""What is found of items stands beside their own columns, never in the place of one."""

from __future__ import annotations

from tellapart.core.collection import Collection
from tellapart.data.writing import with_result


def test_a_column_of_the_same_name_stays():
    given = Collection.of({"text": ["a", "b"], "score": [3, 4], "score_": [5, 6]})
    made = with_result(given, "score", [0.1, 0.2])
    assert made.values("score") == [3, 4] and made.values("score_") == [5, 6]
    assert made.values("score__") == [0.1, 0.2] and with_result(given, "weight", [1, 2]).values("weight") == [1, 2]
