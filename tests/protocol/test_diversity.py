"""The protocol of diversity: mixes, and figures on items whose values vectors show."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.protocol import diversity


def test_every_fifth_mix_has_a_default():
    mixes = [diversity._mix(number, 4, np.random.default_rng(number)) for number in range(20)]
    assert all(mix.sum() == pytest.approx(1) for mix in mixes)
    assert all((mix.max() >= diversity.DEFAULT) == (number % 5 == 0) for number, mix in enumerate(mixes))


def test_defaults_are_found_and_entropies_agree(monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 3, 1500)
    x = np.eye(3)[values] * 3 + rng.normal(size=(1500, 3)) * 0.2
    monkeypatch.setattr(diversity, "attributes", lambda data: [(x, values)])
    found = diversity.run({"part": "diversity", "options": {"generators": 10}}, "made", 0)
    assert found["correlation with the true entropy"][1] > 0.99
    assert found["defaults found"][1] == 1 and found["called default"][1] == 0
    with pytest.raises(PartError, match="no option 'size'"):
        diversity.run({"part": "diversity", "options": {"size": 3}}, "made", 0)


def test_other_data_are_refused():
    with pytest.raises(DataError, match="not 'coins'"):
        diversity.attributes("coins")
