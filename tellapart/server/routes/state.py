"""Whether the server lives, whether it should be asked, and its figures."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, HTTPException, Request, Response

from tellapart import render
from tellapart.engine.monitor import Monitor, monitored
from tellapart.server import schema
from tellapart.server.access import Access, Caller
from tellapart.server.limits import RETRY_AFTER
from tellapart.server.metrics import Metrics
from tellapart.server.problems import PROBLEMS, REFUSED
from tellapart.server.readiness import Readiness
from tellapart.server.service import Service
from tellapart.server.workers import Workers


def add(
    app: FastAPI,
    service: Service,
    workers: Workers,
    readiness: Readiness,
    metrics: Metrics,
    access: Access,
    monitor: Monitor | None,
) -> None:
    """Health, readiness and metrics."""

    @app.get("/api/health", response_model=schema.Health, tags=["server"])
    async def health() -> schema.Health:
        """Whether the server runs."""
        return schema.Health(status="ok", items=service.items, version=service.version)

    @app.get(
        "/api/ready",
        response_model=schema.Ready,
        responses={503: {"model": schema.Ready, "description": "it should not be asked now; `reason` says why"}},
        tags=["server"],
    )
    async def ready(response: Response) -> schema.Ready:
        """Whether the server should be asked: it is warm, does not stop, and its index answers."""
        reason = await readiness.reason()
        if reason:
            response.status_code = 503
            response.headers["retry-after"] = str(RETRY_AFTER)
        return schema.Ready(ready=not reason, reason=reason)

    @app.get(
        "/metrics",
        response_class=Response,
        responses={**REFUSED, 200: {"content": {"text/plain": {}}, "description": "figures"}},
        tags=["server"],
    )
    async def figures(request: Request) -> Response:
        """Figures in the format of Prometheus, for who may administer the server and for this machine."""
        caller: Caller = request.state.caller
        if not (access.open_metrics or caller.local or caller.may("admin")):
            raise HTTPException(403, "the figures are for this machine, and for keys with the right to admin")
        await tell(service, workers, readiness, metrics)
        text, kind = metrics.text()
        return Response(text, headers={"content-type": kind})

    @app.get(
        "/api/monitor",
        response_class=Response,
        responses={**REFUSED, **PROBLEMS, 200: {"content": {"application/json": {}}, "description": "a report"}},
        tags=["server"],
    )
    async def scores(request: Request) -> Response:
        """Whether what is asked scores as held-out queries did, for who may see the figures."""
        caller: Caller = request.state.caller
        if not (access.open_metrics or caller.local or caller.may("admin")):
            raise HTTPException(403, "the figures are for this machine, and for keys with the right to admin")
        if monitor is not None:
            await asyncio.to_thread(monitor.save)
        return Response(render.json(await asyncio.to_thread(monitored, service.folder)), media_type="application/json")


async def tell(service: Service, workers: Workers, readiness: Readiness, metrics: Metrics) -> None:
    """Tell the metrics how this process stands."""
    metrics.now(
        waiting=workers.waiting,
        items=service.items,
        ready=not await readiness.reason(),
        run=service.version,
    )
