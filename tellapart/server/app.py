"""The HTTP API and the page over one run folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlsplit

from fastapi import FastAPI, File, Form, HTTPException, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tellapart.core.errors import TellapartError
from tellapart.core.version import VERSION
from tellapart.server import filters, schema
from tellapart.server.confusions import Confusion
from tellapart.server.limits import (
    BODY_BYTES,
    CONFUSIONS,
    EXAMPLES,
    FIELD_BYTES,
    FILTERS,
    ID_CHARACTERS,
    QUERY_CHARACTERS,
    RESULTS,
    UPLOAD_BYTES,
    VALUES_A_FILTER,
    WAITING,
    BusyError,
    NoSuchItemError,
    TooLargeError,
)
from tellapart.server.pictures import MEDIA_TYPE
from tellapart.server.service import Item, Result, Results, Service

STATIC = Path(__file__).parent / "static"
WORKERS = 2
LOCAL = ("127.0.0.1", "localhost", "[::1]", "testserver")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
STATUS = {NoSuchItemError: 404, TooLargeError: 413, BusyError: 503}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": schema.Problem, "description": "something in the request cannot be used; `error` says what"},
    413: {"model": schema.Problem, "description": "more than the server takes"},
    422: {"model": schema.Problem, "description": "a parameter is missing, mistyped or out of bounds"},
    503: {"model": schema.Problem, "description": "too many requests are waiting"},
}
REFUSED: dict[int | str, dict[str, Any]] = {403: {"model": schema.Problem, "description": "marks are not taken here"}}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": schema.Problem, "description": "there is no such item"}}

T = TypeVar("T")
log = logging.getLogger("tellapart.server")

Words = Annotated[str, Query(max_length=QUERY_CHARACTERS, description="words", examples=["a yellow fruit"])]
Ids = Annotated[list[schema.Id], Query(max_length=EXAMPLES, description="ids of items; repeat it for several")]
Where = Annotated[
    list[str],
    Query(
        max_length=FILTERS * VALUES_A_FILTER,
        description="column=value, repeated for one of several values, or column=low..high",
        examples=["year=1990..2000"],
    ),
]
K = Annotated[int, Query(ge=1, le=RESULTS, description="how many results")]
Size = Annotated[int, Query(description="the longest side in pixels: 96, 192, 384 or 768")]


class Guard:
    """Counts the bytes of a body as they come and refuses the rest; adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        taken = 0
        refusal = HTTPException(413, f"a request may have at most {BODY_BYTES // 2**20} MiB; send a smaller picture")

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES:
                raise refusal
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                have = {name.lower() for name, _ in message["headers"]}
                more = {**HEADERS, "cache-control": "no-cache"}
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in more.items() if k.encode() not in have),
                ]
            await send(message)

        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > BODY_BYTES:
            await JSONResponse({"error": refusal.detail}, 413, {"connection": "close"})(scope, receive, with_headers)
            return
        await self.app(scope, counted, with_headers)


class Workers:
    """A bounded number of threads with a bounded number of requests waiting for them."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="tellapart")
        self.pictures = ThreadPoolExecutor(WORKERS, thread_name_prefix="tellapart-picture")
        self.confusions = ThreadPoolExecutor(1, thread_name_prefix="tellapart-confusions")
        self.waiting = 0

    async def run(self, pool: ThreadPoolExecutor, call: Callable[..., T], *args: Any, **options: Any) -> T:
        """Run in a thread of the pool; refuse when too many wait already."""
        if self.waiting >= WAITING:
            raise BusyError("the server is busy; try again in a moment")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, lambda: call(*args, **options))
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Let what runs finish and take nothing more."""
        for pool in (self.pool, self.pictures, self.confusions):
            pool.shutdown(wait=False, cancel_futures=True)


