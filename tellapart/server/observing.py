"""Every request is given an id, timed, counted and logged, without anything that its sender wrote."""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tellapart.server.metrics import Metrics

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ID = re.compile(rb"[0-9a-fA-F-]{8,64}")
ID_HEADER = b"x-request-id"

log = logging.getLogger("tellapart.server.requests")


def template(scope: Scope) -> str:
    """The route of a request as it is declared, such as `/api/items/{id}`; never what was asked for."""
    route = scope.get("route")
    path = getattr(route, "path_format", None)
    if isinstance(path, str):
        return path
    return "/static" if scope["path"].startswith("/static/") else "other"


class Observer:
    """Stands before everything else."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        given = next((v for n, v in scope["headers"] if n == ID_HEADER), b"")
        id_ = given if ID.fullmatch(given) else secrets.token_hex(8).encode()
        status, size = 500, 0

        async def noted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (ID_HEADER, id_)]
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            seconds = time.perf_counter() - begun
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = template(scope)
            self.metrics.request(method, route, status, seconds)
            if log.isEnabledFor(logging.INFO):
                caller = scope.get("state", {}).get("caller")
                facts = {
                    "method": method,
                    "route": route,
                    "status": status,
                    "ms": round(1000 * seconds, 2),
                    "key": caller.name if caller is not None else "",
                    "id": id_.decode(),
                    "bytes": size,
                }
                log.info("", extra={"facts": facts})
