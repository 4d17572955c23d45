"""Real servers: how they begin, serve in several processes, and stop."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tellapart.server.keys import new_key
from tellapart.server.running import LIFE_SIGN

pytestmark = pytest.mark.processes
PATIENCE = 60.0
# the model of these tests in place of one from a folder, and a search that takes as long as its word says
SERVE = f"""
import importlib.util, re, sys, time
from pathlib import Path

spec = importlib.util.spec_from_file_location("drawn", {str(Path(__file__).with_name("conftest.py"))!r})
drawn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(drawn)
from tellapart.server import app, service

class Slow(service.Service):
    def __init__(self, folder):
        opened = drawn.open_run(Path(folder))
        super().__init__(folder, model=opened.model, index=opened.index)

    def search(self, words=None, *args, **options):
        slow = re.search("slow ([0-9.]+)", words or "")
        time.sleep(float(slow[1]) if slow else 0)
        return super().search(words, *args, **options)

app.Service = Slow
if __name__ == "__main__":
    from tellapart.cli import main

    sys.exit(main())
"""


@contextlib.contextmanager
def serving(tmp_path, run, *options):
    """A real server: its process and port; it is killed when the block ends and it still runs."""
    script = tmp_path / "served.py"
    script.write_text(SERVE)
    command = [sys.executable, str(script), "serve", "--run", str(run), "--port", "0", *options]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        line = process.stdout.readline()
        assert " is served at http://127.0.0.1:" in line, line + (tmp_path / "log").read_text()
        port = int(line.split("http://127.0.0.1:")[1].split()[0])
        assert until(lambda: ask(port, "/api/ready")[0] == 200), (tmp_path / "log").read_text()
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)
        process.stdout.close()


def ask(port, path, headers=()):
    """Status and body; 0 where nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def until(true, patience=PATIENCE):
    end = time.monotonic() + patience
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_at_a_signal_what_runs_is_finished_and_the_exit_is_clean(run_folder, tmp_path):
    with serving(tmp_path, run_folder, "--log-level", "info") as (process, port):
        found = []
        asking = threading.Thread(target=lambda: found.append(ask(port, "/api/search?words=red+slow+1.5")))
        asking.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        asking.join(PATIENCE)
        assert process.wait(PATIENCE) == 0
        assert found[0][0] == 200 and json.loads(found[0][1])["results"]
        assert ask(port, "/api/health")[0] == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["route"] for line in lines if line.get("status") == 200][-1] == "/api/search"


def test_what_outlasts_the_grace_is_given_up(run_folder, tmp_path):
    with serving(tmp_path, run_folder, "--grace", "1") as (process, port):
        asking = threading.Thread(target=lambda: ask(port, "/api/search?words=slow+50"))
        asking.start()
        time.sleep(0.3)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert time.monotonic() - begun < 25, "the search of 50 seconds was waited for"
        asking.join(PATIENCE)


def test_several_processes_share_a_port_figures_and_rates_and_one_that_dies_is_replaced(run_folder, tmp_path):
    file = tmp_path / "keys.toml"
    key, slow = new_key(file, "one", "admin"), new_key(file, "slow", "read", rate=0.01)
    headers = {"x-api-key": key}
    with serving(tmp_path, run_folder, "--workers", "2", "--keys", str(file)) as (process, port):
        assert ask(port, "/api/search?words=red")[0] == 401
        children = until(lambda: len(found := workers_of(process.pid)) == 2 and found)
        asked = 40
        assert {ask(port, "/api/search?words=red", headers)[0] for _ in range(asked)} == {200}

        # each process warms up with a search of its own, which is none of those that were answered
        text = ask(port, "/metrics", headers)[1].decode()
        assert f"tellapart_searches_total {float(asked)}" in text and "tellapart_index_items 60.0" in text
        limited = [ask(port, "/api/columns", {"x-api-key": slow})[0] for _ in range(8)]
        assert limited.count(200) == 1 and set(limited) == {200, 429}, "the processes share one bucket"
        os.kill(children[0], signal.SIGSTOP)
        time.sleep(1.0)  # by now it has been asked for a sign of life, and dies without an answer
        os.kill(children[0], signal.SIGKILL)
        assert until(lambda: len(found := workers_of(process.pid)) == 2 and children[0] not in found, LIFE_SIGN / 2)
        assert until(lambda: ask(port, "/api/ready")[0] == 200)
        assert until(lambda: ask(port, "/api/search?words=red", headers)[0] == 200)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert until(lambda: ask(port, "/api/health")[0] == 0)
    assert key not in (tmp_path / "log").read_text()


