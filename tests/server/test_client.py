"""The client against a real server on loopback that stops with the tests."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tellapart.client import Client
from tellapart.core.errors import DataError, TellapartError
from tellapart.server.keys import new_key
from tellapart.server.limits import NoSuchItemError
from tests.server.serving import serving


@pytest.fixture(scope="module")
def opened(run_folder, tools):
    return tools.open_run(run_folder)


@pytest.fixture(scope="module")
def client(opened):
    with serving(opened) as address, Client(address) as client:
        yield client


class Odd(BaseHTTPRequestHandler):
    """Answers as the list `answers` says: a status, headers and a body for each request; `seen` are those."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.seen.append((time.monotonic(), self.path, dict(self.headers)))
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status == 0:
            time.sleep(body)
            return
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def answering(*answers):
    handler = type("Handler", (Odd,), {"answers": list(answers), "seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


class TestSameAsTheService:
    @pytest.mark.parametrize(
        "asked",
        [
            {"words": "a red thing", "k": 3}, {"words": "zebra"}, {"k": 5},
            {"like": ["red-star"], "unlike": ["blue-star"]},
            {"words": "blue", "where": {"form": ["star", "ring"], "year": {"from": 1950, "to": 2000}}},
            {"where": {"round": True}, "k": 2}, {"words": "a & b = c/d?", "k": 1},
        ],
    )  # fmt: skip
    def test_search(self, client, opened, asked):
        found, true = client.search(**asked), opened.search(**asked)
        for name in ("results", "closest"):
            assert [(r.id, r.passes) for r in getattr(found, name)] == [(r.id, r.passes) for r in getattr(true, name)]
            assert [r.score for r in getattr(found, name)] == [r.score for r in getattr(true, name)]
        assert (found.nothing_here, found.searched, tuple(found.notes), found.ranked) == (
            true.nothing_here, true.searched, tuple(true.notes), true.ranked,
        )  # fmt: skip

    def test_a_picture(self, client, opened, tools, tmp_path):
        data = tools.png(tools.draw("star", tools.COLOURS["red"]))
        (tmp_path / "a.png").write_bytes(data)
        true = [r.id for r in opened.search(image=data, k=4).results]
        assert [r.id for r in client.search(image=data, k=4).results] == true
        assert [r.id for r in client.search(image=tmp_path / "a.png", k=4).results] == true

    def test_items_columns_ready(self, client, opened):
        assert client.item("red-star") == opened.item("red-star")
        assert client.columns() == opened.columns()
        assert client.ready()

    def test_many_threads(self, client, opened):
        true = {w: [r.id for r in opened.search(w, k=5).results] for w in ("red", "blue", "green", "yellow")}
        wrong = []

        def ask(word):
            for _ in range(10):
                if [r.id for r in client.search(word, k=5).results] != true[word]:
                    wrong.append(word)

        threads = [threading.Thread(target=ask, args=(w,)) for w in list(true) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


class TestWrites:
    def test_an_item_is_added_changed_and_deleted(self, tmp_path, tools):
        run = tools.make_run(tmp_path / "run")
        picture = tools.png(tools.draw("star", tools.COLOURS["red"]))
        (tmp_path / "a.png").write_bytes(picture)
        with serving(tools.open_run(run)) as address, Client(address) as client:
            added = client.put("n/é w", {"text": "a red star", "form": "star"}, file=tmp_path / "a.png")
            assert added.ids == ("n/é w",) and added.items == 61
            assert client.item("n/é w").columns["form"] == "star"
            assert "n/é w" in [r.id for r in client.search("red", where={"form": "star"}, k=5).results]
            client.put("n/é w", {"form": "ring"})
            assert client.item("n/é w").columns["form"] == "ring"
            client.put("other", {"text": "by its vector"}, file=picture, vector=[1.0] + [0.0] * 63)
            assert client.delete("n/é w").items == 61
            assert client.delete(["other"]).items == 60
            with pytest.raises(NoSuchItemError):
                client.delete("other")
            with pytest.raises(DataError):
                client.put("third", {"year": float("inf")})

    def test_only_with_the_right(self, opened, tmp_path):
        key = new_key(tmp_path / "keys.toml", "me", "read")
        with serving(opened, keys=tmp_path / "keys.toml") as address, Client(address, key=key) as client:
            for write in (lambda: client.put("a", {"text": "b"}), lambda: client.delete("red-star")):
                with pytest.raises(TellapartError, match="the right to read"):
                    write()


class TestErrors:
    def test_what_the_server_says(self, client, tmp_path):
        with pytest.raises(NoSuchItemError, match="no item 'nobody'"):
            client.item("nobody")
        with pytest.raises(DataError, match="no column 'nope'"):
            client.search(where={"nope": 1})
        with pytest.raises(DataError, match="k"):
            client.search(k=0)
        with pytest.raises(DataError, match="picture"):
            client.search(image=b"no picture")
        with pytest.raises(DataError, match="cannot be read"):
            client.search(image=tmp_path / "none.png")
        with pytest.raises(DataError, match="cannot be sent"):
            client.search(where={"year": float("nan")})

    def test_keys(self, opened, tmp_path):
        key = new_key(tmp_path / "keys.toml", "me", "read")
        with serving(opened, keys=tmp_path / "keys.toml") as address:
            with Client(address, key=key) as client:
                assert client.search("red", k=1).results
            with Client(address) as client, pytest.raises(TellapartError, match="asks for a key"):
                client.columns()
            with Client(address, key="ta_wrong") as client, pytest.raises(TellapartError, match="not known"):
                client.columns()

    @pytest.mark.parametrize("address", ["", "ftp://a", "http://", "http://a:b", "http://a:99999", "http://a?b=c"])
    def test_addresses(self, address):
        with pytest.raises(DataError, match="http://HOST:PORT"):
            Client(address)
        with pytest.raises(DataError, match="key"):
            Client("http://a", key="a\nb: c")

    def test_nobody_there(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            client = Client(f"127.0.0.1:{free.getsockname()[1]}")
            assert not client.ready()
            with pytest.raises(TellapartError, match="does the server run"):
                client.item("a")

    def test_another_server(self):
        with answering((200, {}, b"<html>")) as (address, _), pytest.raises(TellapartError, match="no answer of"):
            Client(address).item("a")
        moved = (302, {"location": "http://a"}, b"")
        with answering(moved) as (address, _), pytest.raises(TellapartError, match="HTTP 302"):
            Client(address).item("a")

    def test_too_slow(self):
        with answering((0, {}, 0.5)) as (address, _), pytest.raises(TellapartError, match=r"within 0\.1 seconds"):
            Client(address, timeout=0.1).item("a")


READY = (200, {}, b'{"columns": []}')


class TestAgain:
    def test_it_asks_again_and_waits_as_it_is_told(self, monkeypatch):
        slept = []
        monkeypatch.setattr("tellapart.client.time.sleep", slept.append)
        busy = b'{"error": "busy"}'
        answers = [(503, {}, busy), (503, {}, busy), (429, {"retry-after": "7"}, busy), READY]
        with answering(*answers) as (address, seen), Client(address, key="ta_k") as client:
            assert client.columns() == []
            assert len(seen) == 4 and seen[0][2]["authorization"] == "Bearer ta_k"
        assert 0.1 <= slept[0] <= 0.125 and 0.2 <= slept[1] <= 0.25 and 7 <= slept[2] <= 8.75

    def test_it_gives_up(self, monkeypatch):
        slept = []
        monkeypatch.setattr("tellapart.client.time.sleep", slept.append)
        with answering((503, {}, b'{"error": "busy"}')) as (address, seen):
            with pytest.raises(TellapartError, match="busy"):
                Client(address, tries=3).columns()
            assert len(seen) == 3
        with answering((429, {"retry-after": "3600"}, b'{"error": "tomorrow"}')) as (address, seen):
            with pytest.raises(TellapartError, match="tomorrow"):
                Client(address).columns()
            assert len(seen) == 1
        with answering((400, {}, b'{"error": "wrong"}')) as (address, seen):
            with pytest.raises(DataError, match="wrong"):
                Client(address).columns()
            assert len(seen) == 1

    def test_a_connection_that_was_closed_meanwhile(self):
        with answering(READY) as (address, seen), Client(address) as client:
            client.columns()
            client._open.queue[0].sock.shutdown(socket.SHUT_RDWR)
            client.columns()
            assert len(seen) == 2


def test_it_needs_nothing_but_the_standard_library():
    code = (
        "import sys, tellapart; tellapart.Client\n"
        "heavy = {'numpy', 'torch', 'pyarrow', 'fastapi', 'pydantic', 'httpx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
