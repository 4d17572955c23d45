"""Search."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, File, Form, HTTPException, Request, Response, UploadFile
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field, ValidationError

from tellapart.engine.monitor import Monitor
from tellapart.server import filters, schema
from tellapart.server.answers import Results
from tellapart.server.limits import (
    EXAMPLES,
    FIELD_BYTES,
    FILTERS,
    QUERY_CHARACTERS,
    RESULTS,
    UPLOAD_BYTES,
    VALUES_A_FILTER,
)
from tellapart.server.metrics import Metrics
from tellapart.server.problems import PROBLEMS, in_words
from tellapart.server.service import Service
from tellapart.server.shown import results
from tellapart.server.watching import Watch
from tellapart.server.workers import Workers

Ids = Annotated[list[schema.Id], Field(max_length=EXAMPLES, description="ids of items; repeat it for several")]


class Asked(BaseModel):
    """What stands in the address of a search.

    FastAPI would take seven parameters apart with half a millisecond of Python, as much as the search itself; they are
    read here in one step, and described to it.
    """

    words: Annotated[str, Field(max_length=QUERY_CHARACTERS, description="words", examples=["a yellow fruit"])] = ""
    like: Ids = []
    unlike: Ids = []
    where: Annotated[
        list[str],
        Field(
            max_length=FILTERS * VALUES_A_FILTER,
            description="column=value, repeated for one of several values, or column=low..high",
            examples=["year=1990..2000"],
        ),
    ] = []
    k: Annotated[int, Field(ge=1, le=RESULTS, description="how many results")] = 24
    hybrid: Annotated[
        bool, Field(description="look for the words as words too, and fuse both lists by their places")
    ] = False
    sparse: Annotated[bool, Field(description="look by learned weights of words: alone, or with hybrid")] = False

    @staticmethod
    def of(request: Request) -> Asked:
        """What this request asks for; of what is given several times where one is wanted, the last counts."""
        found: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            if name in SEVERAL:
                found.setdefault(name, []).append(value)
            else:
                found[name] = value
        try:
            return Asked.model_validate(found)
        except ValidationError as error:
            raise HTTPException(422, in_words(error.errors())) from None

    @staticmethod
    def described() -> dict[str, Any]:
        """Its fields as OpenAPI tells parameters."""
        fields = Asked.model_json_schema()["properties"].items()
        told = [{"name": n, "in": "query", "description": f["description"], "schema": f} for n, f in fields]
        return {"parameters": told}


SEVERAL = ("like", "unlike", "where")


class Plain(APIRoute):
    """A route from a request to a response, which FastAPI describes and does not stand before."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


def watch(monitor: Monitor, found: Results) -> None:
    """Count an answer of the kind that is calibrated, by what its best hit scores."""
    if found.nothing_here:
        monitor.add(None)
    elif found.results and found.results[0].probability is not None and found.results[0].score is not None:
        monitor.add(found.results[0].score)


def add(
    app: FastAPI,
    service: Service,
    workers: Workers,
    metrics: Metrics,
    monitor: Monitor | None,
    watching: Watch | None = None,
) -> None:
    """Search by words, a picture, examples and filters."""

    def answer(found: Results, *, filtered: bool) -> Response:
        # made in the thread that searched, and sent as it is: FastAPI would check and write out a model once more
        metrics.searched(empty=not found.results)
        if monitor is not None and not filtered:
            watch(monitor, found)
        return Response(results(service, found).model_dump_json(), media_type="application/json")

    def hearing(asked: Asked | schema.SearchRequest, data: bytes | None) -> Callable[[np.ndarray], None] | None:
        # only one text or one picture alone is something that may be unlike what is stored
        words = asked.words.strip()
        if watching is None or bool(words) == bool(data) or asked.like or asked.unlike:
            return None
        return functools.partial(watching.asked, words, data)

    async def search(request: Request) -> Response:
        """Search by words, by examples of the collection, by filters, or by all of them together."""
        asked = Asked.of(request)

        def call() -> Response:
            conditions = filters.parse(asked.where, service.collection)
            found = service.search(
                asked.words, None, asked.like, asked.unlike, conditions, asked.k, asked.hybrid, asked.sparse,
                heard=hearing(asked, None),
            )  # fmt: skip
            return answer(found, filtered=bool(conditions))

        return await workers.run(workers.pool, call)

    app.router.add_api_route(
        "/api/search",
        search,
        methods=["GET"],
        route_class_override=Plain,
        response_model=schema.SearchAnswer,
        responses=PROBLEMS,
        openapi_extra=Asked.described(),
        tags=["search"],
    )

    @app.post("/api/search", response_model=schema.SearchAnswer, responses=PROBLEMS, tags=["search"])
    async def search_picture(
        query: Annotated[
            str,
            Form(
                max_length=FIELD_BYTES,
                description="a SearchRequest as JSON",
                examples=['{"words": "at night", "k": 24}'],
            ),
        ] = "{}",
        image: Annotated[
            UploadFile | None,
            File(description=f"a picture, or a window of a recording (.npy), of at most {UPLOAD_BYTES >> 20} MiB"),
        ] = None,
    ) -> Response:
        """Search by a picture of one's own, together with anything that `query` holds."""
        try:
            asked = schema.SearchRequest.model_validate_json(query)
        except ValidationError as error:
            raise HTTPException(422, f"query: {in_words(error.errors())}") from None
        if image is not None and (image.size or 0) > UPLOAD_BYTES:
            raise HTTPException(413, f"a picture may have at most {UPLOAD_BYTES >> 20} MiB; save it smaller")
        data = await image.read() if image is not None else None
        if data == b"":
            raise HTTPException(400, "the picture is empty; choose another file")

        def call() -> Response:
            conditions = asked.conditions()
            found = service.search(
                asked.words, data, asked.like, asked.unlike, conditions, asked.k, asked.hybrid, asked.sparse,
                heard=hearing(asked, data),
            )  # fmt: skip
            return answer(found, filtered=bool(conditions))

        return await workers.run(workers.pool, call)
