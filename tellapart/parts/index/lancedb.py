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
    needs=("lancedb",),
    aliases=("lance",),
)
class Lancedb(FolderIndex):
    """Vectors in a Lance table, in the run's folder or in object storage: for what outgrows memory or one machine.

    Formula: the k greatest q · z_i. Above 10,000 items cells with a graph over numbers of 8 bits propose `refine` x k
    of them (Lance's IVF_HNSW_SQ with `links` and `construction`), which are scored again in float32; all cells of at
    most 1,048,576 items are looked into. `width=0` is chosen at build by the recall that is measured.

    Without `uri` the table lies in the saved folder, whole like any saved index, and what is changed is kept by the
    next save. With one (a folder, s3://, gs://, az://) each build makes a table of its own there, changes are kept at
    once, and the folder names it; keys of the storage come from the environment, as its maker documents.

    When to use: more vectors than memory, or machines that share a storage. A query costs some milliseconds whatever
    it looks for. Relations: `hnsw` is many times faster in memory; `pgvector` and `qdrant` are served by a database.
    """

    form, linked = "lance", True

    def __init__(
        self,
        *,
        uri: Annotated[str, Field(pattern=r"^[^?#@]{0,1000}$")] = "",
        table: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,47}$")] = "tellapart",
        links: Annotated[int, Field(ge=4, le=128)] = 20,
        construction: Annotated[int, Field(ge=32, le=1000)] = 150,
        width: Annotated[int, Field(ge=0, le=1000)] = 0,
        refine: Annotated[int, Field(ge=1, le=100)] = 5,
    ) -> None:
        super().__init__()
        self.uri, self.table, self.links, self.construction = uri, table, links, construction
        self.width, self.refine = width, refine

    @property
    def _elsewhere(self) -> bool:
        return bool(self.uri)

    def _at(self, place: str, name: str, dim: int | None) -> Any:
        from tellapart.parts.index._lance import Table

        return Table(place, name, dim, (self.links, self.construction, self.refine), shared=bool(self.uri))

    def _make(self, name: str, dim: int) -> Any:
        return self._at(self.uri, name, dim) if self.uri else super()._make(name, dim)

    def _open(self, version: Path, facts: dict[str, Any]) -> Any:
        return self._at(self.uri, facts["name"], None) if self.uri else super()._open(version, facts)

    def _named(self, name: str) -> Any:
        return self._at(self.uri, name, None) if self.uri else None
