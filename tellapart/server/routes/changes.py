"""Items added, changed and deleted while they are served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile

from tellapart.server.access import needs
from tellapart.server.limits import UPLOAD_BYTES
from tellapart.server.live import BATCH_ITEMS, Taken
from tellapart.server.problems import NOT_FOUND, PROBLEMS, REFUSED, in_words
from tellapart.server.routes.items import known_length
from tellapart.server.schema import Id
from tellapart.server.service import Service
from tellapart.server.taking import Given
from tellapart.server.watching import Watch
from tellapart.server.workers import Workers

PARTS = ("columns", "vector", "file")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


Vector = Annotated[list[float] | None, Field(description="in place of what the model would make of the item")]


class PutRequest(_Strict):
    """What is known of an item; of one that is there, other columns stay as they are."""

    columns: Annotated[dict[str, Any], Field(description="values by column; null takes a value away")] = {}
    vector: Vector = None


class PutItem(PutRequest):
    """An item of a batch."""

    id: Id


class PutBatch(_Strict):
    """Items to be added or changed, all or none."""

    items: Annotated[list[PutItem], Field(min_length=1, max_length=BATCH_ITEMS)]


class DeleteBatch(_Strict):
    """Items to be deleted, all or none."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=BATCH_ITEMS)]


class TakenAnswer(BaseModel):
    """What is on the disk now."""

    ids: list[str]
    items: int = Field(description="how many items are searched now")
    notes: list[str] = Field(description="what one should know, in words")


def add(app: FastAPI, service: Service, workers: Workers, watching: Watch | None = None) -> None:
    """Add, change and delete items; an answer means that it is on the disk."""
    options: dict[str, Any] = {
        "response_model": TakenAnswer,
        "responses": {**REFUSED, **PROBLEMS},
        "dependencies": [needs("write")],
        "tags": ["items"],
    }

    def answer(taken: Taken) -> TakenAnswer:
        return TakenAnswer(ids=list(taken.ids), items=service.items, notes=list(taken.notes))

    async def put_all(items: Sequence[Given]) -> TakenAnswer:
        answered = await workers.run(workers.pool, lambda: answer(service.live.put_all(items)))
        if watching is not None:
            watching.put(answered.ids)
        return answered

    async def delete_all(ids: Sequence[str]) -> TakenAnswer:
        return await workers.run(workers.pool, lambda: answer(service.live.delete(ids)))

    @app.put("/api/items/{id:path}", openapi_extra=_body(), **options)
    async def put(id: str, request: Request) -> TakenAnswer:
        """Add an item, or change one, with a picture or window where the items have such."""
        return await put_all([await _given(id, request)])

    @app.post("/api/items", **options)
    async def put_batch(batch: PutBatch) -> TakenAnswer:
        """Add and change items without files, all or none."""
        return await put_all([Given(item.id, item.columns, None, item.vector) for item in batch.items])

    @app.delete("/api/items/{id:path}", **{**options, "responses": {**options["responses"], **NOT_FOUND}})
    async def delete(id: str) -> TakenAnswer:
        """Take an item away."""
        return await delete_all([known_length(id)])

    @app.post("/api/items/delete", **{**options, "responses": {**options["responses"], **NOT_FOUND}})
    async def delete_batch(batch: DeleteBatch) -> TakenAnswer:
        """Take items away, all or none."""
        return await delete_all(batch.ids)


async def _given(id_: str, request: Request) -> Given:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind != "multipart/form-data":
            asked = PutRequest.model_validate_json(await request.body())
            return Given(id_, asked.columns, None, asked.vector)
        async with request.form(max_files=1, max_fields=len(PARTS)) as form:
            unknown = sorted(set(form) - set(PARTS))
            if unknown:
                raise HTTPException(422, f"{unknown[0][:80]}: an item is sent as {', '.join(PARTS)}")
            file, columns, vector = form.get("file"), form.get("columns", "{}"), form.get("vector", "null")
            if not isinstance(columns, str) or not isinstance(vector, str):
                raise HTTPException(422, "columns and vector are JSON, not files")
            content = None
            if file is not None:
                if not isinstance(file, UploadFile):
                    raise HTTPException(422, "file: send the picture as a file")
                if (file.size or 0) > UPLOAD_BYTES:
                    raise HTTPException(413, f"a picture may have at most {UPLOAD_BYTES >> 20} MiB; save it smaller")
                content = await file.read()
            asked = PutRequest.model_validate_json(f'{{"columns": {columns}, "vector": {vector}}}')
            return Given(id_, asked.columns, content, asked.vector)
    except ValidationError as error:
        raise HTTPException(422, in_words(error.errors())) from None


def _body() -> dict[str, Any]:
    columns = {"type": "string", "description": "the columns, as a JSON object"}
    file = {"type": "string", "format": "binary", "description": "a picture, or a window of a recording (.npy)"}
    form = {"type": "object", "properties": {"columns": columns, "file": file, "vector": {"type": "string"}}}
    content = {
        "application/json": {"schema": PutRequest.model_json_schema()},
        "multipart/form-data": {"schema": form},
    }
    return {"requestBody": {"required": True, "content": content}}
