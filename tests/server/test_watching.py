"""What comes in is scored beside the searches: what is unknown is queued, grouped, named and downloaded."""

from __future__ import annotations

import csv
import io
import threading
import zipfile

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tellapart.core.errors import PartError
from tellapart.data import read
from tellapart.server import unknowns, watching
from tellapart.server.app import create_app
from tellapart.server.unknowns import Unknown, Unknowns
from tellapart.server.watching import Watch


@pytest.fixture
def client(tmp_path, tools, monkeypatch):
    monkeypatch.setattr(watching, "PAUSE", 0.01)
    monkeypatch.setattr(watching, "FEWEST_HELD", 5)
    folder = tools.make_run(tmp_path / "run")
    with TestClient(create_app(tools.open_run(folder), watch="knn(k=1)")) as client:
        yield client


def told(client):
    assert client.app.state.watching.settle()
    return client.get("/api/unknown").json()


def test_only_what_is_like_nothing_stored_is_queued_and_named(client, tools, tmp_path) -> None:
    for words in ("a red thing", "a blue thing", "zebra", "zebra", "zebra stripes", ""):
        client.get("/api/search", params={"words": words, "k": 1})
    client.get("/api/search", params={"words": "zebra crossing", "like": "red-ring"})
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    from PIL import Image

    client.post("/api/search", files={"image": ("a.png", tools.png(Image.fromarray(noise)), "image/png")})
    red = tools.png(tools.draw("ring", tools.COLOURS["red"]))
    client.post("/api/search", files={"image": ("a.png", red, "image/png")})
    new = {"file": ("a.png", tools.png(Image.fromarray(noise)), "image/png")}
    assert client.put("/api/items/new", data={"columns": '{"text": "noise"}'}, files=new).status_code == 200
    found = told(client)
    kinds = {kind["kind"]: (kind["seen"], kind["unknown"]) for kind in found["kinds"]}
    assert kinds == {"words": (5, 3), "pictures": (2, 1), "items": (1, 1)}
    assert sum(hour["unknown"] for hour in found["hours"]) == 5
    added = [one for group in found["groups"] for one in group["items"] if one["item"]]
    assert [(one["text"], one["item"]) for one in added] == [("noise", "new")]
    largest = found["groups"][0]
    assert {(one["text"], one["count"]) for one in largest["items"]} == {("zebra", 2), ("zebra stripes", 1)}
    assert "zebra" in largest["words"]
    picture = next(one for group in found["groups"] for one in group["items"] if one["kind"] == "pictures")
    assert Image.open(io.BytesIO(client.get(picture["picture"]).content)).size == (64, 64)
    keys = [one["key"] for one in largest["items"]]
    assert client.post("/api/unknown/label", json={"keys": keys, "label": " animals "}).json() == {"count": 2}
    rows = list(csv.DictReader(io.StringIO(client.get("/api/unknown.csv?labelled=true").text)))
    assert {(row["text"], row["label"]) for row in rows} == {("zebra", "animals"), ("zebra stripes", "animals")}
    saved = tmp_path / "unknown.csv"
    saved.write_text(client.get("/api/unknown.csv?labelled=true").text)
    assert sorted(read(saved).values("label")) == ["animals", "animals"]
    with zipfile.ZipFile(io.BytesIO(client.get("/api/unknown.zip").content)) as packed:
        packed.extractall(tmp_path / "pictures")
    assert read(tmp_path / "pictures" / "unknown.csv").ids.tolist() == [picture["key"]]
    assert client.post("/api/unknown/forget", json={"keys": [picture["key"]]}).json() == {"count": 1}
    assert client.get(picture["picture"]).status_code == 404
    figures = client.get("/metrics").text
    assert 'tellapart_watched_total{kind="words"} 5.0' in figures
    assert 'tellapart_unknown_total{kind="words"} 3.0' in figures


def test_a_search_does_not_wait_for_the_score(client, monkeypatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr(Watch, "_score", lambda self, kind, came: gate.wait(20))
    monkeypatch.setattr(watching, "WAITING", 3)
    watch = client.app.state.watching
    for number in range(12):
        assert client.get("/api/search", params={"words": f"red {number}"}).status_code == 200
    assert watch.unscored > 0 and watch.waiting <= 3
    gate.set()


def test_the_queue_is_bounded_and_labelled_ones_stay_longest(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(unknowns, "MOST", 4)
    kept = Unknowns(tmp_path, "m")
    z = np.ones(3, np.float32)

    def one(key, at):
        return Unknown(key, "words", key, "", False, z, 1.0, 1, at, at, "")

    kept.add([(one("a", 1.0), None), (one("b", 2.0), None)], {})
    kept.label(["a"], "first")
    kept.add([(one(k, float(at)), None) for at, k in enumerate("cdef", 3)], {})
    assert [each.key for each in kept.all()] == ["f", "e", "d", "a"]
    later = Unknowns(tmp_path, "another model")
    assert [(each.key, each.vector) for each in later.all()] == [("a", None)]


def test_formulas_are_text_and_names_are_one_line(client) -> None:
    client.get("/api/search", params={"words": "=1+1 zebra", "k": 1})
    key = told(client)["groups"][0]["items"][0]["key"]
    assert " =1+1 zebra" in client.get("/api/unknown.csv").text
    assert client.post("/api/unknown/label", json={"keys": [key], "label": "a\nb"}).status_code == 400
    assert (
        client.post("/api/unknown/forget", json={"keys": [key]}, headers={"origin": "https://a.b"}).status_code == 403
    )


def test_it_is_off_unless_asked_for_and_not_for_everybody(service) -> None:
    with TestClient(create_app(service)) as client:
        answer = client.get("/api/unknown")
        assert answer.status_code == 404 and "--watch" in answer.json()["error"]
        assert "unknown.js" in client.get("/unknown").text
    with TestClient(create_app(service, marking=False)) as client:
        assert client.get("/api/unknown").status_code == 403
    for score in ("energy", "anovl"):
        with pytest.raises(PartError, match="vectors alone"):
            create_app(service, watch=score)
