"""The HTTP API and the page over one run folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from tellapart.core.version import VERSION
from tellapart.server.guard import Guard
from tellapart.server.problems import add_errors
from tellapart.server.routes import items, page, pairs, search
from tellapart.server.service import Service
from tellapart.server.workers import Workers

LOCAL = ("127.0.0.1", "localhost", "[::1]", "testserver")


def create_app(run_folder: str | Path | Service, *, hosts: Sequence[str] = LOCAL, marking: bool = True) -> FastAPI:
    """The application over a run folder.

    Args:
        run_folder: what `tellapart run` wrote, or an open `Service`.
        hosts: names under which the server may be asked for; others are refused, so that no foreign page can reach a
            local server through a name of its own. `("*",)` takes all.
        marking: whether pairs can be marked as the same or different: the one thing here that writes.
    """
    service = run_folder if isinstance(run_folder, Service) else Service(run_folder)
    workers = Workers()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        workers.close()

    app = FastAPI(
        title="tellapart",
        version=VERSION,
        description="Search one collection by words, pictures and examples, and see what the model cannot tell apart.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    app.state.workers = workers
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(Guard)
    add_errors(app)
    search.add(app, service, workers)
    items.add(app, service, workers, marking)
    pairs.add(app, service, workers, marking)
    page.add(app, service)
    return app
