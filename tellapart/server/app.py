"""The HTTP API and the page over one run folder, and those over the findings of a curated folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from tellapart.core.version import VERSION
from tellapart.engine.monitor import Monitor
from tellapart.server.access import Access, Door
from tellapart.server.guard import Guard
from tellapart.server.keys import Keys
from tellapart.server.limits import LOCAL, TIME_LIMIT
from tellapart.server.metrics import Metrics
from tellapart.server.observing import Observer
from tellapart.server.problems import add_errors
from tellapart.server.rates import Rates
from tellapart.server.readiness import Readiness
from tellapart.server.review import Review
from tellapart.server.routes import changes, findings, items, page, pairs, search, state, unknown
from tellapart.server.service import Service
from tellapart.server.watching import Watch
from tellapart.server.workers import Workers

TOLD_EVERY = 1.0


def create_app(
    run_folder: str | Path | Service,
    *,
    hosts: Sequence[str] = LOCAL,
    marking: bool = True,
    keys: str | Path | None = None,
    rate: float = 0.0,
    rates_file: Path | None = None,
    time_limit: float = TIME_LIMIT,
    open_metrics: bool = False,
    watch: str = "",
) -> FastAPI:
    """The application over a run folder.

    Args:
        run_folder: what `tellapart run` wrote, or an open `Service`.
        hosts: names under which the server may be asked for; others are refused, so that no foreign page can reach a
            local server through a name of its own. `("*",)` takes all.
        marking: whether anybody may write (mark pairs, add and delete items) where there are no keys.
        keys: a file of keys, see `Keys`; then nobody may search without one.
        rate: requests a second for each key without a rate of its own and each address without a key; 0: any.
        rates_file: what several processes share, see `rates.make_file`.
        time_limit: seconds from the arrival of a request to its answer.
        open_metrics: whether `/metrics` is for everybody.
        watch: a score part by which what comes in is compared with what is stored; empty: nothing is.
    """
    access = Access(
        keys=Keys(keys) if keys is not None else None,
        everybody="admin" if marking else "read",
        rate=rate,
        open_metrics=open_metrics,
    )
    service = run_folder if isinstance(run_folder, Service) else Service(run_folder)
    service.live.folding = True
    workers, metrics, readiness, rates = Workers(time_limit), Metrics(), Readiness(service), Rates(rates_file)

    monitor = Monitor.of(service.folder)
    watching = Watch(service, watch, heard=metrics.watched, lost=metrics.unscored) if watch else None
    metrics.lag = service.live.behind
    metrics.shift = monitor.shift if monitor is not None else None

    async def tell_on() -> None:
        while True:
            await state.tell(service, workers, readiness, metrics)
            await asyncio.sleep(TOLD_EVERY)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(asyncio.to_thread(readiness.warm_up))
        telling = asyncio.create_task(tell_on())
        with readiness.told_of_signals():
            yield
        telling.cancel()
        await asyncio.wait((telling, warming), timeout=TOLD_EVERY)
        workers.close()
        if monitor is not None:
            await asyncio.to_thread(monitor.save)
        if watching is not None:
            await asyncio.to_thread(watching.close)
        await asyncio.to_thread(service.live.close)

    said = "Search one collection by words, pictures and examples, and see what the model cannot tell apart."
    app = _guarded("tellapart", said, lifespan, hosts, access=access, rates=rates, metrics=metrics)
    app.state.workers, app.state.metrics, app.state.readiness = workers, metrics, readiness
    app.state.watching = watching
    search.add(app, service, workers, metrics, monitor, watching)
    items.add(app, service, workers)
    changes.add(app, service, workers, watching)
    unknown.add(app, service, workers, watching)
    pairs.add(app, service, workers)
    state.add(app, service, workers, readiness, metrics, access, monitor)
    page.add(app)
    return app


def create_review_app(
    folder: str | Path | Review, *, hosts: Sequence[str] = LOCAL, time_limit: float = TIME_LIMIT
) -> FastAPI:
    """The application over a curated folder, for one person at this machine.

    Args:
        folder: what `tellapart curate DATA --out FOLDER` wrote, or an open `Review`.
        hosts, time_limit: see `create_app`.
    """
    review = folder if isinstance(folder, Review) else Review(folder)
    workers = Workers(time_limit)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        workers.close()

    said = "What may be wrong with items of a collection, to be accepted or rejected."
    app = _guarded("tellapart findings", said, lifespan, hosts, access=Access(), rates=Rates(None), metrics=Metrics())
    findings.add(app, review, workers)
    page.add(app, "review.html")
    return app


def _guarded(
    title: str,
    description: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    hosts: Sequence[str],
    *,
    access: Access,
    rates: Rates,
    metrics: Metrics,
) -> FastAPI:
    """An application without routes, behind all that stands before every route."""
    app = FastAPI(
        title=title,
        version=VERSION,
        description=description,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    # the last one stands before all others
    app.add_middleware(Door, access=access, rates=rates)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(Guard)
    app.add_middleware(Observer, metrics=metrics)
    add_errors(app)
    return app
