"""The findings of a curated folder: the worst of each kind, and what is said of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import FastAPI, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from tellapart.server.access import needs
from tellapart.server.pictures import MEDIA_TYPE
from tellapart.server.problems import NOT_FOUND, PROBLEMS, REFUSED
from tellapart.server.review import Finding, Review, Seen
from tellapart.server.routes.items import Size, known_length
from tellapart.server.schema import Id
from tellapart.server.workers import Workers

AT_ONCE = 100
Said = Literal["accept", "reject", ""]


class DecisionRequest(BaseModel):
    """What is said of a finding, or without an item of all of a kind; empty takes it back."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[str, Field(min_length=1, max_length=200)]
    item: Id | None = None
    said: Said


class KindAnswer(BaseModel):
    """One kind of finding."""

    name: str
    about: str = Field(description="what it looks for")
    looked: int = Field(description="how many items it looked at")
    proposed: int
    accepted: int
    rejected: int


class KindsAnswer(BaseModel):
    """What was looked for in the folder."""

    folder: str
    kinds: list[KindAnswer]


class SeenAnswer(BaseModel):
    """An item as it is shown."""

    id: str
    picture: str | None = Field(description="the address of its picture; add &size=96, 192, 384 or 768")
    texts: dict[str, str] = Field(description="what is written in its columns")


class FindingAnswer(BaseModel):
    """A proposal, and what was said of it."""

    item: SeenAnswer
    score: float = Field(description="higher is surer; compares within a kind alone")
    reason: str
    action: Literal["drop", "relabel", "same-as", "look"]
    to: str = Field(description="the label or the item that the action names; empty otherwise")
    said: Said
    other: SeenAnswer | None = Field(description="the item that it is the same as")


class FindingsAnswer(BaseModel):
    """Proposals of a kind, the surest first."""

    findings: list[FindingAnswer]
    total: int = Field(description="how many there are of those that were asked for")


def add(app: FastAPI, review: Review, workers: Workers) -> None:
    """Kinds, proposals, pictures and decisions."""

    def seen(item: Seen) -> dict[str, Any]:
        address = f"/api/pictures/{quote(item.id, safe='')}?v={review.version}"
        return {**asdict(item), "picture": address if item.picture else None}

    def answer(found: Finding) -> dict[str, Any]:
        other = seen(found.other) if found.other is not None else None
        return {**vars(found), "item": seen(found.item), "other": other}

    def kinds_now() -> dict[str, Any]:
        return {"folder": str(review.folder), "kinds": [asdict(kind) for kind in review.kinds()]}

    @app.get("/api/findings", response_model=KindsAnswer, responses=PROBLEMS, tags=["findings"])
    async def kinds() -> dict[str, Any]:
        """The kinds that were looked for, and how far they are decided."""
        return await workers.run(workers.pool, kinds_now)

    @app.get("/api/findings/{kind}", response_model=FindingsAnswer, responses=PROBLEMS, tags=["findings"])
    async def findings(
        kind: str,
        show: Annotated[Literal["all", "open", "accept", "reject"], Query(description="open: not decided yet")] = "all",
        start: Annotated[int, Query(ge=0, le=10**9)] = 0,
        k: Annotated[int, Query(ge=1, le=AT_ONCE)] = 24,
    ) -> dict[str, Any]:
        """What is proposed of a kind, the surest first."""

        def call() -> dict[str, Any]:
            found, total = review.worst(kind, shown=show, start=start, k=k)
            return {"findings": [answer(each) for each in found], "total": total}

        return await workers.run(workers.pool, call)

    @app.post(
        "/api/decisions",
        response_model=KindsAnswer,
        responses={**REFUSED, **NOT_FOUND, **PROBLEMS},
        dependencies=[needs("write")],
        tags=["findings"],
    )
    async def decide(asked: DecisionRequest) -> dict[str, Any]:
        """Keep what is said of a finding, or of all of a kind; the answer tells how far each kind is decided."""

        def call() -> dict[str, Any]:
            review.decide(asked.kind, asked.said, asked.item)
            return kinds_now()

        return await workers.run(workers.pool, call)

    @app.get(
        "/api/pictures/{id:path}",
        response_class=Response,
        responses={**NOT_FOUND, **PROBLEMS, 200: {"content": {MEDIA_TYPE: {}}, "description": "a thumbnail"}},
        tags=["findings"],
    )
    async def picture(id: str, size: Size = 384) -> Response:
        """The picture of an item, made smaller."""
        data = await workers.run(workers.pictures, review.picture, known_length(id), size)
        return Response(data, media_type=MEDIA_TYPE, headers={"cache-control": "private, max-age=86400"})
