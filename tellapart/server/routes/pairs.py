"""Pairs that the model cannot tell apart, and marks."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Response

from tellapart.server import schema, shown
from tellapart.server.access import needs
from tellapart.server.limits import CONFUSIONS
from tellapart.server.problems import NOT_FOUND, PROBLEMS, REFUSED
from tellapart.server.service import Service
from tellapart.server.workers import Workers


def add(app: FastAPI, service: Service, workers: Workers) -> None:
    """Pairs that cannot be told apart, and what somebody says of them."""

    @app.get(
        "/api/confusions",
        response_model=schema.ConfusionsAnswer,
        responses={202: {"model": schema.ConfusionsAnswer, "description": "still being computed"}, **PROBLEMS},
        tags=["confusions"],
    )
    async def confusions(
        response: Response,
        k: Annotated[int, Query(ge=1, le=CONFUSIONS, description="how many pairs")] = 50,
    ) -> schema.ConfusionsAnswer:
        """Pairs that the model cannot tell apart; 202 while they are still being computed."""
        ready = await workers.run(workers.pool, lambda: service.pairs.ready)
        if not ready:
            job = getattr(app.state, "confusing", None)
            if job is None or job.done():
                if job is not None and not job.cancelled() and job.exception() is not None:
                    app.state.confusing = None
                    raise job.exception()
                app.state.confusing = workers.confusions.submit(service.pairs.confusions, 1)
            response.status_code = 202
            return schema.ConfusionsAnswer(
                ready=False, done=service.pairs.progress.share, pairs=[], total=0, confused=0, asked=0, of=0
            )

        def call() -> schema.ConfusionsAnswer:
            found = service.pairs.confusions(k)
            pairs = [shown.confusion(service, c) for c in found.pairs]
            return schema.ConfusionsAnswer(
                ready=True,
                done=1.0,
                pairs=pairs,
                total=found.total,
                confused=found.confused,
                asked=found.asked,
                of=found.of,
            )

        return await workers.run(workers.pool, call)

    @app.get("/api/borderline", response_model=schema.BorderlineAnswer, responses=PROBLEMS, tags=["confusions"])
    async def borderline(
        k: Annotated[int, Query(ge=1, le=CONFUSIONS, description="how many pairs")] = 50,
    ) -> schema.BorderlineAnswer:
        """Pairs that the miner was least sure of, those nearest to its margin first."""

        def call() -> schema.BorderlineAnswer:
            found = service.pairs.borderline()
            return schema.BorderlineAnswer(pairs=[shown.confusion(service, c) for c in found[:k]], total=len(found))

        return await workers.run(workers.pool, call)

    @app.post(
        "/api/marks",
        response_model=schema.MarksAnswer,
        responses={**REFUSED, **NOT_FOUND, **PROBLEMS},
        dependencies=[needs("write")],
        tags=["confusions"],
    )
    async def mark(said: schema.MarkRequest) -> schema.MarksAnswer:
        """Keep that two items are really the same, or really different; the next run goes by it."""
        count = await workers.run(workers.pool, service.pairs.mark, said.a, said.b, said.said)
        return schema.MarksAnswer(marks=count)
