from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tellapart.core.parts import part
from tellapart.parts.index._local import FolderIndex


@part(
    paper="Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using Hierarchical Navigable "
    "Small World graphs, TPAMI 2020",
    place="retrieve",
    traits=("recall-0.95",),
    needs=("qdrant_client", "qdrant_edge"),
)
class Qdrant(FolderIndex):
    """Vectors in a Qdrant server, or, without an address, in the same engine inside this process.

    Formula: the k greatest q · z_i; the graph of `hnsw` (`links`, `construction`, `width`) proposes them and they are
    scored again here. `width=0` is chosen at build by the recall that is measured.

    Without `address` the engine's files lie in the saved folder, whole like any saved index; each process that opens
    them copies them. With one (http://HOST:PORT) each build fills a collection of its own, `TABLE_` and eight
    hexadecimal digits, which the saved folder names; a key comes from QDRANT_API_KEY. What `add` has returned from is
    kept by the server; an `add` of more than 500 vectors that is broken off may be there in part, and may be repeated.

    Ids are kept as payload `id` under their UUID (version 5). When to use: a Qdrant is there, or vectors outgrow one
    machine: it spreads a collection over several. Relations: `pgvector`, `lancedb`.
    """

    form, linked = "qdrant", False

    def __init__(
        self,
        *,
        address: Annotated[str, Field(pattern=r"^(https?://[^@?#\s]{1,500})?$")] = "",
        table: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,47}$")] = "tellapart",
        links: Annotated[int, Field(ge=4, le=128)] = 16,
        construction: Annotated[int, Field(ge=32, le=1000)] = 100,
        width: Annotated[int, Field(ge=0, le=1000)] = 0,
    ) -> None:
        super().__init__()
        self.address, self.table, self.links, self.construction = address, table, links, construction
        self.width = width

    @property
    def _elsewhere(self) -> bool:
        return bool(self.address)

    def _at(self, place: str, name: str, dim: int | None) -> Any:
        from tellapart.parts.index._qdrant import Collection, Shard

        settings = (self.links, self.construction)
        return Collection(place, name, dim, settings) if self.address else Shard(place, dim, settings)

    def _make(self, name: str, dim: int) -> Any:
        return self._at(self.address, name, dim) if self.address else super()._make(name, dim)

    def _open(self, version: Path, facts: dict[str, Any]) -> Any:
        return self._at(self.address, facts["name"], None) if self.address else super()._open(version, facts)

    def _named(self, name: str) -> Any:
        return self._at(self.address, name, None) if self.address else None
