"""What is answered when something is wrong: a status and words."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from tellapart.core.errors import BackendAwayError, TellapartError
from tellapart.server import schema
from tellapart.server.guard import HEADERS
from tellapart.server.limits import RETRY_AFTER, BusyError, GoneError, NoSuchItemError, TookTooLongError, TooLargeError
from tellapart.server.observing import template

CLIENT_WENT_AWAY = 499
STATUS: dict[type[Exception], int] = {
    NoSuchItemError: 404,
    TooLargeError: 413,
    GoneError: CLIENT_WENT_AWAY,
    BusyError: 503,
    BackendAwayError: 503,
    TookTooLongError: 504,
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": schema.Problem, "description": "something in the request cannot be used; `error` says what"},
    413: {"model": schema.Problem, "description": "more than the server takes"},
    422: {"model": schema.Problem, "description": "a parameter is missing, mistyped or out of bounds"},
    401: {"model": schema.Problem, "description": "this server asks for a key"},
    429: {"model": schema.Problem, "description": "more requests a second than this caller may make"},
    503: {"model": schema.Problem, "description": "too many requests wait, or a database is away; try again"},
    504: {"model": schema.Problem, "description": "not answered within the time limit"},
}
REFUSED: dict[int | str, dict[str, Any]] = {403: {"model": schema.Problem, "description": "the right to it is missing"}}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": schema.Problem, "description": "there is no such item"}}

log = logging.getLogger("tellapart.server")


def add_errors(app: FastAPI) -> None:
    """Answer every error as JSON with `error`, none with a traceback."""

    @app.exception_handler(TellapartError)
    async def mistake(request: Request, error: TellapartError) -> JSONResponse:
        status = next((s for kind, s in STATUS.items() if isinstance(error, kind)), 400)
        return _problem(status, str(error), {"retry-after": str(RETRY_AFTER)} if status == 503 else None)

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return _problem(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        return _problem(422, in_words(error.errors()))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        # the path may name an item, and is not logged
        log.error("%s %s failed", request.method, template(request.scope), exc_info=error)
        return _problem(500, "something went wrong in the server; its log says what")


def _problem(status: int, message: str, headers: Any = None) -> JSONResponse:
    # built outside the middleware when everything else has failed, so it carries the headers itself
    return JSONResponse({"error": message}, status, {**HEADERS, **(headers or {}), "cache-control": "no-store"})


def in_words(errors: Sequence[Any]) -> str:
    """The first thing that is wrong with what was sent."""
    first = errors[0]
    where = ".".join(str(p) for p in first["loc"] if p not in ("query", "body", "path"))
    return f"{where or 'the request'}: {first['msg'].lower()}"[:400]
