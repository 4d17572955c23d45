"""Keys, rights, rates, and what is told of requests."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from tellapart.core.errors import BackendAwayError, DataError
from tellapart.server.app import create_app
from tellapart.server.keys import Keys, allows, new_key
from tellapart.server.limits import WAITING
from tellapart.server.logs import Lines
from tellapart.server.rates import Rates, make_file

SECRET = "zzz-a-thing-zzz"
MARK = {"a": "red-star", "b": "red-ring", "said": "same"}


@pytest.fixture
def keys(tmp_path):
    """A file with a key of each right, and the keys."""
    file = tmp_path / "keys.toml"
    return file, {right: new_key(file, right, right) for right in ("read", "write", "admin")}


def bearer(key):
    return {"authorization": f"Bearer {key}"}


class TestKeys:
    @pytest.mark.parametrize("name", ["keys.toml", "keys.json"])
    def test_a_new_key_is_kept_as_its_hash_alone(self, tmp_path, name):
        file = tmp_path / name
        one = new_key(file, "one", "read")
        two = new_key(file, "two.two", "write", expires="2999-01-31", rate=5)
        assert one != two and one not in file.read_text() and two not in file.read_text()
        assert os.stat(file).st_mode & 0o777 == 0o600
        keys = Keys(file)
        assert keys.find(one).right == "read" and keys.find(one).rate is None
        found = keys.find(two)
        assert (found.name, found.right, found.rate) == ("two.two", "write", 5.0)
        assert found.expires == datetime(2999, 1, 31, tzinfo=UTC)
        assert list(tmp_path.iterdir()) == [file]

    def test_refusals(self, tmp_path, keys):
        file, known = keys
        for name, right, more in (
            ("read", "read", {}), ("a b", "read", {}), ("x", "own", {}), ("x", "read", {"expires": "soon"}),
            ("x", "read", {"rate": -1}), ("x", "read", {"rate": float("nan")}), ("", "read", {}),
        ):  # fmt: skip
            before = file.read_bytes()
            with pytest.raises(DataError):
                new_key(file, name, right, **more)
            assert file.read_bytes() == before
        with pytest.raises(DataError, match="not known"):
            Keys(file).find(known["read"][:-1])
        with pytest.raises(DataError, match="--new-key"):
            Keys(tmp_path / "none")

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
    def test_a_file_that_others_may_use_is_refused(self, keys, mode):
        keys[0].chmod(mode)
        with pytest.raises(DataError, match="chmod 600"):
            Keys(keys[0])

    @pytest.mark.parametrize(
        "text",
        [
            "", "x", "[keys]\na = 1", "[keys.a]\nright = 'read'", "[keys.a]\nsha256 = 'x'\nright = 'read'",
            f"[keys.a]\nsha256 = '{'0' * 64}'\nright = 'all'",
            f"[keys.a]\nsha256 = '{'0' * 64}'\nright = 'read'\nrat = 1",
            f"[keys.a]\nsha256 = '{'0' * 64}'\nright = 'read'\nrate = true",
            f"[keys.'a b']\nsha256 = '{'0' * 64}'\nright = 'read'",
            f"[keys.a]\nsha256 = '{'0' * 64}'\nright = ['read']",
            f"[keys.a]\nsha256 = '{'0' * 64}'\nright = 'read'\n[keys.b]\nsha256 = '{'0' * 64}'\nright = 'admin'",
        ],
    )  # fmt: skip
    def test_a_damaged_file_is_refused(self, tmp_path, text):
        file = tmp_path / "keys.toml"
        file.touch(0o600)
        file.write_text(text)
        with pytest.raises(DataError):
            Keys(file)

    def test_it_is_read_again_when_it_changes(self, keys, caplog):
        file, known = keys
        opened = Keys(file)
        fresh = new_key(file, "fresh", "read")
        assert opened.find(fresh).name == "fresh"
        whole = file.read_text()
        file.write_text(whole + "damage")
        logging.getLogger("tellapart.server").propagate = True
        assert opened.find(known["admin"]).name == "admin" and "stay as they were" in caplog.text
        file.write_text(whole.split('[keys."write"]')[0])
        with pytest.raises(DataError):
            opened.find(known["admin"])

    def test_an_expired_key_is_refused(self, tmp_path):
        file = tmp_path / "keys.toml"
        key = new_key(file, "old", "read", expires="2026-01-01T12:00:00+02:00")
        end = datetime(2026, 1, 1, 10, tzinfo=UTC)
        assert Keys(file).find(key, now=end - timedelta(seconds=1)).name == "old"
        with pytest.raises(DataError, match="expired"):
            Keys(file).find(key, now=end)

    def test_each_right_holds_those_before_it(self):
        assert allows("admin", "read") and allows("write", "write") and not allows("read", "write")


class TestDoor:
    def test_without_a_key_there_is_the_page_and_no_search(self, service, keys):
        with TestClient(create_app(service, keys=keys[0])) as client:
            for path in ("/", "/static/app.js", "/api/health", "/api/openapi.json"):
                assert client.get(path).status_code == 200
            for path in ("/api/search", "/api/columns", "/api/items/red-star", "/api/nothing"):
                answer = client.get(path)
                assert answer.status_code == 401 and "X-API-Key" in answer.json()["error"], path
                assert answer.headers["www-authenticate"] == "Bearer" and answer.headers["x-frame-options"] == "DENY"
            assert client.get("/api/columns", headers=bearer("wrong")).status_code == 401
            assert client.get("/api/columns", headers={"x-api-key": b"wr\xf6ng"}).status_code == 401
            assert client.get("/api/columns", headers={"authorization": "Basic abc"}).status_code == 401

    def test_rights(self, tmp_path, tools, keys):
        _, known = keys
        service = tools.open_run(tools.make_run(tmp_path / "run"))
        with TestClient(create_app(service, keys=keys[0])) as client:
            for right in ("read", "write", "admin"):
                assert client.get("/api/search?words=red", headers=bearer(known[right])).status_code == 200
                by_other = client.get("/api/columns", headers={"x-api-key": known[right]}).json()
                assert by_other["marking"] is (right != "read")
            told = client.post("/api/marks", json=MARK, headers=bearer(known["read"]))
            assert told.status_code == 403 and "the key read" in told.json()["error"]
            assert client.post("/api/marks", json=MARK, headers=bearer(known["write"])).status_code == 200
            elsewhere = bearer(known["write"]) | {"origin": "http://elsewhere.example"}
            assert client.post("/api/marks", json=MARK, headers=elsewhere).status_code == 403

    def test_every_route_that_changes_something_needs_a_right(self, service):
        """`POST /api/search` reads."""
        from fastapi.routing import APIRoute

        seen = 0
        for route in create_app(service).routes:
            if isinstance(route, APIRoute) and route.methods - {"GET", "HEAD"} and route.path != "/api/search":
                seen += 1
                rights = [getattr(d.dependency, "right", None) for d in route.dependencies]
                assert {"write", "admin"} & set(rights), route.path
        assert seen

    def test_an_upload_limit_of_a_key(self, service, keys, tools):
        file, known = keys
        file.write_text(file.read_text().replace('right = "read"', 'right = "read"\nupload = 0.0009765625'))
        picture = {"image": ("a.png", tools.png(tools.draw("star", (1, 2, 3), 256)))}
        with TestClient(create_app(service, keys=file)) as client:
            told = client.post("/api/search", files=picture, headers=bearer(known["read"]))
            assert told.status_code == 413 and "0.000977 MiB" in told.json()["error"]
            assert client.post("/api/search", files=picture, headers=bearer(known["write"])).status_code == 200


class TestRates:
    def test_a_bucket(self, tmp_path):
        now = [1000.0]
        file = make_file(tmp_path / "rates")
        rates, other = Rates(file, clock=lambda: now[0]), Rates(file, clock=lambda: now[0])
        assert [(rates, other)[i % 2].wait("a", 2) for i in range(4)] == [0.0] * 4
        assert rates.wait("a", 2) == pytest.approx(0.5) and other.wait("a", 2) == pytest.approx(0.5)
        assert rates.wait("b", 2) == 0.0
        now[0] += 0.5
        assert rates.wait("a", 2) == 0.0 and rates.wait("a", 2) > 0
        now[0] += 1000
        assert [rates.wait("a", 2) > 0 for _ in range(5)] == [False] * 4 + [True]
        now[0] = 1.0
        assert rates.wait("a", 2) <= 1.0, "a clock that begins anew must lock nobody out"
        assert [rates.wait("slow", 0.1) > 0 for _ in range(2)] == [False, True]
        rates.close()
        other.close()

    def test_too_many_are_told_when_to_come_again(self, service, keys):
        file, known = keys
        file.write_text(file.read_text().replace('right = "read"', 'right = "read"\nrate = 0.5'))
        with TestClient(create_app(service, keys=file, rate=1000)) as client:
            assert client.get("/api/columns", headers=bearer(known["read"])).status_code == 200
            told = client.get("/api/columns", headers=bearer(known["read"]))
            assert told.status_code == 429 and told.headers["retry-after"] == "2" and "0.5 a second" in told.text
            assert client.get("/api/columns", headers=bearer(known["write"])).status_code == 200
            assert client.get("/api/health").status_code == 200

    def test_addresses_without_a_key(self, service):
        app = create_app(service, rate=1)
        with TestClient(app, client=("192.0.2.1", 1)) as one:
            assert [one.get("/api/columns").status_code for _ in range(3)] == [200, 200, 429]
            assert [one.get(p).status_code for p in ("/", "/api/health", "/static/app.js")] == [200] * 3
            assert TestClient(app, client=("192.0.2.2", 1)).get("/api/columns").status_code == 200
            v6 = [TestClient(app, client=(f"2001:db8::{i}", 1)).get("/api/columns").status_code for i in range(3)]
            assert v6 == [200, 200, 429]


class TestPressure:
    def test_waiting_and_the_time_limit(self, service):
        begun, free = threading.Event(), threading.Event()
        whole = service.search

        def slow(*args, **options):
            begun.set()
            free.wait(10)
            return whole(*args, **options)

        app = create_app(service, time_limit=0.2)
        with TestClient(app) as client:
            while not app.state.readiness.warm:
                time.sleep(0.01)
            service.search = slow
            told = client.get("/api/search?words=red")
            assert told.status_code == 504 and "0.2 seconds" in told.json()["error"]
            assert begun.is_set() and app.state.workers.waiting == 1, "what still runs is still counted"
            free.set()
            for _ in range(200):
                if app.state.workers.waiting == 0:
                    break
                time.sleep(0.01)
            service.search = whole
            assert client.get("/api/search?words=red").status_code == 200
            app.state.workers.waiting = WAITING
            told = client.get("/api/search?words=red")
            assert told.status_code == 503 and int(told.headers["retry-after"]) >= 1
            app.state.workers.waiting = 0

    def test_what_nobody_waits_for_is_not_computed(self):
        import asyncio

        from tellapart.server.limits import GoneError
        from tellapart.server.workers import GONE_AFTER, THREADS, Workers, went_away

        computed = []

        async def main():
            workers, free = Workers(time_limit=5), threading.Event()
            busy = [asyncio.create_task(workers.run(workers.pool, free.wait, 5)) for _ in range(THREADS)]
            await asyncio.sleep(0.01)

            async def gone():
                return True

            async def left():
                went_away.set(gone)
                return await workers.run(workers.pool, computed.append, "left")

            waits = [
                asyncio.create_task(left()),
                asyncio.create_task(workers.run(workers.pool, computed.append, "here")),
            ]
            await asyncio.sleep(1.5 * GONE_AFTER)
            assert workers.waiting == THREADS + 2
            free.set()
            found = await asyncio.gather(*waits, return_exceptions=True)
            await asyncio.gather(*busy)
            assert isinstance(found[0], GoneError) and found[1] is None
            await asyncio.sleep(0.01)
            assert workers.waiting == 0
            workers.close()

        asyncio.run(main())
        assert computed == ["here"]

    def test_a_client_that_left_is_seen(self):
        import asyncio

        from tellapart.server.guard import Guard
        from tellapart.server.workers import went_away

        seen = []

        async def app(scope, receive, send):
            seen.append(await went_away.get()())
            messages.append({"type": "http.disconnect"})
            seen.append(await went_away.get()())

        messages = []

        async def receive():
            while not messages:
                await asyncio.sleep(1)
            return messages.pop()

        asyncio.run(Guard(app)({"type": "http", "headers": []}, receive, None))
        assert seen == [False, True]


class TestReadiness:
    def test_not_before_it_is_warm_and_not_while_the_index_is_away(self, service, monkeypatch):
        monkeypatch.setattr("tellapart.server.readiness.ASKED_AGAIN", 0.0)
        hold, away = threading.Event(), [False]
        whole = service.search

        def search(*args, **options):
            hold.wait(10)
            return whole(*args, **options)

        def ready():
            if away[0]:
                raise BackendAwayError("the database at db does not answer")

        service.search, service.index.ready = search, ready
        with TestClient(create_app(service)) as client:
            told = client.get("/api/ready")
            assert told.status_code == 503 and told.json() == {"ready": False, "reason": "the server warms up"}
            assert client.get("/api/health").status_code == 200
            hold.set()
            assert until(lambda: client.get("/api/ready").status_code == 200)
            away[0] = True
            told = client.get("/api/ready")
            assert told.status_code == 503 and "does not answer" in told.json()["reason"]
            assert told.headers["retry-after"]
            away[0] = False
            assert client.get("/api/ready").json() == {"ready": True, "reason": ""}
            client.app.state.readiness.stopping = True
            assert client.get("/api/ready").status_code == 503

    def test_a_search_while_the_database_is_away_may_be_tried_again(self, service):
        def away(*args, **options):
            raise BackendAwayError("the database at db does not answer")

        with TestClient(create_app(service)) as client:
            service.search = away
            told = client.get("/api/search?words=red")
            assert told.status_code == 503 and told.headers["retry-after"] and "database" in told.json()["error"]


def until(true, patience=10.0):
    end = time.monotonic() + patience
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


class TestMetrics:
    def test_figures_without_anything_of_users(self, service):
        with TestClient(create_app(service), raise_server_exceptions=False) as client:
            client.get("/api/search", params={"words": "a red thing"})
            client.get("/api/search", params={"words": "zebra " + SECRET})
            client.get("/api/items/red-star")
            client.get(f"/api/items/{SECRET}")
            client.get(f"/{SECRET}")
            client.request(SECRET, "/api/search")
            until(lambda: client.get("/api/ready").status_code == 200)
            answer = client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        lines = answer.text.splitlines()
        for line in (
            'tellapart_requests_total{method="GET",route="/api/search",status="200"} 2.0',
            'tellapart_requests_total{method="GET",route="/api/items/{id}",status="200"} 1.0',
            'tellapart_requests_total{method="GET",route="/api/items/{id}",status="404"} 1.0',
            'tellapart_requests_total{method="GET",route="other",status="404"} 1.0',
            'tellapart_request_seconds_count{route="/api/items/{id}"} 2.0',
            "tellapart_searches_total 2.0",
            "tellapart_searches_empty_total 1.0",
            "tellapart_index_items 60.0",
            "tellapart_waiting 0.0",
            "tellapart_ready 1.0",
            "tellapart_journal_lag 0.0",
        ):
            assert line in lines, line
        assert f'run="{service.version}"' in answer.text
        assert SECRET not in answer.text

    def test_who_may_see_them(self, service, keys):
        file, known = keys

        def status(address, **options):
            app = create_app(service, **options)
            return [
                TestClient(app, client=(address, 1)).get("/metrics", headers=h).status_code
                for h in ({}, bearer(known["read"]), bearer(known["admin"]))
            ]

        assert status("192.0.2.1", keys=file) == [403, 403, 200]
        assert status("127.0.0.1", keys=file) == [200, 200, 200]
        assert status("192.0.2.1", keys=file, open_metrics=True) == [200, 200, 200]
        assert status("192.0.2.1", marking=False)[0] == 403


class TestLogs:
    @pytest.fixture
    def logged(self):
        """What is logged at the level that is asked for, as lines."""
        handlers = []

        def at(level):
            stream = io.StringIO()
            handler = logging.StreamHandler(stream)
            handler.setFormatter(Lines(level))
            logger = logging.getLogger("tellapart.server")
            logger.addHandler(handler)
            logger.setLevel(level.upper())
            handlers.append(handler)
            return stream

        yield at
        logger = logging.getLogger("tellapart.server")
        for handler in handlers:
            logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)

    def test_one_line_a_request_and_nothing_of_what_was_asked(self, service, keys, tools, logged):
        stream = logged("info")
        file, known = keys
        told = bearer(known["write"])
        with TestClient(create_app(service, keys=file), raise_server_exceptions=False) as client:
            answer = client.get("/api/search", params={"words": SECRET}, headers=told)
            client.get(f"/api/items/{SECRET}", headers=told)
            client.post("/api/search", files={"image": (f"{SECRET}.png", b"x")}, headers=told)
            client.post("/api/marks", json=MARK | {"a": SECRET}, headers=told)
            client.get(f"/{SECRET}?{SECRET}", headers=bearer(SECRET))
            client.get("/api/search", headers=told | {"x-request-id": SECRET})
            client.get("/api/search", headers=told | {"x-request-id": "0123456789abcdef"})
        text = stream.getvalue()
        assert SECRET not in text and known["write"] not in text and "red-" not in text
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line["route"] for line in lines] == [
            "/api/search", "/api/items/{id}", "/api/search", "/api/marks", "other", "/api/search", "/api/search",
        ]  # fmt: skip
        assert [line["status"] for line in lines] == [200, 404, 400, 404, 401, 200, 200]
        first = lines[0]
        assert first["method"] == "GET" and first["key"] == "write" and first["ms"] > 0 and first["level"] == "info"
        assert first["bytes"] == len(answer.content) and first["id"] == answer.headers["x-request-id"]
        assert lines[-1]["id"] == "0123456789abcdef" and datetime.fromisoformat(first["time"]).tzinfo

    @pytest.mark.parametrize("level", ["info", "debug"])
    def test_errors_have_their_traceback_in_the_log_alone(self, service, logged, level):
        stream = logged(level)
        with TestClient(create_app(service), raise_server_exceptions=False) as client:
            until(lambda: client.get("/api/ready").status_code == 200)

            def broken(words, *args, **options):
                raise RuntimeError(f"cannot read {words}")

            service.search = broken
            answer = client.get("/api/search", params={"words": SECRET})
        assert answer.status_code == 500 and SECRET not in answer.text
        error = next(line for line in map(json.loads, stream.getvalue().splitlines()) if line["level"] == "error")
        assert "broken" in error["traceback"] and "RuntimeError" in error["traceback"]
        assert (SECRET in stream.getvalue()) is (level == "debug")

    def test_at_a_higher_level_requests_are_not_told(self, service, logged):
        stream = logged("warning")
        with TestClient(create_app(service)) as client:
            client.get("/api/search?words=red")
        assert stream.getvalue() == ""
