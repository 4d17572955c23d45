"""What is left to the build is chosen there, kept with the index, and not chosen where the user said it."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.parts import make
from tellapart.engine.indexing import build, measure, open_index

OPEN = {"hnsw": "width", "ivf": "probe", "rabitq": "oversample", "sign-bits": "oversample"}


def vectors(n: int) -> np.ndarray:
    z = np.random.default_rng(0).standard_normal((n, 96)).astype(np.float32)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


@pytest.mark.parametrize("name", OPEN)
def test_what_is_left_open_grows_until_enough_is_found(name, tmp_path):
    z = vectors(4000)
    first = make("index", name).chosen
    index, report = build(name, [f"{i:04d}" for i in range(len(z))], z, tmp_path)
    assert report.figure("recall@10").value >= 0.985
    assert index.chosen[OPEN[name]] > first[OPEN[name]]
    again = open_index(tmp_path)
    assert again.chosen == index.chosen
    queries = vectors(4100)[-100:]
    assert measure(again, queries).mean() >= 0.96
    narrow = make("index", name, **{k: v for k, v in first.items()})
    narrow.add(index.ids, z)
    assert not narrow.chosen and not narrow.wider()
    assert measure(narrow, queries).mean() < measure(again, queries).mean()
