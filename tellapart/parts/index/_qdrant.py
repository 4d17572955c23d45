"""Vectors in Qdrant, through two doors: a server's collection, and the same engine over a folder in this process."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tellapart.core.errors import BackendAwayError, DataError
from tellapart.core.needs import require
from tellapart.parts.index._remote import ROWS_A_BLOCK, Block

KEY = "QDRANT_API_KEY"
ROWS_A_CALL = 500
SECONDS = 60
NAMESPACE = uuid.UUID("6d0a3c3e-5f0b-5c8e-9a56-0d6f4d1b7a11")
SERVERS_FAULT = 500
R = TypeVar("R")


def _key(name: str) -> uuid.UUID:
    return uuid.uuid5(NAMESPACE, name)


def _block(points: Sequence[Any], dim: int) -> Block:
    """Ids and vectors of points; without vectors of width 0."""
    ids = [p.payload["id"] for p in points]
    if not points or not points[0].vector:
        return ids, np.zeros((len(ids), dim if not points else 0), np.float32)
    return ids, np.asarray([p.vector for p in points], np.float32)


class Shard:
    """A `Store` in the files of a folder, by qdrant-edge. It is on the disk once it is settled.

    Args:
        dim: width of a new one; None opens what is there.
        settings: links and construction.
    """

    def __init__(self, place: str, dim: int | None, settings: tuple[int, int]) -> None:
        self._edge = edge = require("qdrant_edge", "the index qdrant in this process")
        self.place, self._settings = place, settings
        if dim is None:
            self._shard = self._do(lambda: edge.EdgeShard.load(place))
            config = self._do(lambda: json.loads((Path(place) / "edge_config.json").read_text(encoding="utf-8")))
            self.dim = int(config["vectors"][""]["size"])
            return
        self.dim = dim
        vectors = edge.EdgeVectorParams(size=dim, distance=edge.Distance.Dot)
        graph = edge.HnswIndexConfig(m=settings[0], ef_construct=settings[1], full_scan_threshold=1)
        always = edge.EdgeOptimizersConfig(indexing_threshold=1)
        config = edge.EdgeConfig(vectors=vectors, hnsw_config=graph, optimizers=always, wal_enabled=False)
        self._shard = self._do(lambda: edge.EdgeShard.create(place, config))

    def _do(self, call: Callable[[], R]) -> R:
        try:
            return call()
        except Exception as error:  # the engine has no kind of its own
            raise DataError(f"Qdrant's engine cannot use {self.place}: {str(error)[:300]}") from None

    def put(self, ids: list[str], z: np.ndarray) -> None:
        points = [
            self._edge.Point(id=_key(i), vector=row, payload={"id": i}) for i, row in zip(ids, z.tolist(), strict=True)
        ]
        self._do(lambda: self._shard.update(self._edge.UpdateOperation.upsert_points(points)))

    def drop(self, ids: list[str]) -> list[str]:
        known = set(self.get(ids)[0])
        unknown = [i for i in ids if i not in known]
        if not unknown:
            self._do(lambda: self._shard.update(self._edge.UpdateOperation.delete_points([_key(i) for i in ids])))
        return unknown

    def count(self) -> int:
        return int(self._do(lambda: self._shard.count(self._edge.CountRequest(exact=True))))

    def get(self, ids: list[str]) -> Block:
        keys = [_key(i) for i in ids]
        return _block(self._do(lambda: self._shard.retrieve(keys, with_payload=True, with_vector=True)), self.dim)

    def near(self, z: np.ndarray, wanted: int, width: int, among: list[str] | None) -> list[Block]:
        edge = self._edge
        only = None if among is None else edge.Filter(must=[edge.HasIdCondition({_key(i) for i in among})])
        how = edge.SearchParams(hnsw_ef=width)
        asked = [
            edge.QueryRequest(
                limit=wanted, query=edge.Query.Nearest(q), filter=only, params=how, with_vector=True, with_payload=True
            )
            for q in z.tolist()
        ]
        found = self._do(lambda: self._shard.query_batch(edge.QueryBatchRequest(asked)))
        return [_block(points, self.dim) for points in found]

    def blocks(self, vectors: bool) -> Iterator[Block]:
        after: Any = None
        while True:
            ask = self._edge.ScrollRequest(offset=after, limit=ROWS_A_BLOCK, with_payload=True, with_vector=vectors)
            points, after = self._do(lambda ask=ask: self._shard.scroll(ask))
            if points:
                yield _block(points, self.dim)
            if after is None:
                return

    def index(self) -> None:
        self._do(self._shard.optimize)

    def settle(self) -> None:
        self._do(self._shard.flush)

    def ready(self) -> None:
        self.count()

    def remove(self) -> None:
        self._shard.close()
        shutil.rmtree(self.place, ignore_errors=True)

    def bytes(self) -> int:
        return 0


class Collection:
    """A `Store` in a collection of a server, by qdrant-client.

    Args:
        place: http://HOST:PORT.
        dim: width of a new one; None opens what is there.
        settings: links and construction.
    """

    def __init__(self, place: str, name: str, dim: int | None, settings: tuple[int, int]) -> None:
        require("qdrant_client", "the index qdrant")
        from qdrant_client import models

        self.place, self.name, self._settings, self._models = place, name, settings, models
        self._client = self._do(lambda: connect(place))
        if dim is None:
            found = self._do(lambda: self._client.get_collection(name))
            self.dim = int(found.config.params.vectors.size)
            return
        self.dim = dim
        vectors = models.VectorParams(size=dim, distance=models.Distance.DOT)
        graph = models.HnswConfigDiff(m=settings[0], ef_construct=settings[1])
        self._do(lambda: self._client.create_collection(name, vectors_config=vectors, hnsw_config=graph))

    def _do(self, call: Callable[[], R]) -> R:
        from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

        try:
            return call()
        except (ResponseHandlingException, ConnectionError, TimeoutError) as error:
            raise BackendAwayError(f"Qdrant at {self.place} does not answer: {error}. Try again later") from None
        except UnexpectedResponse as error:
            said = f"{error.status_code} {error.reason_phrase}"
            if (error.status_code or 0) >= SERVERS_FAULT:
                raise BackendAwayError(f"Qdrant at {self.place} does not answer: {said}. Try again later") from None
            raise DataError(f"Qdrant at {self.place} refuses this of {self.name}: {said}") from None
        except ValueError as error:
            raise DataError(f"Qdrant at {self.place} refuses this of {self.name}: {error}") from None

    def put(self, ids: list[str], z: np.ndarray) -> None:
        for start in range(0, len(ids), ROWS_A_CALL):
            piece, rows = ids[start : start + ROWS_A_CALL], z[start : start + ROWS_A_CALL].tolist()
            points = [
                self._models.PointStruct(id=str(_key(i)), vector=row, payload={"id": i})
                for i, row in zip(piece, rows, strict=True)
            ]
            self._do(lambda points=points: self._client.upsert(self.name, points=points, wait=True))

    def drop(self, ids: list[str]) -> list[str]:
        known = set(self.get(ids)[0])
        unknown = [i for i in ids if i not in known]
        if not unknown:
            keys = self._models.PointIdsList(points=[str(_key(i)) for i in ids])
            self._do(lambda: self._client.delete(self.name, points_selector=keys, wait=True))
        return unknown

    def count(self) -> int:
        return int(self._do(lambda: self._client.count(self.name, exact=True)).count)

    def get(self, ids: list[str]) -> Block:
        keys = [str(_key(i)) for i in ids]
        ask = lambda: self._client.retrieve(self.name, keys, with_payload=True, with_vectors=True)  # noqa: E731
        return _block(self._do(ask), self.dim)

    def near(self, z: np.ndarray, wanted: int, width: int, among: list[str] | None) -> list[Block]:
        models = self._models
        only = None
        if among is not None:
            only = models.Filter(must=[models.HasIdCondition(has_id=[str(_key(i)) for i in among])])
        how = models.SearchParams(hnsw_ef=width)
        asked = [
            models.QueryRequest(query=q, limit=wanted, filter=only, params=how, with_vector=True, with_payload=True)
            for q in z.tolist()
        ]
        found = self._do(lambda: self._client.query_batch_points(self.name, requests=asked))
        return [_block(answer.points, self.dim) for answer in found]

    def blocks(self, vectors: bool) -> Iterator[Block]:
        after: Any = None
        while True:
            points, after = self._do(
                lambda at=after: self._client.scroll(
                    self.name, offset=at, limit=ROWS_A_BLOCK, with_payload=True, with_vectors=vectors
                )
            )
            if points:
                yield _block(points, self.dim)
            if after is None:
                return

    def index(self) -> None:
        """The server makes its graph by itself."""

    def ready(self) -> None:
        self._do(lambda: self._client.get_collection(self.name))

    def remove(self) -> None:
        self._do(lambda: self._client.delete_collection(self.name))

    def bytes(self) -> int:
        return 0


def connect(place: str) -> Any:
    """A client of the server; its key comes from the environment."""
    from qdrant_client import QdrantClient

    return QdrantClient(url=place, api_key=os.environ.get(KEY) or None, timeout=SECONDS, check_compatibility=False)
