"""What a search costs over HTTP: 16 clients at once, beside the bare call of the same index under the same load.

    python benchmarks/http_search.py [--items 200000] [--requests 100000] [--index hnsw] [--processes 2] [--no-writes]

Vectors lie between words or glosses of WordNet and their neighbours (`_vectors.mixed`); queries are others of the same
kind. The server is a real one, `tellapart serve` with keys and metrics, in processes of its own; so are the clients.
The model only looks a query's vector up by its number: what is measured is all that stands around an encoder. The bare
call is `index.search` in this process for the same queries, alone and from 16 threads at once; it takes turns with the
server, so that a slow moment meets both. The ratio that counts is to the 16 threads, the same load on the same cores,
and to their mean: a thread makes many short calls in one slice of time and then waits for its next, so half of its
calls say nothing of how long 16 callers wait.
While requests are answered, items are added, changed and deleted through the client, unless --no-writes is given.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from itertools import chain
from pathlib import Path

import numpy as np
from _record import write
from _vectors import mixed

CLIENTS, CLIENT_PROCESSES = 16, 4
K, QUERIES, TURNS = 10, 2_000, 4
WRITES_A_SECOND = 20
PATIENCE = 120.0


class Looked:
    """A model whose words are the numbers of vectors of a file."""

    modalities = ("text",)

    def __init__(self, sides, queries: Path) -> None:
        self.sides, self._z = sides, np.load(queries, mmap_mode="r")
        self.dim = self._z.shape[1]

    def encode(self, items, modality="text", batch_size=32):
        """The vectors of these numbers; anything else counts as the first one."""
        numbers = [int(word) if (word := str(i).split()[-1]).isdigit() else 0 for i in items]
        return np.asarray(self._z[[n % len(self._z) for n in numbers]])

    encode_query = encode_document = encode


def opened(run: Path):
    """The run as a service."""
    from tellapart.core.collection import Collection
    from tellapart.server.service import Service

    sides = Collection.open(run / "collection").sides()
    return Service(run, model=Looked(sides, run / "queries.npy"))


def app(run: Path, keys: Path, rates: Path):
    """What one process of the server answers with."""
    from tellapart.server.app import create_app

    return create_app(opened(run), keys=keys, rates_file=rates)


def serve(run: Path, keys: Path, rates: Path, processes: int, port: int) -> None:
    """The server, until it is told to end."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from tellapart.server import logs

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    made = functools.partial(app, run, keys, rates)
    config = uvicorn.Config(
        made, factory=True, workers=processes, log_config=logs.config("warning"), access_log=False, ws="none"
    )
    if processes == 1:
        uvicorn.Server(config).run([listening])
    else:
        Multiprocess(config, [listening]).run()


def make_run(folder: Path, items: int, spec: str, cache: Path) -> float:
    """A run folder over mixed vectors; the recall of its index."""
    from tellapart.core.collection import Collection
    from tellapart.engine.indexing import build

    million = cache / "mixed-1000000.npy"
    z = np.load(million if million.is_file() else mixed(items + QUERIES, cache), mmap_mode="r")[: items + QUERIES]
    ids = [f"{i:07d}" for i in range(items)]
    texts = [f"what item {i} tells" for i in range(items)]
    Collection.of({"id": ids, "text": texts, "label": [f"kind {i % 100}" for i in range(items)]}).save(
        folder / "collection"
    )
    (folder / "model").mkdir()
    np.save(folder / "queries.npy", z[items:])
    _, report = build(spec, ids, z[:items], folder / "index")
    return report.figure("recall@10").value


