"""Serving at a socket until a signal says stop, in one process or in several."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellapart.core.errors import TellapartError
from tellapart.server import logs
from tellapart.server.limits import TIME_LIMIT
from tellapart.server.metrics import SHARED
from tellapart.server.rates import make_file

CONNECTIONS = 1024
LIFE_SIGN = 60
THREADS_END = 0.5


@dataclass(frozen=True)
class Settings:
    """How a run is served.

    Attributes:
        run: the run folder; of findings, the curated folder.
        findings: whether the page of findings is served, in place of a run.
        hosts, marking, keys, rate, time_limit, open_metrics, watch: see `create_app`.
        processes: how many share the socket. Each opens the run for itself.
        grace: seconds that a request has to end once a signal says stop.
        level: the least that is logged, of `logs.LEVELS`.
    """

    run: Path
    hosts: tuple[str, ...]
    marking: bool = True
    keys: Path | None = None
    rate: float = 0.0
    time_limit: float = TIME_LIMIT
    open_metrics: bool = False
    watch: str = ""
    processes: int = 1
    grace: float = 10.0
    level: str = "warning"
    findings: bool = False


def make_app(settings: Settings, rates_file: Path | None = None) -> Any:
    """The application of one process."""
    if settings.findings:
        from tellapart.server.app import create_review_app

        return create_review_app(settings.run, hosts=settings.hosts, time_limit=settings.time_limit)
    from tellapart.server.app import create_app

    return create_app(
        settings.run,
        hosts=settings.hosts,
        marking=settings.marking,
        keys=settings.keys,
        rate=settings.rate,
        rates_file=rates_file,
        time_limit=settings.time_limit,
        open_metrics=settings.open_metrics,
        watch=settings.watch,
    )


def serve_at(listening: socket.socket, settings: Settings, opened: Callable[[], None] = lambda: None) -> None:
    """Answer at a bound socket until SIGTERM or Ctrl-C.

    From the signal on, `/api/ready` says no and nothing new is taken; what runs has `grace` seconds to end. `opened` is
    called when the run is open.

    Raises:
        TellapartError: what keeps the run from being served, before anything is answered.
    """
    if settings.level not in logs.LEVELS:
        raise TellapartError(f"--log-level {settings.level}: it is one of {', '.join(logs.LEVELS)}")
    if settings.processes == 1:
        _serve_alone(listening, settings, opened)
    else:
        _serve_together(listening, settings, opened)


def _serve_alone(listening: socket.socket, settings: Settings, opened: Callable[[], None]) -> None:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(make_app(settings), **_options(settings)))
    opened()
    # uvicorn shuts down in order and then passes the signal on
    with _signals_end_here() as seen, contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    if signal.SIGTERM in seen and _still_computing():
        # the grace is over, and Python would wait for every thread
        os._exit(0)


def _serve_together(listening: socket.socket, settings: Settings, opened: Callable[[], None]) -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    class Together(Multiprocess):
        def keep_subprocess_alive(self) -> None:
            # while this process too holds their end of the pipe, one killed before it answers is waited for LIFE_SIGN
            for process in self.processes:
                process.child_conn.close()
            super().keep_subprocess_alive()

    # what is wrong with the run or the keys is said here, once, and not by every process
    make_app(settings)
    with tempfile.TemporaryDirectory(prefix="tellapart-") as shared, _environment(SHARED, shared):
        rates_file = make_file(Path(shared) / "rates")
        app = functools.partial(_app_of_several, settings, rates_file)
        config = uvicorn.Config(app, factory=True, workers=settings.processes, **_options(settings))
        config.timeout_worker_healthcheck = LIFE_SIGN
        opened()
        Together(config, sockets=[listening]).run()


def _app_of_several(settings: Settings, rates_file: Path) -> Any:
    """The application of one process of several, which ends when the first one is gone, killed or not."""
    first = multiprocessing.parent_process()

    def outlived() -> None:
        assert first is not None
        first.join()
        os.kill(os.getpid(), signal.SIGTERM)

    if first is not None:
        threading.Thread(target=outlived, name="outlived", daemon=True).start()
    return make_app(settings, rates_file)


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "log_config": logs.config(settings.level),
        "access_log": False,
        "server_header": False,
        "ws": "none",
        "limit_concurrency": CONNECTIONS,
        "timeout_graceful_shutdown": max(1, round(settings.grace)),
    }


@contextlib.contextmanager
def _signals_end_here() -> Iterator[list[int]]:
    """Signals to stop that come meanwhile; none of them ends the process."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        yield seen
    finally:
        signal.signal(signal.SIGTERM, before)


def _still_computing() -> bool:
    """Whether a thread of the server still runs a moment after it was told to end."""
    until = time.monotonic() + THREADS_END
    ours = [t for t in threading.enumerate() if t.name.startswith("tellapart")]
    for thread in ours:
        thread.join(max(0.0, until - time.monotonic()))
    return any(t.is_alive() for t in ours)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable that processes started meanwhile have."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
