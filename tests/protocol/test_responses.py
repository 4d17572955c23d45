"""The protocol of one answer in ten: what is compared, how candidates are chosen, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tellapart.core.errors import DataError
from tellapart.protocol import responses
from tellapart.protocol.responses import Alone, Apart, hardest

OPTIONS = {"train": 14, "test": 11, "epochs": 1, "max_tokens": 8}
SPEC = {"part": "uni-encoder", "baseline": "cross-encoder", "options": OPTIONS}
WORDS = ("apple", "bell", "chair", "drum", "eagle", "fork", "goat", "hat", "island", "jar")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    said = [f"{a} {b}" for a in WORDS for b in WORDS if a < b]
    z = np.random.default_rng(0).normal(size=(len(said), 8))
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    monkeypatch.setattr(responses, "texts", lambda column: ([f"{column[0]} {text}" for text in said], z))
    monkeypatch.setattr(responses, "TIMED", 2)


def test_all_networks_are_measured_on_the_same_queries():
    found = responses.run(SPEC, "code to docstring", 0)
    assert all(len(found[name][0]) == len(found[name][1]) == 11 for name in found if name.startswith("accuracy"))
    assert all(time > 0 for name in found if name.startswith("milli") for time in found[name])
    assert found["accuracy, against frozen cosines"][0].mean() == 1.0, "each text has the vector of its other side"


def test_the_right_one_stands_first_among_the_hardest():
    z = np.random.default_rng(1).normal(size=(30, 4))
    rows = np.arange(5, 25)
    among = hardest(z, z, rows)
    assert among.shape == (20, 10) and (among[:, 0] == rows).all() and np.isin(among, rows).all()
    others = z[rows] @ z[rows].T
    best = set(rows[np.argsort(-np.where(np.arange(20) == 0, -np.inf, others[0]))[:9]].tolist())
    assert set(among[0, 1:].tolist()) == best


def test_networks_read_alone_what_the_part_reads_together():
    given = {"layers": 1, "max_tokens": 8}
    cross, dual = Alone(given, 0), Apart(given)
    with torch.no_grad():
        both, one = cross("a b", ["apple", "bell"]), cross("a b", ["bell"])
        assert torch.allclose(both[1], one[0], atol=1e-5)
        context, first, second = cross.net.pieces(["a b", "apple bell chair", "bell"])
        plain = torch.cat([cross.net(context, [first]), cross.net(context, [second])])
        assert torch.allclose(cross.scores(context, [first, second]), plain, atol=1e-5)
        assert dual("bell", ["bell", "goat"])[0] == pytest.approx(1 / responses.TEMPERATURE, rel=1e-4)


def test_what_is_unknown_is_refused():
    with pytest.raises(DataError, match="no option 'pairs'"):
        responses.run({**SPEC, "options": {"pairs": 3}}, "code to docstring", 0)
    with pytest.raises(DataError, match="docstring to code"):
        responses.run(SPEC, "openmoji", 0)
