"""The page, and whether the server runs."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from tellapart.server import schema
from tellapart.server.service import Service

STATIC = Path(__file__).parents[1] / "static"


def add(app: FastAPI, service: Service) -> None:
    """The page and its files."""

    @app.get("/api/health", response_model=schema.Health, tags=["server"])
    async def health() -> schema.Health:
        """Whether the server runs."""
        return schema.Health(status="ok", items=len(service.collection), version=service.version)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
