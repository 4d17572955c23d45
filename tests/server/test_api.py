"""The HTTP API: what it answers, and that nothing malformed is ever the server's fault."""

from __future__ import annotations

import io
import json
import logging
import time

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tellapart.data.marks import FILE, Mark, read_marks
from tellapart.server.app import create_app
from tellapart.server.guard import HEADERS, Guard
from tellapart.server.limits import (
    BODY_BYTES,
    EXAMPLES,
    PICTURE_SIZES,
    QUERY_CHARACTERS,
    RESULTS,
    UPLOAD_BYTES,
    WAITING,
)


@pytest.fixture
def client(service):
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        yield client


def refused(response, *statuses):
    assert response.status_code in (statuses or (400, 404, 405, 413, 422)), response.text
    message = response.json()["error"]
    assert message and "Traceback" not in message and 'File "' not in message
    return message


class TestAnswers:
    def test_search(self, client):
        answer = client.get("/api/search", params={"words": "a red thing", "k": 3}).json()
        assert [r["caption"] for r in answer["results"]] == ["a red circle", "a red cross", "a red ring"]
        assert answer["results"][0]["probability"] > 0.99 and answer["searched"] == 60
        picture = client.get(answer["results"][0]["picture"] + "&size=96")
        assert picture.headers["content-type"] == "image/webp"
        with Image.open(io.BytesIO(picture.content)) as image:
            assert max(image.size) == 96

    def test_search_by_everything_at_once(self, client, tools):
        query = {"words": "red", "like": ["red-star"], "unlike": ["blue-star"], "where": {"form": ["ring", "cross"]}}
        files = {"image": ("a.png", tools.png(tools.draw("star", tools.COLOURS["red"])))}
        answer = client.post("/api/search", data={"query": json.dumps(query)}, files=files).json()
        assert [r["id"] for r in answer["results"][:2]] == ["red-cross", "red-ring"]
        assert answer["searched"] == 20

    def test_the_same_by_get_and_by_post(self, client):
        by_get = client.get(
            "/api/search?words=blue&like=red-star&where=form=star&where=form=ring&where=year=1950..2000"
        )
        query = {
            "words": "blue",
            "like": ["red-star"],
            "where": {"form": ["star", "ring"], "year": {"from": 1950, "to": 2000}},
        }
        assert client.post("/api/search", data={"query": json.dumps(query)}).json() == by_get.json()

    def test_nothing_here(self, client):
        answer = client.get("/api/search?words=zebra").json()
        assert answer["nothing_here"] and answer["results"] == [] and len(answer["closest"]) == 24

    def test_item_columns_health(self, client, service):
        assert client.get("/api/items/red-star").json()["columns"]["form"] == "star"
        columns = client.get("/api/columns").json()
        assert columns["reads"] == ["text", "image"] and columns["shows"] == "image" and columns["calibrated"]
        assert not columns["changes"]
        service.asking.changes_alone = True
        assert client.get("/api/columns").json()["changes"], "words of such a run say what is to change"
        assert client.get("/api/health").json() == {"status": "ok", "items": 60, "version": service.version}

    def test_confusions_are_computed_beside_and_then_answered(self, tmp_path, tools):
        service = tools.open_run(tools.make_run(tmp_path / "run"))
        with TestClient(create_app(service)) as client:
            first = client.get("/api/confusions?k=3")
            assert first.status_code == 202 and first.json()["ready"] is False
            for _ in range(200):
                answer = client.get("/api/confusions?k=3")
                if answer.status_code == 200:
                    break
                time.sleep(0.05)
            found = answer.json()
            assert found["ready"] and len(found["pairs"]) == 3 and found["confused"] == 60
            assert found["pairs"][0]["wrong"]["picture"]

    def test_marks_are_kept_shown_and_taken_back(self, tmp_path, tools):
        folder = tools.make_run(tmp_path / "run")
        with TestClient(create_app(tools.open_run(folder))) as client:
            assert client.get("/api/columns").json()["marking"]
            mark = {"a": "red-star", "b": "red-ring", "said": "same"}
            assert client.post("/api/marks", json=mark).json() == {"marks": 1}
            assert client.post("/api/marks", json=mark | {"said": "different"}).json() == {"marks": 1}
            assert read_marks(folder / FILE) == [Mark("red-star", "red-ring", "different")]
            assert client.post("/api/marks", json={"a": "red-ring", "b": "red-star", "said": ""}).json() == {"marks": 0}
            assert read_marks(folder / FILE) == []
        (folder / FILE).write_text('{"a": "red-star", "b": "red-ring", "said": "same"}')
        assert tools.open_run(folder).pairs.marks == {frozenset(("red-star", "red-ring")): "same"}

    @pytest.mark.parametrize(
        ("mark", "status"),
        [
            ({"a": "red-star", "b": "red-star", "said": "same"}, 400),
            ({"a": "red-star", "b": "nobody", "said": "same"}, 404),
            ({"a": "red-star", "b": "red-ring", "said": "alike"}, 422),
            ({"a": "red-star", "said": "same"}, 422),
            ({"a": "red-star", "b": "x" * 2000, "said": "same"}, 422),
            ([], 422),
        ],
    )
    def test_what_is_no_mark_is_refused(self, client, service, mark, status):
        answer = client.post("/api/marks", json=mark)
        assert answer.status_code == status and answer.json()["error"]
        assert not (service.folder / FILE).exists()

    def test_other_sites_and_open_servers_cannot_mark(self, service):
        mark = {"a": "red-star", "b": "red-ring", "said": "same"}
        with TestClient(create_app(service)) as client:
            for origin in ("http://elsewhere.example", "null", "http://testserver:81"):
                assert client.post("/api/marks", json=mark, headers={"origin": origin}).status_code == 403
            assert client.post("/api/marks", content=json.dumps(mark), headers={"content-type": "text/plain"}).is_error
        with TestClient(create_app(service, marking=False)) as client:
            assert client.post("/api/marks", json=mark).status_code == 403
            assert client.get("/api/columns").json()["marking"] is False
        assert not (service.folder / FILE).exists()

    def test_borderline_pairs_are_those_that_were_mined(self, tmp_path, tools):
        folder = tools.make_run(tmp_path / "run")
        pair = {"query": "red-star", "right": "red-star", "wrong": "red-ring", "right_score": 0.9, "wrong_score": 0.85}
        gone = pair | {"wrong": "gone"}
        (folder / "borderline.json").write_text(json.dumps({"pairs": [pair, gone]}))
        with TestClient(create_app(tools.open_run(folder))) as client:
            assert client.get("/api/columns").json()["borderline"]
            client.post("/api/marks", json={"a": "red-star", "b": "red-ring", "said": "same"})
            found = client.get("/api/borderline").json()
            assert found["total"] == 1 and found["pairs"][0]["wrong"]["id"] == "red-ring"
            assert found["pairs"][0]["said"] == "same" and found["pairs"][0]["wrong_score"] == 0.85
        for harm in ("", "[]", '{"pairs": [{}]}', '{"pairs": 3}'):
            (folder / "borderline.json").write_text(harm)
            with TestClient(create_app(tools.open_run(folder))) as client:
                assert client.get("/api/borderline").json() == {"pairs": [], "total": 0}

    def test_a_failed_computation_is_told_and_tried_again(self, tmp_path, tools):
        service = tools.open_run(tools.make_run(tmp_path / "run"))
        whole = service.model.encode_query
        service.model.encode_query = None
        logging.getLogger("tellapart.server").setLevel(logging.CRITICAL)
        try:
            with TestClient(create_app(service), raise_server_exceptions=False) as client:
                seen = set()
                for _ in range(100):
                    seen.add(client.get("/api/confusions").status_code)
                    if 500 in seen:
                        break
                    time.sleep(0.02)
                assert 500 in seen
                service.model.encode_query = whole
                for _ in range(200):
                    if client.get("/api/confusions").status_code == 200:
                        break
                    time.sleep(0.02)
                assert client.get("/api/confusions").json()["ready"]
        finally:
            logging.getLogger("tellapart.server").setLevel(logging.NOTSET)

    def test_ids_of_any_kind(self, tmp_path, tools):
        from tellapart.core.collection import Collection

        folder = tools.make_run(tmp_path / "run")
        ids = ["a/b c", "ä?&#", "日本", "<b>", "..x/y", "q=1;"]
        data = tools.png(tools.draw("star", (200, 10, 10)))
        columns = Collection.of({"id": ids, "image": [data] * len(ids), "text": ids})
        columns.save(folder / "collection")
        model = tools.ColourModel(columns.sides())
        index = tools.PlainIndex(ids, model.encode_document([data] * len(ids)))
        from urllib.parse import quote

        with TestClient(create_app(tools.Service(folder, model=model, index=index))) as client:
            for result in client.get("/api/search").json()["results"]:
                assert client.get(result["picture"] + "&size=96").status_code == 200
                assert client.get(f"/api/items/{quote(result['id'], safe='')}").json()["id"] == result["id"]
                assert client.get("/api/search", params={"like": result["id"]}).status_code == 200