def ask(port: int, key: str, numbers: list[int], seconds: list[float], wrong: list[str]) -> None:
    """One client: one connection, one request after the other."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in numbers:
            request = (
                f"GET /api/search?words=query+{number}&k={K} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\r\n"
            )
            begun = time.perf_counter()
            connection.sendall(request.encode())
            answer = connection.recv(65536)
            while b"\r\n\r\n" not in answer:
                answer += connection.recv(65536)
            head, _, body = answer.partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(65536)
            seconds.append(time.perf_counter() - begun)
            # counted, not parsed: the clients share the cores with the server
            if not head.startswith(b"HTTP/1.1 200") or body.count(b'"score":') != K:
                wrong.append(head.split(b"\r\n")[0].decode())


def clients(port: int, key: str, shares: list[list[int]], sink) -> None:
    """Some of the clients, as threads of this process."""
    seconds: list[list[float]] = [[] for _ in shares]
    wrong: list[str] = []

    def one(numbers: list[int], times: list[float]) -> None:
        try:
            ask(port, key, numbers, times, wrong)
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=one, args=pair) for pair in zip(shares, seconds, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.put((list(chain(*seconds)), wrong))


def over_http(port: int, key: str, numbers: np.ndarray, context) -> tuple[list[float], list[str]]:
    """Seconds of each request, and what went wrong."""
    shares = [part.tolist() for part in np.array_split(numbers, CLIENTS)]
    sink = context.Queue()
    each = CLIENTS // CLIENT_PROCESSES
    processes = [
        context.Process(target=clients, args=(port, key, shares[i : i + each], sink)) for i in range(0, CLIENTS, each)
    ]
    for process in processes:
        process.start()
    found = [sink.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    return list(chain(*(f[0] for f in found))), list(chain(*(f[1] for f in found)))


def bare(index, queries: np.ndarray, numbers: np.ndarray, threads: int) -> list[float]:
    """Seconds of each call of the index from so many threads at once, which begin and end together."""
    seconds: list[list[float]] = [[] for _ in range(threads)]
    left, together = iter(numbers.tolist()), threading.Barrier(threads)

    def one(times: list[float]) -> None:
        together.wait()
        for number in left:
            begun = time.perf_counter()
            index.search(queries[number : number + 1], K)
            times.append(time.perf_counter() - begun)

    running = [threading.Thread(target=one, args=(times,)) for times in seconds]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return list(chain(*seconds))


class Writer:
    """Adds, changes and deletes items through the client, so many a second, until it is told to stop."""

    def __init__(self, port: int, key: str) -> None:
        self.done, self.wrong = 0, []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, args=(port, key))

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self, port: int, key: str) -> None:
        from tellapart import Client

        with Client(f"http://127.0.0.1:{port}", key=key) as client:
            while not self._stop.wait(1 / WRITES_A_SECOND):
                number = self.done // 3
                try:
                    if self.done % 3 < 2:
                        client.put(f"new-{number}", {"text": f"new item {number + self.done % 3}", "label": "new"})
                    else:
                        client.delete(f"new-{number}")
                except Exception as error:
                    self.wrong.append(repr(error))
                self.done += 1


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds of the mean, and those that half, 99 of 100 and all of the calls took at most."""
    at = [statistics.fmean(seconds), *np.percentile(seconds, (50, 99, 100))]
    names = ("mean_ms", "p50_ms", "p99_ms", "most_ms")
    return {name: round(1000 * float(v), 3) for name, v in zip(names, at, strict=True)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--items", type=int, default=200_000)
    options.add_argument("--requests", type=int, default=100_000)
    options.add_argument("--index", default="hnsw")
    options.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    options.add_argument("--writes", action=argparse.BooleanOptionalAction, default=True)
    options.add_argument("--cache", type=Path, default=Path(__file__).parent.parent / "runs" / "benchmarks")
    options.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        run, keys, rates, processes, port = given.serve
        serve(Path(run), Path(keys), Path(rates), int(processes), int(port))
        return
    given.cache.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder), given, context)
    write("http_search", measured, ["numpy", "faiss-cpu", "fastapi", "uvicorn"])


def measure(folder: Path, given: argparse.Namespace, context) -> dict:
    """All figures."""
    from tellapart.engine.indexing import open_index
    from tellapart.server.keys import new_key
    from tellapart.server.rates import make_file

    run = folder / "run"
    run.mkdir()
    begun = time.perf_counter()

    def tell(what: str) -> None:
        print(f"{time.perf_counter() - begun:6.1f} s  {what}", file=sys.stderr, flush=True)

    recall = make_run(run, given.items, given.index, given.cache)
    tell("the index is built")
    key = new_key(folder / "keys.toml", "bench", "admin")
    rates = make_file(folder / "rates")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder / "metrics")
    (folder / "metrics").mkdir()
    told = [str(run), str(folder / "keys.toml"), str(rates), str(given.processes), str(port)]
    server = subprocess.Popen([sys.executable, __file__, "--serve", *told])
    try:
        wait_for(port)
        tell("the server is ready")
        index, queries = open_index(run / "index"), np.load(run / "queries.npy")
        rng = np.random.default_rng(0)
        http, alone, at_once, wrong, writes, failed = [], [], [], [], 0, []
        for turn in range(TURNS + 1):
            # the first turn is not counted: it warms both
            count = given.requests // TURNS if turn else max(200, given.requests // 100)
            numbers = rng.integers(0, QUERIES, count)
            some = numbers[: max(CLIENTS, count // 10)]
            ones, together = bare(index, queries, some[: len(some) // 4], 1), bare(index, queries, some, CLIENTS)
            with Writer(port, key) if given.writes else contextlib.nullcontext() as writer:
                times, bad = over_http(port, key, numbers, context)
            tell(f"turn {turn} of {TURNS}: {count} requests")
            if turn:
                http, alone, at_once = http + times, alone + ones, at_once + together
                wrong = wrong + bad
                if writer is not None:
                    writes, failed = writes + writer.done, failed + writer.wrong
    finally:
        server.terminate()
        server.wait(PATIENCE)
    return {
        "items": given.items, "dimensions": int(queries.shape[1]), "index": given.index, "recall@10": round(recall, 4),
        "clients": CLIENTS, "server_processes": given.processes, "requests": len(http), "errors": len(wrong),
        "first_errors": wrong[:5], "writes": writes, "failed_writes": len(failed), "first_failed_writes": failed[:5],
        "requests_a_second": round(CLIENTS / statistics.fmean(http), 1),
        "http": percentiles(http),
        "bare_16_at_once": percentiles(at_once), "bare_alone": percentiles(alone),
        "p50_http / mean_bare_16_at_once": round(statistics.median(http) / statistics.fmean(at_once), 3),
        "p50_http / p50_bare_alone": round(statistics.median(http) / statistics.median(alone), 3),
        "p99_http / p50_http": round(float(np.percentile(http, 99)) / statistics.median(http), 3),
    }  # fmt: skip


def wait_for(port: int) -> None:
    """Until the server is ready."""
    from tellapart import Client

    end = time.monotonic() + PATIENCE
    while not Client(f"http://127.0.0.1:{port}").ready():
        if time.monotonic() > end:
            raise SystemExit("the server did not become ready")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
