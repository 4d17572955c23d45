"""Figures for Prometheus: of one process, or of all that serve together."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tellapart.core.needs import require
from tellapart.core.version import VERSION

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SHARED = "PROMETHEUS_MULTIPROC_DIR"
OF_A_PROCESS = re.compile(r"gauge_live[a-z]*_(\d+)\.db")


class Metrics:
    """Counters, gauges and histograms. Labels are routes as declared, methods and status codes: nothing of users.

    With `PROMETHEUS_MULTIPROC_DIR` set before this process began to count, the figures are those of all processes
    that have it, as `tellapart serve --workers` sees to.

    Attributes:
        lag: what tells how many writes of the journal this process has not seen yet, where something is written.
        shift: what tells how far the scores of queries are from those of held-out ones, where that is known.
    """

    def __init__(self) -> None:
        require("prometheus_client", "tellapart serve")
        import prometheus_client as prometheus

        self._of = prometheus
        self.shared = os.environ.get(SHARED)
        registry = self._registry = prometheus.CollectorRegistry()
        self._requests = prometheus.Counter(
            "tellapart_requests", "Requests that were answered", ("method", "route", "status"), registry=registry
        )
        self._seconds = prometheus.Histogram(
            "tellapart_request_seconds", "From arrival to answer", ("route",), buckets=SECONDS, registry=registry
        )
        self._searches = prometheus.Counter("tellapart_searches", "Searches that were answered", registry=registry)
        self._empty = prometheus.Counter(
            "tellapart_searches_empty", "Searches for which nothing was found here", registry=registry
        )
        self._watched = prometheus.Counter(
            "tellapart_watched", "What came in and was scored, by kind", ("kind",), registry=registry
        )
        self._unknown = prometheus.Counter(
            "tellapart_unknown", "What came in and is like nothing stored, by kind", ("kind",), registry=registry
        )
        self._unscored = prometheus.Counter(
            "tellapart_unscored", "What came in and was not scored, since too many waited", registry=registry
        )
        gauges = (
            ("waiting", "tellapart_waiting", "Requests that are computed or wait for it", "livesum"),
            ("items", "tellapart_index_items", "Items that can be found", "livemax"),
            ("behind", "tellapart_journal_lag", "Writes that a process has not seen yet", "livemax"),
            ("ready", "tellapart_ready", "Whether searches are answered", "livemin"),
            ("shift", "tellapart_score_shift", "How far scores are from those of held-out queries", "livemax"),
        )
        self._gauges = {
            name: prometheus.Gauge(title, told, registry=registry, multiprocess_mode=mode)
            for name, title, told, mode in gauges
        }
        self._info = prometheus.Gauge(
            "tellapart_info", "Version of tellapart and of the run", ("version", "run"), registry=registry,
            multiprocess_mode="livemax",
        )  # fmt: skip
        self._by_route: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        self._run = ""
        self.lag: Callable[[], float] | None = None
        self.shift: Callable[[], float] | None = None

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        known = self._by_route.get((method, route, status))
        if known is None:
            known = (self._requests.labels(method, route, str(status)), self._seconds.labels(route))
            self._by_route[method, route, status] = known
        known[0].inc()
        known[1].observe(seconds)

    def searched(self, *, empty: bool) -> None:
        """A search was answered."""
        self._searches.inc()
        if empty:
            self._empty.inc()

    def watched(self, kind: str, unknown: bool) -> None:
        """One of a kind was scored."""
        self._watched.labels(kind).inc()
        if unknown:
            self._unknown.labels(kind).inc()

    def unscored(self) -> None:
        """One was not scored, since too many waited."""
        self._unscored.inc()

    def now(self, *, waiting: int, items: int, ready: bool, run: str) -> None:
        """How this process stands."""
        self._gauges["waiting"].set(waiting)
        self._gauges["items"].set(items)
        self._gauges["ready"].set(ready)
        self._gauges["behind"].set(self.lag() if self.lag is not None else 0)
        self._gauges["shift"].set(self.shift() if self.shift is not None else 0)
        if run != self._run and self._run and not self.shared:
            self._info.remove(VERSION, self._run)
        self._run = run
        self._info.labels(VERSION, run).set(1)

    def text(self) -> tuple[bytes, str]:
        """All figures in Prometheus's words, and the media type of that."""
        registry = self._registry
        if self.shared:
            from prometheus_client import multiprocess

            _forget_the_dead(Path(self.shared))
            registry = self._of.CollectorRegistry()
            multiprocess.MultiProcessCollector(registry, path=self.shared)
        return self._of.generate_latest(registry), self._of.CONTENT_TYPE_LATEST


def _forget_the_dead(folder: Path) -> None:
    """What a process that is gone had waiting is no more; what it counted stays."""
    for file in folder.glob("gauge_live*.db"):
        found = OF_A_PROCESS.fullmatch(file.name)
        if found is None:
            continue
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            with contextlib.suppress(OSError):
                file.unlink()
        except OSError:
            pass