def create_app(run_folder: str | Path | Service, *, hosts: Sequence[str] = LOCAL, marking: bool = True) -> FastAPI:
    """The application over a run folder.

    Args:
        run_folder: what `tellapart run` wrote, or an open `Service`.
        hosts: names under which the server may be asked for; others are refused, so that no foreign page can reach a
            local server through a name of its own. `("*",)` takes all.
        marking: whether pairs can be marked as the same or different: the one thing here that writes.
    """
    service = run_folder if isinstance(run_folder, Service) else Service(run_folder)
    workers = Workers()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        workers.close()

    app = FastAPI(
        title="tellapart",
        version=VERSION,
        description="Search one collection by words, pictures and examples, and see what the model cannot tell apart.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    app.state.workers = workers
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(Guard)
    _add_errors(app)
    _add_search(app, service, workers)
    _add_items(app, service, workers, marking)
    _add_pairs(app, service, workers, marking)
    _add_page(app, service)
    return app


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(TellapartError)
    async def mistake(request: Request, error: TellapartError) -> JSONResponse:
        status = next((s for kind, s in STATUS.items() if isinstance(error, kind)), 400)
        return _problem(status, str(error))

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return _problem(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        return _problem(422, _in_words(error.errors()))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _problem(500, "something went wrong in the server; its log says what")


def _problem(status: int, message: str, headers: Any = None) -> JSONResponse:
    # built outside the middleware when everything else has failed, so it carries the headers itself
    return JSONResponse({"error": message}, status, {**HEADERS, **(headers or {}), "cache-control": "no-store"})


def _in_words(errors: Sequence[Any]) -> str:
    first = errors[0]
    where = ".".join(str(p) for p in first["loc"] if p not in ("query", "body", "path"))
    return f"{where or 'the request'}: {first['msg'].lower()}"[:400]


def _add_search(app: FastAPI, service: Service, workers: Workers) -> None:
    @app.get("/api/search", response_model=schema.SearchAnswer, responses=PROBLEMS, tags=["search"])
    async def search(
        words: Words = "",
        like: Ids = [],  # noqa: B006
        unlike: Ids = [],  # noqa: B006
        where: Where = [],  # noqa: B006
        k: K = 24,
    ) -> schema.SearchAnswer:
        """Search by words, by examples of the collection, by filters, or by all of them together."""

        def call() -> schema.SearchAnswer:
            conditions = filters.parse(where, service.collection)
            return _results(service, service.search(words, None, like, unlike, conditions, k))

        return await workers.run(workers.pool, call)

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
    ) -> schema.SearchAnswer:
        """Search by a picture of one's own, together with anything that `query` holds."""
        try:
            asked = schema.SearchRequest.model_validate_json(query)
        except ValidationError as error:
            raise HTTPException(422, f"query: {_in_words(error.errors())}") from None
        if image is not None and (image.size or 0) > UPLOAD_BYTES:
            raise HTTPException(413, f"a picture may have at most {UPLOAD_BYTES >> 20} MiB; save it smaller")
        data = await image.read() if image is not None else None
        if data == b"":
            raise HTTPException(400, "the picture is empty; choose another file")

        def call() -> schema.SearchAnswer:
            found = service.search(asked.words, data, asked.like, asked.unlike, asked.conditions(), asked.k)
            return _results(service, found)

        return await workers.run(workers.pool, call)


def _add_items(app: FastAPI, service: Service, workers: Workers, marking: bool) -> None:
    answers = {**NOT_FOUND, **PROBLEMS}

    @app.get(
        "/api/items/{id:path}/picture",
        response_class=Response,
        responses={**answers, 200: {"content": {MEDIA_TYPE: {}}, "description": "a thumbnail"}},
        tags=["items"],
    )
    async def picture(id: str, size: Size = 384) -> Response:
        """The picture of an item, made smaller."""
        data = await workers.run(workers.pictures, service.picture, _id(id), size)
        return Response(data, media_type=MEDIA_TYPE, headers={"cache-control": "private, max-age=86400"})

    @app.get("/api/items/{id:path}", response_model=schema.ItemAnswer, responses=answers, tags=["items"])
    async def item(id: str) -> schema.ItemAnswer:
        """One item with all its columns."""
        return _item(service, service.item(_id(id)))

    @app.get("/api/columns", response_model=schema.ColumnsAnswer, tags=["items"])
    async def columns() -> schema.ColumnsAnswer:
        """What can be filtered, and what can be searched with."""
        return schema.ColumnsAnswer(
            columns=[
                schema.ColumnAnswer(name=c.name, kind=c.kind, values=list(c.values), low=c.low, high=c.high)
                for c in await workers.run(workers.pool, service.columns)
            ],
            reads=list(service.reads),
            shows=service.sides.document.modality,
            items=len(service.collection),
            calibrated=service.threshold is not None,
            marking=marking,
            borderline=bool(await workers.run(workers.pool, service.borderline)),
            ranked=service.chain.spec if service.chain else "",
            about=service.about,
        )


def _add_pairs(app: FastAPI, service: Service, workers: Workers, marking: bool) -> None:
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
        ready = await workers.run(workers.pool, lambda: service.confusions_ready)
        if not ready:
            job = getattr(app.state, "confusing", None)
            if job is None or job.done():
                if job is not None and not job.cancelled() and job.exception() is not None:
                    app.state.confusing = None
                    raise job.exception()
                app.state.confusing = workers.confusions.submit(service.confusions, 1)
            response.status_code = 202
            return schema.ConfusionsAnswer(
                ready=False, done=service.progress.share, pairs=[], total=0, confused=0, asked=0, of=0
            )

        def call() -> schema.ConfusionsAnswer:
            found = service.confusions(k)
            pairs = [_confusion(service, c) for c in found.pairs]
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
            found = service.borderline()
            return schema.BorderlineAnswer(pairs=[_confusion(service, c) for c in found[:k]], total=len(found))

        return await workers.run(workers.pool, call)

    @app.post(
        "/api/marks",
        response_model=schema.MarksAnswer,
        responses={**REFUSED, **NOT_FOUND, **PROBLEMS},
        tags=["confusions"],
    )
    async def mark(request: Request, said: schema.MarkRequest) -> schema.MarksAnswer:
        """Keep that two items are really the same, or really different; the next run goes by it."""
        # Browsers say where a request comes from; another site must not mark through somebody's browser.
        origin = request.headers.get("origin")
        if not marking or (origin is not None and urlsplit(origin).netloc != request.headers.get("host")):
            raise HTTPException(
                403, "this server takes no marks from here; serve the run on this machine alone to mark"
            )
        count = await workers.run(workers.pool, service.mark, said.a, said.b, said.said)
        return schema.MarksAnswer(marks=count)


def _add_page(app: FastAPI, service: Service) -> None:
    @app.get("/api/health", response_model=schema.Health, tags=["server"])
    async def health() -> schema.Health:
        """Whether the server runs."""
        return schema.Health(status="ok", items=len(service.collection), version=service.version)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    app.mount("/static", StaticFiles(directory=STATIC), name="static")


def _id(id_: str) -> str:
    if len(id_) > ID_CHARACTERS:
        raise NoSuchItemError(f"there is no item with an id of {len(id_)} characters")
    return id_


def _address(service: Service, id_: str) -> str:
    return f"/api/items/{quote(id_, safe='')}/picture?v={service.version}"


def _item(service: Service, item: Item) -> schema.ItemAnswer:
    return schema.ItemAnswer(
        id=item.id,
        modality=item.modality,
        caption=item.caption,
        text=item.text,
        picture=_address(service, item.id) if item.picture else None,
        columns=dict(item.columns),
    )


def _results(service: Service, found: Results) -> schema.SearchAnswer:
    return schema.SearchAnswer(
        results=[_result(service, r) for r in found.results],
        closest=[_result(service, r) for r in found.closest],
        nothing_here=found.nothing_here,
        searched=found.searched,
        notes=list(found.notes),
        ranked=found.ranked,
    )


def _result(service: Service, result: Result) -> schema.ResultAnswer:
    item = service.item(result.id)
    return schema.ResultAnswer(
        id=item.id,
        caption=item.caption,
        text=item.text[:600],
        picture=_address(service, item.id) if item.picture else None,
        score=result.score,
        probability=result.probability,
        passes=result.passes,
    )


def _confusion(service: Service, found: Confusion) -> schema.ConfusionAnswer:
    return schema.ConfusionAnswer(
        query=_item(service, service.item(found.query)),
        right=_item(service, service.item(found.right)),
        wrong=_item(service, service.item(found.wrong)),
        right_score=found.right_score,
        wrong_score=found.wrong_score,
        both_ways=found.both_ways,
        said=service.marks.get(frozenset((found.query, found.wrong)), ""),
    )
