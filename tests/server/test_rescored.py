"""A run searched through a scorer that it was not made with: `--rerank`, its budget, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import tellapart
from tellapart.core.errors import DataError, PartError
from tellapart.engine import scorers
from tellapart.server.service import Service


@pytest.fixture
def asked(monkeypatch):
    """The pairs that a scorer of captions was asked about: how late in the alphabet the item begins."""
    pairs: list[tuple[str, str]] = []

    def score(queries, documents):
        pairs.extend(zip(queries, documents, strict=True))
        return np.asarray([float(np.asarray(d)[64, 64, 0]) for d in documents])

    monkeypatch.setitem(scorers._offered, "redness", score)
    return pairs


def test_the_first_hits_are_ordered_by_the_scorer_and_no_more_are_asked(service: Service, asked) -> None:
    plain = [r.id for r in service.search("grey circle", k=60).results]
    found = service.search("grey circle", k=12, rerank="redness", budget=8)
    assert len(asked) == 8 and {q for q, _ in asked} == {"grey circle"}
    ids = [r.id for r in found.results]
    assert set(ids[:8]) == set(plain[:8]) and len(ids) == 12 and set(ids[8:]) <= set(plain)
    scores = [r.score for r in found.results]
    assert scores == sorted(scores, reverse=True) and all(r.probability is None for r in found.results)
    assert found.ranked == "rerank(scorer='redness', calls=8)" and "first 8" in found.notes[-1]


def test_filters_words_and_changes_hold(service: Service, asked) -> None:
    found = service.search("star", k=30, hybrid=True, rerank="redness", budget=30)
    assert {r.id for r in service.search("star", k=10, hybrid=True).results} <= {r.id for r in found.results}
    assert "reciprocal rank fusion" in found.notes[-1]
    found = service.search("star", k=30, where={"colour": ["red"]}, rerank="redness", budget=30)
    assert {r.id.split("-")[0] for r in found.results} == {"red"}


def test_what_cannot_be_scored_is_refused(service: Service, asked) -> None:
    with pytest.raises(PartError, match="no scorer 'nobody'"):
        service.search("red", rerank="nobody")
    with pytest.raises(PartError, match="maxsim reads pairs of texts"):
        service.search("red", rerank="maxsim")
    with pytest.raises(DataError, match="words alone"):
        service.search("red", like=["red-star"], rerank="redness")
    with pytest.raises(DataError, match="not scored again"):
        service.search("red", sparse=True, rerank="redness")
    with pytest.raises(PartError, match="calls"):
        service.search("red", rerank="redness", budget=0)
    assert not asked


def test_from_python_and_from_the_command_line(service: Service, run_folder, asked, monkeypatch) -> None:
    from typer.testing import CliRunner

    from tellapart.cli import app

    expected = [r.id for r in service.search("red", k=3, rerank="redness", budget=9).results]
    monkeypatch.setattr("tellapart.server.search.Service", lambda folder: service)
    found = tellapart.search("red", run=run_folder, k=3, rerank="redness", budget=9)
    assert [r.id for r in found.results] == expected
    monkeypatch.setattr("tellapart.server.service.Service", lambda folder: service)
    words = ["search", "red", "-k", "3", "--rerank", "redness", "--budget", "9", "--run", str(run_folder)]
    done = CliRunner().invoke(app(words), words)
    assert done.exit_code == 0 and all(i in done.output for i in expected), done.output