class TestRefusals:
    @pytest.mark.parametrize(
        "query",
        [
            "k=0", f"k={RESULTS + 1}", "k=x", "words=" + "a" * (QUERY_CHARACTERS + 1), "like=nope", "unlike=nope",
            "like=", "&".join(f"like=i{i}" for i in range(EXAMPLES + 1)), "where=form", "where=nope=1", "where==1",
            "where=year=x..y", "where=year=9..1", "where=round=maybe", "like=" + "x" * 5000, "where=year=nan",
            "like=red-star&unlike=red-star", "where=year=1..2&where=year=3..4",
        ],
    )  # fmt: skip
    def test_get_search(self, client, query):
        refused(client.get(f"/api/search?{query}"), 400, 404, 413, 422)

    @pytest.mark.parametrize(
        "query",
        [
            "{", "[]", "1", '{"words": 1}', '{"k": 0}', '{"k": 1e99}', '{"like": "a"}', '{"like": [1]}', '{"x": 1}',
            '{"where": []}', '{"where": {"form": {"from": "a"}}}', '{"where": {"year": {"from": NaN}}}',
            '{"where": {"form": null}}', '{"where": {"nope": "a"}}', '{"where": {"form": [["a"]]}}', "\x00",
            "[" * 20_000, '{"words": "' + "a" * 3000 + '"}',
        ],
    )  # fmt: skip
    def test_post_search(self, client, query):
        refused(client.post("/api/search", data={"query": query}))

    @pytest.mark.parametrize(
        "data",
        [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"GIF89a" + b"\x00" * 30, b"\xff\xd8\xff\xe0" * 10, b"RIFF0000WEBP"],
    )
    def test_pictures_that_are_none(self, client, data):
        assert "picture" in refused(client.post("/api/search", files={"image": ("a.png", data)}))

    def test_truncated_and_enormous_pictures(self, client, tools):
        whole = tools.png(tools.draw("star", (1, 2, 3), 300))
        refused(client.post("/api/search", files={"image": ("a.png", whole[: len(whole) // 2])}), 400)
        bomb = tools.png(Image.new("1", (9000, 9000)))
        assert "pixels" in refused(client.post("/api/search", files={"image": ("a.png", bomb)}), 400)

    def test_an_upload_just_above_the_limit(self, client):
        refused(client.post("/api/search", files={"image": ("a.png", b"x" * (UPLOAD_BYTES + 1))}), 413)

    def test_other_bodies(self, client):
        refused(client.post("/api/search", content=b"x", headers={"content-type": "multipart/form-data"}))
        refused(client.post("/api/search", content=b"x", headers={"content-type": "multipart/form-data; boundary=a"}))
        refused(client.post("/api/search", files={"image": (None, "text, not a file")}))
        refused(client.post("/api/search", data={"query": "x" * 200_000}))

    @pytest.mark.parametrize(
        "path",
        [
            "/api/items/nope", "/api/items/nope/picture", "/api/items/red-star/picture?size=0",
            "/api/items/red-star/picture?size=x", "/api/items/red-star/picture?size=1000000", "/api/items/",
            "/api/items/..%2f..%2fetc%2fpasswd", "/api/items/%00", "/api/items/" + "x" * 3000,
            "/api/items/..%2fmodel%2fcalibration.json/picture", "/api/confusions?k=0", "/api/confusions?k=9999",
            "/api/confusions?k=x", "/api/nothing", "/static/..%2fapp.py", "/static/../app.py", "/static/nothing.js",
            "/static/%2e%2e/app.py", "/docs", "/redoc",
        ],
    )  # fmt: skip
    def test_paths(self, client, path):
        refused(client.get(path), 400, 404, 422)

    @pytest.mark.parametrize(
        "path", ["/", "/api/search", "/api/columns", "/api/health", "/api/confusions", "/api/ready", "/metrics"]
    )
    def test_methods(self, client, path):
        refused(client.delete(path), 405)
        refused(client.put(path), 405)

    def test_a_path_that_leads_out_is_never_served(self, tmp_path, tools):
        from tellapart.core.collection import Collection

        folder = tools.make_run(tmp_path / "run")
        tools.draw("star", (1, 2, 3)).save(folder / "secret.png")
        columns = Collection.of({"id": ["a"], "image": ["../secret.png"], "text": ["t"]}, root=folder / "pictures")
        columns.save(folder / "collection")
        service = tools.Service(
            folder, model=tools.ColourModel(columns.sides()), index=tools.PlainIndex(["a"], np.eye(1, 64))
        )
        with TestClient(create_app(service)) as client:
            assert "outside" in refused(client.get("/api/items/a/picture"), 400)

    def test_foreign_host_names(self, client):
        assert client.get("/api/health", headers={"host": "evil.example"}).status_code == 400
        assert client.get("/api/health", headers={"host": "localhost:8000"}).status_code == 200

    def test_too_many_waiting(self, service):
        app = create_app(service)
        with TestClient(app) as client:
            app.state.workers.waiting = WAITING
            assert "busy" in refused(client.get("/api/search?words=red"), 503)
            app.state.workers.waiting = 0
            assert client.get("/api/search?words=red").status_code == 200


class TestBodies:
    def run_guard(self, chunks, headers=()):
        """What the application reads of a body, and the answer."""
        import asyncio

        read, sent, given_ = [], [], iter(chunks)

        async def app(scope, receive, send):
            while True:
                message = await receive()
                read.append(len(message["body"]))
                if not message["more_body"]:
                    break

        async def receive():
            chunk = next(given_)
            return {"type": "http.request", "body": chunk, "more_body": True}

        async def send(message):
            sent.append(message)

        from fastapi import HTTPException

        try:
            asyncio.run(Guard(app)({"type": "http", "headers": list(headers)}, receive, send))
        except HTTPException as error:
            assert error.status_code == 413
        return read, sent

    def test_an_endless_body_is_not_read_to_its_end(self):
        def endless():
            while True:
                yield b"x" * 2**20

        read, _ = self.run_guard(endless())
        assert sum(read) <= BODY_BYTES

    def test_a_declared_oversize_is_refused_unread(self):
        read, sent = self.run_guard(iter(()), [(b"content-length", b"99999999999")])
        assert read == [] and sent[0]["status"] == 413


class TestSafety:
    def test_headers_on_every_answer(self, client):
        for path in (
            "/",
            "/static/app.js",
            "/api/search",
            "/api/nothing",
            "/api/items/nope",
            "/api/items/red-star/picture",
        ):
            response = client.get(path)
            for name, value in HEADERS.items():
                assert response.headers[name] == value, (path, name)
            assert "access-control-allow-origin" not in response.headers
        policy = HEADERS["content-security-policy"]
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy and "script-src 'self'" in policy

    def test_the_page_has_no_inline_script_and_loads_nothing_foreign(self, client):
        import re

        page = client.get("/").text
        assert re.findall(r"<script(?![^>]*src=)", page) == [] and re.findall(r"\son\w+=", page) == []
        assert re.findall(r"style=", page) == []
        for name in ("app.js", "dom.js", "key.js", "panel.js", "filters.js", "pairs.js", "style.css"):
            text = client.get(f"/static/{name}").text
            assert "innerHTML" not in text and "insertAdjacentHTML" not in text and "eval(" not in text
            assert [u for u in re.findall(r"https?://[^\s\"']+", text) if "www.w3.org/2000/svg" not in u] == []
        assert re.findall(r"https?://", page) == []

    def test_no_traceback_and_no_path_leaves_the_server(self, service, caplog):
        def broken(*args, **options):
            raise RuntimeError("/home/somebody/secret.py is broken")

        service.search = broken
        with (
            TestClient(create_app(service), raise_server_exceptions=False) as client,
            caplog.at_level(logging.CRITICAL),
        ):
            response = client.get("/api/search?words=red")
        assert response.status_code == 500 and "secret" not in response.text and "log" in response.json()["error"]
        assert response.headers["x-content-type-options"] == "nosniff"

    def test_openapi_names_every_endpoint_with_its_answers(self, client):
        described = client.get("/api/openapi.json").json()
        assert set(described["paths"]) == {
            "/api/search",
            "/api/items",
            "/api/items/delete",
            "/api/items/{id}",
            "/api/items/{id}/picture",
            "/api/columns",
            "/api/confusions",
            "/api/borderline",
            "/api/marks",
            "/api/health",
            "/api/monitor",
            "/api/ready",
            "/api/unknown",
            "/api/unknown.csv",
            "/api/unknown.zip",
            "/api/unknown/forget",
            "/api/unknown/label",
            "/api/unknown/{key}/picture",
            "/metrics",
        }
        for path, methods in described["paths"].items():
            for method, spec in methods.items():
                assert spec["description"], (path, method)
        assert "a yellow fruit" in json.dumps(described)


anything = st.text(max_size=40)
values = st.one_of(anything, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none())
names = st.one_of(anything, st.sampled_from(["form", "year", "round", "weight", "id", "image", "text", "colour"]))


class TestFuzz:
    quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

    @quick
    @given(st.dictionaries(st.sampled_from(["words", "like", "unlike", "where", "k"]), st.lists(anything, max_size=4)))
    def test_get(self, client, params):
        assert client.get("/api/search", params=params).status_code < 500

    @quick
    @given(names, st.one_of(anything, st.tuples(anything, anything).map("..".join), st.floats().map(str)))
    def test_where(self, client, name, value):
        assert client.get("/api/search", params={"where": f"{name}={value}", "words": "red"}).status_code < 500

    @quick
    @given(
        st.dictionaries(
            names, st.one_of(values, st.lists(values, max_size=3), st.dictionaries(anything, values)), max_size=3
        ),
        st.lists(anything, max_size=2),
        values,
    )
    def test_post(self, client, where, like, k):
        query = json.dumps({"where": where, "like": like, "k": k})
        assert client.post("/api/search", data={"query": query}).status_code < 500

    @quick
    @given(
        st.binary(max_size=200),
        st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x20\0\0\0WEBPVP8 ", b"BM"]),
    )
    def test_uploads(self, client, data, start):
        assert client.post("/api/search", files={"image": ("x", start + data)}).status_code < 500

    @quick
    @given(anything, anything)
    def test_items(self, client, id_, size):
        from urllib.parse import quote

        safe = quote(id_.encode("utf-8", "replace"), safe="")
        assert client.get(f"/api/items/{safe}").status_code < 500
        assert client.get(f"/api/items/{safe}/picture", params={"size": size}).status_code < 500

    @quick
    @given(st.binary(max_size=300), st.sampled_from(["multipart/form-data; boundary=b", "application/json", "x", ""]))
    def test_bodies(self, client, data, kind):
        assert client.post("/api/search", content=data, headers={"content-type": kind}).status_code < 500


def test_sizes_that_the_page_asks_for_are_offered():
    import re

    from tellapart.server.routes.page import STATIC

    scripts = "".join(f.read_text() for f in STATIC.glob("*.js"))
    asked = {int(n) for n in re.findall(r"picture\([\w.]+, (\d+)", scripts)}
    assert asked and asked <= set(PICTURE_SIZES)
