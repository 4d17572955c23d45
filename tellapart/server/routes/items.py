"""The items of the collection."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request, Response

from tellapart.server import schema, shown
from tellapart.server.limits import ID_CHARACTERS, NoSuchItemError
from tellapart.server.pictures import MEDIA_TYPE
from tellapart.server.problems import NOT_FOUND, PROBLEMS
from tellapart.server.service import Service
from tellapart.server.workers import Workers

Size = Annotated[int, Query(description="the longest side in pixels: 96, 192, 384 or 768")]


def add(app: FastAPI, service: Service, workers: Workers) -> None:
    """An item, its picture, and the columns that all have."""
    answers = {**NOT_FOUND, **PROBLEMS}

    @app.get(
        "/api/items/{id:path}/picture",
        response_class=Response,
        responses={**answers, 200: {"content": {MEDIA_TYPE: {}}, "description": "a thumbnail"}},
        tags=["items"],
    )
    async def picture(id: str, size: Size = 384) -> Response:
        """The picture of an item, made smaller."""
        data = await workers.run(workers.pictures, service.picture, known_length(id), size)
        return Response(data, media_type=MEDIA_TYPE, headers={"cache-control": "private, max-age=86400"})

    @app.get("/api/items/{id:path}", response_model=schema.ItemAnswer, responses=answers, tags=["items"])
    async def item(id: str) -> schema.ItemAnswer:
        """One item with all its columns."""
        return shown.item(service, service.item(known_length(id)))

    @app.get("/api/columns", response_model=schema.ColumnsAnswer, tags=["items"])
    async def columns(request: Request) -> schema.ColumnsAnswer:
        """What can be filtered, and what can be searched with."""
        return schema.ColumnsAnswer(
            columns=[
                schema.ColumnAnswer(name=c.name, kind=c.kind, values=list(c.values), low=c.low, high=c.high)
                for c in await workers.run(workers.pool, service.columns)
            ],
            reads=list(service.asking.reads),
            shows=service.sides.document.modality,
            items=service.items,
            calibrated=service.threshold is not None,
            marking=request.state.caller.may("write"),
            borderline=bool(await workers.run(workers.pool, service.pairs.borderline)),
            ranked=service.chain.spec if service.chain else "",
            hybrid=service.by_words.has_text,
            changes=service.asking.changes_alone and not service.asking.words_alone,
            about=service.about,
        )


def known_length(id_: str) -> str:
    """An id that is short enough to be looked up."""
    if len(id_) > ID_CHARACTERS:
        raise NoSuchItemError(f"there is no item with an id of {len(id_)} characters")
    return id_
