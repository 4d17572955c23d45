"""The protocol of recordings on windows of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.data import shipped
from tellapart.data.series import packed
from tellapart.protocol import recordings


@pytest.fixture
def planted(monkeypatch, tmp_path):
    """60 windows of one mean and spread; classes are how fast they swing, which only their order shows."""
    rng = np.random.default_rng(0)
    label = np.arange(60) % 2
    time = np.arange(64) * np.where(label, 0.9, 0.3)[:, None] + rng.uniform(0, 6, (60, 1))
    windows = np.sin(time) + 0.3 * rng.normal(size=(60, 64))
    made = Collection.of({"series": [packed(w) for w in rng.permuted(windows, axis=1)], "label": label.astype(str)})
    ordered = Collection.of({"series": [packed(w) for w in windows], "label": label.astype(str)})
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path))
    recordings.vectors.cache_clear()
    yield lambda shuffled: monkeypatch.setattr(shipped, "recordings", lambda name: made if shuffled else ordered)
    recordings.vectors.cache_clear()


def test_what_stands_in_the_order_is_found_by_kernels_and_lost_when_shuffled(planted):
    spec = {"part": "rocket(kernels=100)", "baseline": "rocket(kernels=100)", "options": {}}
    planted(False)
    base, ours = recordings.run(spec, "GunPoint", 0)["accuracy"]
    assert base == ours >= 0.9
    recordings.vectors.cache_clear()
    planted(True)
    assert recordings.run(spec, "GunPoint", 0)["accuracy"][1] < 0.8


def test_what_it_does_not_know_is_said():
    with pytest.raises(DataError, match="knows BasicMotions"):
        recordings.run({"options": {}}, "digits", 0)
    with pytest.raises(PartError, match="no option 'c'"):
        recordings.run({"options": {"c": 1}}, "GunPoint", 0)


def test_files_of_a_package_that_is_not_there(monkeypatch):
    monkeypatch.delenv("TELLAPART_DATA", raising=False)
    monkeypatch.setattr(shipped.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install --no-deps aeon"):
        shipped.basic_motions()
