"""Served queries are counted by how their best hit scores, and compared with held-out ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tellapart.engine.monitor import BINS, Expected
from tellapart.server.app import create_app


@pytest.fixture
def watched(tmp_path, tools):
    """A run that says how held-out queries score."""
    folder = tools.make_run(tmp_path / "run")
    file = folder / "model" / "calibration.json"
    expected = Expected.of(np.linspace(0.5, 1, 200), 0.5)
    file.write_text(json.dumps({**json.loads(file.read_text()), "queries": expected.to_dict()}))
    return folder


def counts_of(folder) -> list[int]:
    files = list((folder / "monitor").glob("*.json"))
    return np.sum([json.loads(f.read_text())["counts"] for f in files], axis=0).tolist() if files else []


def test_only_what_is_calibrated_is_counted(watched, tools) -> None:
    with TestClient(create_app(tools.open_run(watched))) as client:
        for asked in (
            {"words": "a red thing"},
            {"words": "a red thing", "where": "form=ring"},
            {"words": "red", "like": "blue-ring"},
            {"words": "a red thing", "hybrid": "true"},
            {"like": "blue-ring"},
            {},
        ):
            assert client.get("/api/search", params=asked).status_code == 200
        told = client.get("/api/monitor").json()
        assert told["facts"]["queries"] == 1 and told["facts"]["held-out queries"] == 200
    assert sum(counts_of(watched)) == 1


def test_a_change_of_queries_is_said_and_told_to_prometheus(watched, tools) -> None:
    with TestClient(create_app(tools.open_run(watched))) as client:
        for _ in range(120):
            client.get("/api/search", params={"words": "a red circle", "k": 1})
        told = client.get("/api/monitor").json()
        verdict = next(b["text"] for b in told["blocks"] if b.get("kind") == "verdict")
        assert "scores higher" in verdict
        client.app.state.metrics.now(waiting=0, items=60, ready=True, run="v")
        figure = client.app.state.metrics.text()[0].decode().split("tellapart_score_shift ")[-1].split()[0]
        assert float(figure) > 0.1
    counts = counts_of(watched)
    assert sum(counts) == 120 and max(counts[:BINS]) == 120


def test_without_held_out_queries_it_says_so(run_folder, tools) -> None:
    with TestClient(create_app(tools.open_run(run_folder))) as client:
        answer = client.get("/api/monitor")
        assert answer.status_code == 400 and "does not say how held-out queries score" in answer.json()["error"]


def test_a_stranger_does_not_see_it(watched, tools) -> None:
    app = create_app(tools.open_run(watched), hosts=("*",), marking=False)
    with TestClient(app, client=("192.0.2.1", 1)) as client:
        assert client.get("/api/monitor").status_code == 403
