"""Items added, changed and deleted over HTTP, and what the service then finds and shows."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.engine.indexing import build
from tellapart.server.app import create_app
from tellapart.server.service import Service


@pytest.fixture
def folder(tmp_path, tools):
    made = tools.make_run(tmp_path / "run")
    collection = Collection.open(made / "collection")
    model = tools.ColourModel(collection.sides())
    images = [Image.open(made / "pictures" / name) for name in collection.values("image")]
    build("exact", collection.ids.tolist(), model.encode_document(images), made / "index", sample=0)
    return made


@pytest.fixture
def opened(folder, tools):
    collection = Collection.open(folder / "collection")
    return lambda: Service(folder, model=tools.ColourModel(collection.sides()))


@pytest.fixture
def client(opened):
    with TestClient(create_app(opened()), raise_server_exceptions=False) as client:
        yield client


def send(client, tools, id_, colour, form="star", **columns):
    file = {"file": ("a.png", tools.png(tools.draw(form, tools.COLOURS[colour])), "image/png")}
    return client.put(f"/api/items/{id_}", data={"columns": json.dumps(columns)}, files=file)


def found(client, words, **more):
    answer = client.get("/api/search", params={"words": words, "k": 7, **more}).json()
    return [r["id"] for r in answer["results"]]


def pixel(client, address):
    with Image.open(io.BytesIO(client.get(address).content)) as image:
        return image.convert("RGB").getpixel((48, 48))


class TestItems:
    def test_a_picture_is_added_found_shown_changed_and_deleted(self, client, tools):
        answer = send(client, tools, "new/one", "red", text="a fresh drawing", year=1999)
        assert answer.status_code == 200 and answer.json() == {
            "ids": ["new/one"],
            "items": 61,
            "notes": answer.json()["notes"],
        }
        assert "new/one" in found(client, "red") and found(client, "red", where="year=1999") == ["new/one"]
        item = client.get("/api/items/new%2Fone").json()
        assert item["caption"] == "a fresh drawing" and item["columns"]["form"] is None
        assert pixel(client, item["picture"] + "&size=96")[0] > 180
        send(client, tools, "new/one", "blue")
        again = client.get("/api/items/new%2Fone").json()
        assert again["columns"]["text"] == "a fresh drawing" and again["picture"] != item["picture"]
        assert pixel(client, again["picture"] + "&size=96")[2] > 150 and "new/one" in found(client, "blue")
        assert (
            client.get("/api/search", params={"like": "new/one", "k": 5}).json()["results"][0]["id"].startswith("blue")
        )
        assert client.delete("/api/items/new%2Fone").json()["items"] == 60
        assert "new/one" not in found(client, "blue")
        for address in ("/api/items/new%2Fone", item["picture"]):
            assert client.get(address).status_code == 404
        assert client.delete("/api/items/new%2Fone").status_code == 404

    def test_columns_alone_and_batches(self, client):
        assert client.put("/api/items/red-star", json={"columns": {"year": 1800}}).status_code == 200
        assert found(client, "red", where="year=1800") == ["red-star"]
        items = [{"id": "red-ring", "columns": {"form": "new"}}, {"id": "red-cross", "columns": {"form": "new"}}]
        assert client.post("/api/items", json={"items": items}).json()["ids"] == ["red-ring", "red-cross"]
        assert found(client, "red", where="form=new") == ["red-cross", "red-ring"]
        assert client.post("/api/items/delete", json={"ids": ["red-ring", "red-star"]}).json()["items"] == 58
        assert not {"red-ring", "red-star"} & set(found(client, ""))
        assert client.get("/api/health").json()["items"] == client.get("/api/columns").json()["items"] == 58

    def test_after_a_fold_and_a_restart_it_is_the_same(self, client, opened, tools):
        send(client, tools, "new", "green", text="a green thing")
        client.delete("/api/items/green-star")
        before = found(client, "green")
        service = opened()
        assert service.live.fold().items == 60
        again = opened()
        assert [r.id for r in again.search("green", k=7).results] == before == found(client, "green")
        with Image.open(io.BytesIO(again.picture("new", 96))) as image:
            assert image.size == (96, 96)
        assert again.item("new").picture and isinstance(again.source("new"), bytes)
        assert again.pairs.confusions(5).of == 60
        for one in (service, again):
            one.live.close()

    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [
            ({"json": {"columns": {"year": "long ago"}}}, 400, "holds int64"),
            ({"json": {"columns": {"nothing": 1}}}, 400, "no column"),
            ({"json": {"columns": {"image": "/etc/passwd"}}}, 400, "holds files"),
            ({"json": {"columns": {"text": "no picture"}}}, 400, "needs a picture"),
            ({"json": {"colums": {}}}, 422, "colums"),
            ({"json": []}, 422, "object"),
            ({"content": b"{"}, 422, "json"),
            ({"content": b'{"columns": {"year": NaN}}'}, 400, "holds int64"),
            ({"content": b'{"vector": [NaN]}'}, 422, "finite"),
            ({"files": {"file": ("a.png", b"no picture", "image/png")}}, 400, "cannot be used"),
            ({"files": {"file": ("a.npy", b"\x93NUMPY", "image/png")}}, 400, "holds a picture"),
            ({"files": {"other": ("a.png", b"x", "image/png")}}, 422, "columns, vector, file"),
            ({"files": {"file": ("a.png", b"x", "image/png")}, "data": {"columns": "["}}, 422, "json"),
            ({"content": b"x" * 13_000_000}, 413, "MiB"),
        ],
    )
    def test_what_cannot_be_taken_is_refused_in_words(self, client, body, status, words):
        answer = client.put("/api/items/new", **body)
        assert answer.status_code == status and words in answer.json()["error"].lower() + answer.json()["error"]
        assert client.get("/api/health").json()["items"] == 60

    def test_only_who_may_write_writes(self, opened, tools):
        service = opened()
        with TestClient(create_app(service, marking=False)) as client:
            assert client.put("/api/items/red-star", json={"columns": {"year": 1}}).status_code == 403
            assert client.post("/api/items", json={"items": [{"id": "a"}]}).status_code == 403
            assert client.delete("/api/items/red-star").status_code == 403
            assert client.post("/api/items/delete", json={"ids": ["red-star"]}).status_code == 403
        with TestClient(create_app(service)) as client:
            elsewhere = {"origin": "http://elsewhere.example"}
            assert client.delete("/api/items/red-star", headers=elsewhere).status_code == 403
        assert service.items == 60

    def test_pairs_leave_out_what_was_deleted(self, opened):
        service = opened()
        pair = service.pairs.confusions(1).pairs[0]
        service.live.delete(pair.wrong)
        assert all(pair.wrong not in (p.query, p.right, p.wrong) for p in service.pairs.confusions(200).pairs)
        assert np.isfinite(service.stored(["red-star"])).all()
        service.live.close()
