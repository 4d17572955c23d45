from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tellapart.core.parts import part
from tellapart.parts.index._remote import RemoteIndex


@part(
    paper="Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using Hierarchical Navigable "
    "Small World graphs, TPAMI 2020",
    place="retrieve",
    traits=("recall-0.95", "database"),
    needs=("psycopg", "pgvector"),
    aliases=("postgres",),
)
class Pgvector(RemoteIndex):
    """Vectors in a table of a PostgreSQL that is there already, with pgvector's graph: for those who run one.

    Formula: the k greatest q · z_i; above 10,000 items the graph of `hnsw` (`links`, `construction`, `width`) proposes
    them inside the database and they are scored again here. `width=0` is chosen at build by the recall that is
    measured. Above 2,000 dimensions pgvector has no graph, and the database compares with all.

    `address` is `postgresql://USER@HOST:PORT/DATABASE` or `host=… dbname=…`, without a password: that comes from
    PGPASSWORD or the password file. Without an address TELLAPART_POSTGRES is read, which may hold one. Each build
    fills a table of its own, `TABLE_` and eight hexadecimal digits, columns `id` and `z`; the saved folder names it.

    What `add` and `delete` have returned from is committed: an add is in whole or not at all. A database that went
    away raises `BackendAwayError`; the next call connects anew. `memory` (MB) is what the build of the graph may take
    (maintenance_work_mem; 0: as the server is set). When to use: data and their rights live in PostgreSQL.

    Relations: `hnsw` is the same graph in this process, many times faster; `lancedb` keeps it in files.
    """

    def __init__(
        self,
        *,
        address: Annotated[str, Field(max_length=1000)] = "",
        table: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,47}$")] = "tellapart",
        links: Annotated[int, Field(ge=2, le=100)] = 16,
        construction: Annotated[int, Field(ge=32, le=1000)] = 100,
        width: Annotated[int, Field(ge=0, le=1000)] = 0,
        memory: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
    ) -> None:
        super().__init__()
        self.address, self.table, self.links, self.construction = address, table, links, construction
        self.width, self.memory = width, memory
        from tellapart.parts.index._postgres import checked_address

        checked_address(address)

    def _make(self, name: str, dim: int) -> Any:
        from tellapart.parts.index._postgres import Table

        return Table.create(self.address, name, dim, (self.links, self.construction, self.memory))

    def _open(self, version: Path, facts: dict[str, Any]) -> Any:
        from tellapart.parts.index._postgres import Table

        return Table.open(self.address, facts["address"], facts["name"], (self.links, self.construction, self.memory))

    def _told(self) -> dict[str, Any]:
        return {"address": self._store.address, "server": self._store.versions()}

    def _named(self, name: str) -> Any:
        return self._store.beside(name)
