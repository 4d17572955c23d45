"""The protocol of keywords: the baseline's word, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.protocol import bias_keywords


def test_the_baseline_names_the_word_of_errors():
    rng = np.random.default_rng(0)
    y, odd = rng.integers(0, 2, 200), rng.random(200) < 0.2
    x = (np.where(odd, -1, 1) * (2 * y - 1))[:, None] + 0.1 * rng.normal(size=(200, 3))
    texts = [f"{rng.choice(['calm', 'busy'])} {'torn' if o else 'whole'}" for o in odd]
    made = Collection.of({"label": [f"k{v}" for v in y], "text": texts})
    word, p = bias_keywords.by_errors(x, made, 0)
    assert word == "torn" and p < 1e-6


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(PartError, match="no option 'words'"):
        bias_keywords.run({"part": "bias-keywords", "options": {"words": 3}}, "fashion", 0)
    with pytest.raises(DataError, match="not on 'openmoji'"):
        bias_keywords.run({"part": "group-dro", "options": {}}, "openmoji", 0)
