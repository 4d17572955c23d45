"""What is answered when something is wrong: a status and words."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from tellapart.core.errors import TellapartError
from tellapart.server import schema
from tellapart.server.guard import HEADERS
from tellapart.server.limits import BusyError, NoSuchItemError, TooLargeError

STATUS = {NoSuchItemError: 404, TooLargeError: 413, BusyError: 503}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": schema.Problem, "description": "something in the request cannot be used; `error` says what"},
    413: {"model": schema.Problem, "description": "more than the server takes"},
    422: {"model": schema.Problem, "description": "a parameter is missing, mistyped or out of bounds"},
    503: {"model": schema.Problem, "description": "too many requests are waiting"},
}
REFUSED: dict[int | str, dict[str, Any]] = {403: {"model": schema.Problem, "description": "marks are not taken here"}}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": schema.Problem, "description": "there is no such item"}}

log = logging.getLogger("tellapart.server")


def add_errors(app: FastAPI) -> None:
    """Answer every error as JSON with `error`, none with a traceback."""

    @app.exception_handler(TellapartError)
    async def mistake(request: Request, error: TellapartError) -> JSONResponse:
        status = next((s for kind, s in STATUS.items() if isinstance(error, kind)), 400)
        return _problem(status, str(error))

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return _problem(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        return _problem(422, in_words(error.errors()))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _problem(500, "something went wrong in the server; its log says what")


def _problem(status: int, message: str, headers: Any = None) -> JSONResponse:
    # built outside the middleware when everything else has failed, so it carries the headers itself
    return JSONResponse({"error": message}, status, {**HEADERS, **(headers or {}), "cache-control": "no-store"})


def in_words(errors: Sequence[Any]) -> str:
    """The first thing that is wrong with what was sent."""
    first = errors[0]
    where = ".".join(str(p) for p in first["loc"] if p not in ("query", "body", "path"))
    return f"{where or 'the request'}: {first['msg'].lower()}"[:400]