def test_what_one_process_writes_the_other_reads_and_takes_away(run_folder, tools, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    star = tools.png(tools.draw("star", tools.COLOURS["red"]))

    def put(connection, id_):
        return tell(connection, "PUT", f"/api/items/{id_}", {"text": "a walrus"}, star)[0]

    with serving(tmp_path, run, "--workers", "2") as (process, port), contextlib.ExitStack() as open_ones:
        until(lambda: len(workers_of(process.pid)) == 2)
        one, two = to_each(workers_of(process.pid), port, open_ones)
        assert put(one, "new") == 200
        for reader in (two, one):
            assert tell(reader, "GET", "/api/items/new")[1]["caption"] == "a walrus"
            for asked in ("words=walrus&hybrid=true", "like=red-star"):
                found = tell(reader, "GET", f"/api/search?{asked}&k=1")[1]["results"]
                assert [r["id"] for r in found] == ["new"]
        assert tell(two, "PUT", "/api/items/new", {"columns": {"text": "a seal"}})[0] == 200
        assert tell(one, "GET", "/api/items/new")[1]["caption"] == "a seal"
        assert tell(two, "DELETE", "/api/items/new")[0] == 200
        assert tell(one, "GET", "/api/items/new")[0] == 404 and tell(one, "DELETE", "/api/items/new")[0] == 404
        taken = []
        writing = [
            threading.Thread(target=lambda by=by, name=name: taken.extend(put(by, f"{name}-{n}") for n in range(5)))
            for by, name in ((one, "one"), (two, "two"))
        ]
        for thread in writing:
            thread.start()
        for thread in writing:
            thread.join(PATIENCE)
        assert taken == [200] * 10
        for reader in (one, two):
            found = tell(reader, "GET", "/api/search?words=walrus&hybrid=true&k=10")[1]["results"]
            assert {r["id"] for r in found} == {f"{name}-{n}" for name in ("one", "two") for n in range(5)}
        children = workers_of(process.pid)
        process.kill()
        process.wait(PATIENCE)
        assert until(lambda: not any(Path(f"/proc/{child}").exists() for child in children)), "they outlive the first"


def to_each(children, port, open_ones):
    """A connection to each of two processes, by what the kernel says of who holds its other end."""
    found = {}
    for _ in range(200):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        open_ones.callback(connection.close)
        assert tell(connection, "GET", "/api/health")[0] == 200
        ends = f":{port:04X}", f":{connection.sock.getsockname()[1]:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inode = next(li[9] for li in lines if li[1].endswith(ends[0]) and li[2].endswith(ends[1]))
        for child in children:
            with contextlib.suppress(OSError):
                if any(os.readlink(fd) == f"socket:[{inode}]" for fd in Path(f"/proc/{child}/fd").iterdir()):
                    found.setdefault(child, connection)
        if len(found) == 2:
            return list(found.values())
    raise AssertionError("one of two processes took all of 200 connections")


def tell(connection, method, path, body=None, file=None):
    """Status and what is answered, over a connection that stays open."""
    kind, content = "application/json", None if body is None else json.dumps(body).encode()
    if file is not None:
        kind = "multipart/form-data; boundary=here"
        columns = b'--here\r\ncontent-disposition: form-data; name="columns"\r\n\r\n' + content
        picture = b'\r\n--here\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + file
        content = columns + picture + b"\r\n--here--\r\n"
    connection.request(method, path, content, {"content-type": kind})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def workers_of(parent):
    """Processes that answer: children of the first one that were started to serve."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_text()
                if int(stat[1]) == parent and "spawn_main" in command and stat[0] != "Z":
                    found.append(int(folder.name))
    return found


def test_mistakes_are_told_before_anything_is_served(run_folder, tmp_path):
    def told(*options):
        command = [sys.executable, "-m", "tellapart", "serve", "--run", str(run_folder), "--port", "0", *options]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert ended.returncode == 2 and "Traceback" not in ended.stderr and " is served " not in ended.stdout
        return ended.stderr

    assert "--new-key" in told("--keys", str(tmp_path / "none"))
    assert "--keys FILE" in told("--new-key", "me")


def test_a_new_key_from_the_command_line(tmp_path):
    file = tmp_path / "keys.toml"
    command = [sys.executable, "-m", "tellapart", "serve", "--keys", str(file), "--new-key", "me", "--right", "write"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    from tellapart.server.keys import Keys

    assert Keys(file).find(made.stdout.strip()).right == "write" and made.stdout.strip() not in file.read_text()
