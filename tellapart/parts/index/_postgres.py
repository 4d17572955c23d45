"""A table of vectors in PostgreSQL: connections made anew, batches in whole or not at all, pgvector's graph."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tellapart.core.errors import BackendAwayError, DataError, PartError
from tellapart.parts.index._remote import ROWS_A_BLOCK, Block

VARIABLE = "TELLAPART_POSTGRES"
CONNECT_SECONDS = 5
MOST_IDLE = 8
MOST_DIMENSIONS_OF_A_GRAPH = 2000
R = TypeVar("R")


def checked_address(address: str) -> dict[str, Any]:
    """The parts of an address; a password in it, or something that is no address, raises `PartError`."""
    try:
        parts = conninfo_to_dict(address)
    except psycopg.Error as error:
        raise PartError(f"address: not one of PostgreSQL: {str(error).strip()}") from None
    if parts.pop("password", None):
        raise PartError("address: leave the password out, it would be kept in files: set PGPASSWORD or use ~/.pgpass")
    return parts


class Pool:
    """Connections to one database, made when wanted and kept while idle.

    Args:
        address: without a password, or with one from the environment.
    """

    def __init__(self, address: str) -> None:
        parts = conninfo_to_dict(address)
        self.address = make_conninfo("", **{k: v for k, v in parts.items() if k != "password" and v not in ("", None)})
        defaults = {"connect_timeout": CONNECT_SECONDS, "application_name": "tellapart", "tcp_user_timeout": 10_000}
        self._conninfo = make_conninfo("", **{**defaults, **parts})
        self._idle: list[Any] = []
        weakref.finalize(self, _close_all, self._idle)
        self._lock, self._process = threading.Lock(), os.getpid()

    def where(self) -> str:
        parts = conninfo_to_dict(self.address)
        return f"PostgreSQL at {parts.get('host', 'the default place')}"

    def ask(self, call: Callable[[Any], R], *, again: bool = True) -> R:
        """What `call(connection)` gives. One that was idle and turns out dead is replaced once, where `again`."""
        connection = self._take()
        if connection is not None and not again and not self._lives(connection):
            connection = None
        fresh = connection is None
        connection = connection or self._connect()
        with self._words():
            try:
                found = call(connection)
            except psycopg.OperationalError:
                self._close(connection)
                if fresh or not again:
                    raise
            except BaseException:
                self._close(connection, all_idle=False)
                raise
            else:
                self._give(connection)
                return found
        return self.ask(call, again=again)

    def _lives(self, connection: Any) -> bool:
        try:
            connection.execute("SELECT 1")
        except psycopg.OperationalError:
            self._close(connection)
            return False
        return True

    @contextmanager
    def _words(self) -> Iterator[None]:
        try:
            yield
        except psycopg.OperationalError as error:
            raise BackendAwayError(f"{self.where()} does not answer: {_first_line(error)}. Try again later") from None
        except psycopg.Error as error:
            raise DataError(f"{self.where()} refuses this: {_first_line(error)}") from None

    def _connect(self) -> Any:
        from pgvector.psycopg import register_vector

        with self._words():
            connection = psycopg.connect(self._conninfo, autocommit=True)
            try:
                if psycopg.types.TypeInfo.fetch(connection, "vector") is None:
                    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
                register_vector(connection)
                connection.execute("SET hnsw.iterative_scan = relaxed_order")
            except psycopg.OperationalError:
                connection.close()
                raise
            except psycopg.Error as error:
                connection.close()
                raise DataError(
                    f"{self.where()} has no extension pgvector (0.8 or newer) that may be used: {_first_line(error)}. "
                    "Install it there and run: CREATE EXTENSION vector"
                ) from None
        return connection

    def _take(self) -> Any:
        with self._lock:
            if self._process != os.getpid():
                self._process = os.getpid()
                self._idle.clear()
            return self._idle.pop() if self._idle else None

    def _give(self, connection: Any) -> None:
        with self._lock:
            if len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _close(self, connection: Any, *, all_idle: bool = True) -> None:
        """Close a connection, and with it all that are as old: the server may be another by now."""
        with self._lock:
            old = list(self._idle) if all_idle else []
            if all_idle:
                self._idle.clear()
        _close_all([connection, *old])


class Table:
    """A `Store` in a table with the columns `id` and `z`."""

    def __init__(self, pool: Pool, name: str, dim: int, settings: tuple[int, int, int]) -> None:
        self.pool, self.name, self.dim, self.settings = pool, name, dim, settings
        self.address = pool.address
        self._table, self._graph = sql.Identifier(name), sql.Identifier(f"{name}_z")

    @staticmethod
    def create(address: str, name: str, dim: int, settings: tuple[int, int, int]) -> Table:
        """A new, empty table."""
        table = Table(Pool(address or os.environ.get(VARIABLE, "")), name, dim, settings)
        what = 'CREATE TABLE {} (id text COLLATE "C" PRIMARY KEY, z vector({}) NOT NULL)'
        table._do(table._sql(what, dim))
        return table

    @staticmethod
    def open(address: str, saved: str, name: str, settings: tuple[int, int, int]) -> Table:
        """A table that is there; the address is the option, or that of the environment, or the saved one."""
        table = Table(Pool(address or os.environ.get(VARIABLE, "") or saved), name, 0, settings)
        wanted = (
            "SELECT atttypmod FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) AND attname = 'z' "
            "AND atttypid = 'vector'::regtype"
        )
        found = table.pool.ask(lambda c: c.execute(wanted, (name,)).fetchone())
        if found is None:
            raise DataError(f"{table.pool.where()} has no table {name} of vectors: build the index again")
        table.dim = int(found[0])
        return table

    def beside(self, name: str) -> Table:
        """Another table of the same database."""
        return Table(self.pool, name, self.dim, self.settings)

    def versions(self) -> str:
        """Those of PostgreSQL and pgvector."""
        wanted = "SELECT current_setting('server_version'), extversion FROM pg_extension WHERE extname = 'vector'"
        server, extension = self.pool.ask(lambda c: c.execute(wanted).fetchone())
        return f"PostgreSQL {server.split()[0]}, pgvector {extension}"

    def put(self, ids: list[str], z: np.ndarray) -> None:
        """One transaction."""
        copy = "COPY pg_temp.coming (id, z) FROM STDIN WITH (FORMAT BINARY)"
        take = "INSERT INTO {} SELECT id, z FROM pg_temp.coming ON CONFLICT (id) DO UPDATE SET z = EXCLUDED.z"

        def call(connection: Any) -> None:
            with connection.transaction():
                connection.execute(f"CREATE TEMP TABLE coming (id text, z vector({self.dim})) ON COMMIT DROP")
                with connection.cursor().copy(copy) as out:
                    out.set_types(["text", "vector"])
                    for row in zip(ids, z, strict=True):
                        out.write_row(row)
                connection.execute(self._sql(take))

        self._check(ids)
        self.pool.ask(call)

    def drop(self, ids: list[str]) -> list[str]:
        """One transaction; never tried twice, for what is gone would be unknown then."""
        unknown = "SELECT i FROM unnest(%s::text[]) i WHERE NOT EXISTS (SELECT FROM {} t WHERE t.id = i) LIMIT 10"

        def call(connection: Any) -> list[str]:
            with connection.transaction() as transaction:
                gone = connection.execute(self._sql("DELETE FROM {} WHERE id = ANY(%s)"), (ids,)).rowcount
                if gone == len(ids):
                    return []
                raise psycopg.Rollback(transaction)
            return [row[0] for row in connection.execute(self._sql(unknown), (ids,)).fetchall()]

        self._check(ids)
        return self.pool.ask(call, again=False)

    def count(self) -> int:
        return int(self.pool.ask(lambda c: c.execute(self._sql("SELECT count(*) FROM {}")).fetchone())[0])

    def get(self, ids: list[str]) -> Block:
        known = [i for i in ids if "\0" not in i]
        what = self._sql("SELECT id, vector_send(z) FROM {} WHERE id = ANY(%s)")
        return self._block(self.pool.ask(lambda c: c.execute(what, (known,), binary=True).fetchall()))

    def near(self, z: np.ndarray, wanted: int, width: int, among: list[str] | None) -> list[Block]:
        where, more = ("", ()) if among is None else ("WHERE id = ANY(%s) ", ([i for i in among if "\0" not in i],))
        what = self._sql(f"SELECT id, vector_send(z) FROM {{}} {where}ORDER BY z <#> %s LIMIT %s")

        def call(connection: Any) -> list[Block]:
            width_there = min(width, 1000)
            if getattr(connection, "tellapart_width", None) != width_there:
                connection.execute(f"SET hnsw.ef_search = {width_there}")
                connection.tellapart_width = width_there
            rows = [connection.execute(what, (*more, q, wanted), binary=True, prepare=True).fetchall() for q in z]
            return [self._block(r) for r in rows]

        return self.pool.ask(call)

    def blocks(self, vectors: bool) -> Iterator[Block]:
        """Read page by page of ids, each a query of its own, so that no connection waits for who reads."""
        what = self._sql(f"SELECT id, {'vector_send(z)' if vectors else 'NULL::bytea'} FROM {{}} "
                         "WHERE id > %s ORDER BY id LIMIT %s")  # fmt: skip
        last = ""
        while True:
            rows = self.pool.ask(lambda c, at=last: c.execute(what, (at, ROWS_A_BLOCK), binary=True).fetchall())
            if not rows:
                return
            last = rows[-1][0]
            yield self._block(rows)

    def index(self) -> None:
        links, construction, memory = self.settings
        if self.dim > MOST_DIMENSIONS_OF_A_GRAPH:
            return
        what = "CREATE INDEX IF NOT EXISTS {graph} ON {} USING hnsw (z vector_ip_ops) WITH (m={}, ef_construction={})"

        def call(connection: Any) -> None:
            with connection.transaction():
                if memory:
                    connection.execute(f"SET LOCAL maintenance_work_mem = '{int(memory)}MB'")
                connection.execute(self._sql(what, links, max(construction, 2 * links), graph=self._graph))
            connection.execute(self._sql("ANALYZE {}"))

        self.pool.ask(call)

    def ready(self) -> None:
        self.pool.ask(lambda c: c.execute("SELECT 1"))

    def remove(self) -> None:
        self._do(self._sql("DROP TABLE IF EXISTS {}"))

    def bytes(self) -> int:
        what = "SELECT pg_total_relation_size(to_regclass(quote_ident(%s)))"
        return int(self.pool.ask(lambda c: c.execute(what, (self.name,)).fetchone())[0] or 0)

    def _do(self, what: Any) -> None:
        self.pool.ask(lambda c: c.execute(what))

    def _sql(self, text: str, *numbers: int, **named: Any) -> Any:
        return sql.SQL(text).format(self._table, *map(sql.Literal, numbers), **named)

    def _block(self, rows: list[tuple[str, bytes]]) -> Block:
        if not rows or rows[0][1] is None:
            return [r[0] for r in rows], np.zeros((len(rows), 0), np.float32)
        raw = np.frombuffer(b"".join(r[1] for r in rows), np.uint8).reshape(len(rows), -1)[:, 4:]
        return [r[0] for r in rows], raw.copy().view(">f4").astype(np.float32)

    @staticmethod
    def _check(ids: list[str]) -> None:
        if any("\0" in i for i in ids):
            raise DataError("PostgreSQL keeps no text with a zero byte: an id holds one")


def _close_all(connections: list[Any]) -> None:
    for one in connections:
        one.close()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
