"""What came in and is like nothing stored: a queue in groups, to be named and taken away; and drift."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from tellapart.server.access import needs
from tellapart.server.limits import NoSuchItemError
from tellapart.server.pictures import MEDIA_TYPE
from tellapart.server.problems import NOT_FOUND, PROBLEMS, REFUSED
from tellapart.server.routes.page import STATIC
from tellapart.server.service import Service
from tellapart.server.unknowns import KEY_CHARACTERS, LABEL_CHARACTERS, MOST, UNKNOWN, Unknown
from tellapart.server.watching import KINDS, Known, Watch
from tellapart.server.workers import Workers

OFF = "nothing is watched here; serve with: tellapart serve --watch knn"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = ("id", "kind", "text", "label", "cluster", "unknown_score", "count", "first", "last")
Key = Annotated[str, Field(min_length=1, max_length=KEY_CHARACTERS)]


class Keys(BaseModel):
    """Some of the queue."""

    model_config = ConfigDict(extra="forbid")

    keys: Annotated[list[Key], Field(min_length=1, max_length=MOST)]


class LabelRequest(Keys):
    """A name for some of the queue; an empty one is taken back."""

    label: Annotated[str, Field(max_length=LABEL_CHARACTERS)]


class DoneAnswer(BaseModel):
    """How many there were."""

    count: int


class UnknownAnswer(BaseModel):
    """One of the queue."""

    key: str
    kind: str
    text: str
    item: str = Field(description="the id of the item that was added; empty for a query")
    picture: str | None
    score: float = Field(description="higher = more unknown; compares within a kind")
    count: int = Field(description="how often the same came")
    first: str
    last: str
    label: str


class GroupAnswer(BaseModel):
    """What is about one thing."""

    words: str = Field(description="what tells its texts from those of the other groups")
    items: list[UnknownAnswer]


class KindAnswer(BaseModel):
    """How what came of a kind compares with what is stored."""

    kind: str
    seen: int
    unknown: int
    shift: float = Field(description="population stability index of the scores, against held-out stored ones")
    verdict: str
    fitted: int = Field(description="on how many stored ones the score is fitted; 0 before the first came")
    reason: str = Field(description="why nothing of this kind is scored; empty where it is")


class HourAnswer(BaseModel):
    """An hour."""

    hour: str
    kind: str
    seen: int
    unknown: int


class QueueAnswer(BaseModel):
    """The queue and the drift."""

    score: str
    false_alarms: float
    waiting: int = Field(description="how many wait to be scored in this process")
    unscored: int = Field(description="how many were not, since too many waited")
    kinds: list[KindAnswer]
    hours: list[HourAnswer]
    groups: list[GroupAnswer]


def add(app: FastAPI, service: Service, workers: Workers, watching: Watch | None) -> None:
    """The page, the queue as JSON and CSV, and what is done with it; for who may administer the server."""
    options: dict[str, Any] = {"dependencies": [needs("admin")], "tags": ["unknown"]}
    answers = {**REFUSED, **NOT_FOUND, **PROBLEMS}

    @app.get("/unknown", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "unknown.html", headers={"cache-control": "no-cache"})

    def watched() -> Watch:
        if watching is None:
            raise HTTPException(404, OFF)
        return watching

    @app.get("/api/unknown", response_model=QueueAnswer, responses=answers, **options)
    async def queue() -> dict[str, Any]:
        """What is like nothing stored, in groups, the largest first; and how what came compares with the stored."""
        watch = watched()

        def call() -> dict[str, Any]:
            drift = watch.drift()
            return {
                "score": watch.score,
                "false_alarms": watch.false_alarms,
                "waiting": watch.waiting,
                "unscored": watch.unscored,
                "kinds": [_kind(watch, kind, drift.get(kind)) for kind in KINDS],
                "hours": [
                    {"hour": _time(hour * 3600), "kind": kind, "seen": sum(c[:UNKNOWN]), "unknown": c[UNKNOWN]}
                    for (hour, kind), c in watch.unknowns.hours().items()
                ],
                "groups": [{"words": words, "items": list(map(_answer, items))} for words, items in watch.groups()],
            }

        return await workers.run(workers.pool, call)

    @app.get(
        "/api/unknown.csv",
        response_class=Response,
        responses={**answers, 200: {"content": {"text/csv": {}}, "description": "a table"}},
        **options,
    )
    async def table(labelled: Annotated[bool, Query(description="only what has a label")] = False) -> Response:
        """The queue as a table that spreadsheets and `tellapart run` read."""
        watch = watched()
        made = await workers.run(workers.pool, lambda: _csv(watch.groups(), labelled))
        name = {"content-disposition": 'attachment; filename="unknown.csv"'}
        return Response(made, media_type="text/csv; charset=utf-8", headers=name)

    @app.get(
        "/api/unknown.zip",
        response_class=Response,
        responses={**answers, 200: {"content": {"application/zip": {}}, "description": "a table and its pictures"}},
        **options,
    )
    async def archive(labelled: Annotated[bool, Query(description="only what has a label")] = False) -> Response:
        """The pictures of the queue, made smaller, with a table that names them; unpacked, `tellapart run` reads it."""
        watch = watched()
        made = await workers.run(workers.pictures, _zip, watch, labelled)
        name = {"content-disposition": 'attachment; filename="unknown.zip"'}
        return Response(made, media_type="application/zip", headers=name)

    @app.get(
        "/api/unknown/{key}/picture",
        response_class=Response,
        responses={**answers, 200: {"content": {MEDIA_TYPE: {}}, "description": "a thumbnail"}},
        **options,
    )
    async def picture(key: str) -> Response:
        """The small picture of one of the queue."""
        data = await workers.run(workers.pictures, watched().unknowns.picture, key[:KEY_CHARACTERS])
        if data is None:
            raise NoSuchItemError("there is no such picture in the queue any more")
        return Response(data, media_type=MEDIA_TYPE, headers={"cache-control": "private, max-age=3600"})

    @app.post("/api/unknown/label", response_model=DoneAnswer, responses=answers, **options)
    async def label(asked: LabelRequest) -> DoneAnswer:
        """Name some of the queue."""
        return DoneAnswer(count=await workers.run(workers.pool, watched().unknowns.label, asked.keys, asked.label))

    @app.post("/api/unknown/forget", response_model=DoneAnswer, responses=answers, **options)
    async def forget(asked: Keys) -> DoneAnswer:
        """Take some of the queue away for good."""
        return DoneAnswer(count=await workers.run(workers.pool, watched().unknowns.forget, asked.keys))


def _kind(watch: Watch, kind: str, drift: tuple[int, int, float, str] | None) -> dict[str, Any]:
    known = watch.known(kind)
    seen, unknown, moved, verdict = drift or (0, 0, 0.0, "None came yet.")
    fitted, reason = (known.fitted, "") if isinstance(known, Known) else (0, known or "")
    return {"kind": kind, "seen": seen, "unknown": unknown, "shift": moved, "verdict": verdict, "fitted": fitted,
            "reason": reason}  # fmt: skip


def _answer(one: Unknown) -> dict[str, Any]:
    address = f"/api/unknown/{one.key}/picture?v=1" if one.pictured else None
    return {
        "key": one.key, "kind": one.kind, "text": one.text, "item": one.item, "picture": address, "score": one.score,
        "count": one.count, "first": _time(one.first), "last": _time(one.last), "label": one.label,
    }  # fmt: skip


def _csv(groups: Sequence[tuple[str, list[Unknown]]], labelled: bool) -> str:
    sink = io.StringIO()
    rows = csv.writer(sink, lineterminator="\n")
    rows.writerow(COLUMNS)
    for number, (_, items) in enumerate(groups, 1):
        for one in items:
            if one.label or not labelled:
                rows.writerow([
                    _cell(one.item or one.key), one.kind, _cell(one.text), _cell(one.label), number,
                    f"{one.score:.6g}", one.count, _time(one.first), _time(one.last),
                ])  # fmt: skip
    return sink.getvalue()


def _zip(watch: Watch, labelled: bool) -> bytes:
    sink, told = io.BytesIO(), io.StringIO()
    rows = csv.writer(told, lineterminator="\n")
    rows.writerow(("id", "image", "label", "cluster"))
    with zipfile.ZipFile(sink, "w") as packed:
        for number, (_, items) in enumerate(watch.groups(), 1):
            for one in items:
                if one.pictured and (one.label or not labelled) and (data := watch.unknowns.picture(one.key)):
                    packed.writestr(f"pictures/{one.key}.webp", data)
                    rows.writerow((one.key, f"pictures/{one.key}.webp", _cell(one.label), number))
        packed.writestr("unknown.csv", told.getvalue())
    return sink.getvalue()


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: whoever asks writes it."""
    return f" {text}" if text.startswith(FORMULA) else text


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
