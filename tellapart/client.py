"""Ask a server of `tellapart serve` from Python, with nothing but the standard library."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import random
import secrets
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from tellapart.core.errors import BackendAwayError, DataError, TellapartError
from tellapart.core.version import VERSION
from tellapart.server.answers import Column, Item, Result, Results
from tellapart.server.limits import NoSuchItemError, TooLargeError, check_upload

AGAIN = (429, 503)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
KEPT_OPEN = 16
MOST_BYTES = 256 * 2**20
_ERRORS: dict[int, type[TellapartError]] = {
    400: DataError, 404: NoSuchItemError, 413: TooLargeError, 422: DataError, 503: BackendAwayError,
}  # fmt: skip
_LEFT = (http.client.RemoteDisconnected, http.client.BadStatusLine, ConnectionResetError, BrokenPipeError)


@dataclass(frozen=True)
class Written:
    """What is on the server's disk.

    Attributes:
        ids: of the items that were added, changed or deleted.
        items: how many items are searched now.
        notes: what one should know, in words.
    """

    ids: Sequence[str]
    items: int
    notes: Sequence[str] = ()


class Client:
    """A server, asked as a `Service` is; connections are kept open, and any number of threads may share one client.

    Where the server is busy, takes no more requests a second, or its database is away, the same is asked again: after
    as long as the server says (`Retry-After`), else after pauses that double.

    Args:
        address: such as "http://127.0.0.1:8000".
        key: where the server asks for one.
        timeout: seconds that one answer may take.
        tries: how often the same is asked in all.

    Raises:
        TellapartError: what the server says, in its words; or that it cannot be reached.
    """

    def __init__(self, address: str, *, key: str | None = None, timeout: float = 30.0, tries: int = 5) -> None:
        given = urlsplit(address if "://" in address else f"http://{address}")
        try:
            port = given.port
        except ValueError:
            port = -1
        if given.scheme not in ("http", "https") or not given.hostname or port == -1 or given.query or given.fragment:
            raise DataError(f"write the address as http://HOST:PORT, not {address!r}")
        if key is not None and not (key.isascii() and key.isprintable() and key):
            raise DataError("a key has letters, digits and signs alone; is this one copied whole?")
        if timeout <= 0 or tries < 1:
            raise DataError("timeout must be above 0, and tries at least 1")
        self.address = f"{given.scheme}://{given.netloc.rpartition('@')[2]}{given.path.rstrip('/')}"
        self._secure, self._host, self._port = given.scheme == "https", given.hostname, port
        self._path, self._timeout, self._tries = given.path.rstrip("/"), timeout, tries
        self._headers = {"user-agent": f"tellapart/{VERSION}", "accept": "application/json"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"
        self._open: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue(KEPT_OPEN)

    def search(
        self,
        words: str | None = None,
        image: bytes | str | Path | None = None,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        where: Mapping[str, Any] | None = None,
        k: int = 24,
        hybrid: bool = False,
        sparse: bool = False,
    ) -> Results:
        """The k nearest items to everything that was given, taken together; see `Service.search`.

        Args:
            image: a picture or a window of a recording (.npy): its bytes, or its file.
        """
        asked = {
            "words": words or "", "like": list(like), "unlike": list(unlike), "where": dict(where or {}), "k": k,
            "hybrid": hybrid, "sparse": sparse,
        }  # fmt: skip
        if image is None and not where:
            del asked["where"]
            asked |= {name: str(asked[name]).lower() for name in ("hybrid", "sparse")}
            found = self._ask("GET", f"/api/search?{urlencode(asked, doseq=True)}")
        else:
            own = None if image is None else ("image", _bytes(image))
            found = self._ask("POST", "/api/search", *_form({"query": _json(asked)}, own))
        lists = {
            name: [Result(r["id"], r["score"], r["probability"], r["passes"]) for r in found[name]]
            for name in ("results", "closest")
        }
        return Results(
            **lists,
            nothing_here=found["nothing_here"],
            searched=found["searched"],
            notes=tuple(found["notes"]),
            ranked=found["ranked"],
        )

    def item(self, id_: str) -> Item:
        """One item with its columns; an unknown id raises `NoSuchItemError`."""
        found = self._ask("GET", _item(id_))
        return Item(
            found["id"], found["modality"], found["caption"], found["text"], found["picture"] is not None,
            found["columns"],
        )  # fmt: skip

    def put(
        self,
        id_: str,
        columns: Mapping[str, Any] | None = None,
        *,
        file: bytes | str | Path | None = None,
        vector: Sequence[float] | None = None,
    ) -> Written:
        """Add an item, or change one; when this returns it is on the server's disk and can be found.

        Args:
            columns: values by column; None takes a value away, and columns that are not given stay as they are.
            file: its picture or window of a recording (.npy): the bytes, or a file.
            vector: in place of what the model would make of it.
        """
        asked = {"columns": dict(columns or {}), "vector": None if vector is None else [float(v) for v in vector]}
        if file is None:
            body, kind = _json(asked), "application/json"
        else:
            pieces = {name: _json(value) for name, value in asked.items() if value is not None}
            body, kind = _form(pieces, ("file", _bytes(file)))
        return _written(self._ask("PUT", _item(id_), body, kind))

    def delete(self, ids: str | Sequence[str]) -> Written:
        """Take an item away, or several, all or none; an unknown id raises `NoSuchItemError`."""
        if isinstance(ids, str):
            return _written(self._ask("DELETE", _item(ids)))
        return _written(self._ask("POST", "/api/items/delete", _json({"ids": list(ids)}), "application/json"))

    def columns(self) -> list[Column]:
        """The columns that can be filtered, with their values or ranges."""
        return [
            Column(c["name"], c["kind"], tuple((v, n) for v, n in c["values"]), c["low"], c["high"])
            for c in self._ask("GET", "/api/columns")["columns"]
        ]

    def ready(self) -> bool:
        """Whether the server should be asked now; False where it does not answer at all."""
        try:
            return bool(self._ask("GET", "/api/ready", tries=1)["ready"])
        except TellapartError:
            return False

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._open.get_nowait().close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "", *, tries: int | None = None
    ) -> Any:
        """What the server answers, asked again where it says so."""
        tries, pause = tries or self._tries, FIRST_PAUSE
        for left in range(tries - 1, -1, -1):
            status, after, content = self._answer(method, path, body, kind)
            if status not in AGAIN or not left or (after or 0) > LONGEST_PAUSE:
                break
            # many clients that were sent away together shall not come back together
            time.sleep(max(after or 0.0, pause) * random.uniform(1.0, 1.25))
            pause = min(2 * pause, LONGEST_PAUSE)
        try:
            told = json.loads(content)
        except ValueError:
            told = None
        if status >= 300 or told is None:
            words = told.get("error") or told.get("reason") if isinstance(told, dict) else None
            words = words or f"this is no answer of `tellapart serve` (HTTP {status})"
            raise _ERRORS.get(status, TellapartError)(f"{self.address}: {words}")
        return told

    def _answer(self, method: str, path: str, body: bytes | None, kind: str) -> tuple[int, float | None, bytes]:
        """Status, seconds to wait and content. A connection that was kept open may be closed by now: then a new one."""
        headers = {**self._headers, "content-type": kind} if kind else self._headers
        while True:
            connection, used = self._connection()
            try:
                connection.request(method, f"{self._path}{path}", body, headers)
                answer = connection.getresponse()
                content = answer.read(MOST_BYTES + 1)
            except TimeoutError:
                connection.close()
                raise TellapartError(f"{self.address} did not answer within {self._timeout:g} seconds") from None
            except _LEFT as error:
                connection.close()
                if used:
                    continue
                raise TellapartError(f"{self.address} closed the connection: {error}") from None
            except ssl.SSLError as error:
                connection.close()
                raise TellapartError(f"{self.address} cannot be trusted: {error}") from None
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                reason = "its name is not known" if isinstance(error, socket.gaierror) else str(error)
                raise TellapartError(f"{self.address} cannot be reached ({reason}); does the server run?") from None
            except BaseException:
                connection.close()
                raise
            if len(content) > MOST_BYTES:
                connection.close()
                raise TellapartError(f"{self.address} answers with more than {MOST_BYTES >> 20} MiB")
            self._keep(connection, answer)
            return answer.status, _seconds(answer.headers.get("retry-after")), content

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it was used before."""
        with contextlib.suppress(queue.Empty):
            return self._open.get_nowait(), True
        make = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return make(self._host, self._port, timeout=self._timeout), False

    def _keep(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        if answer.will_close:
            connection.close()
            return
        try:
            self._open.put_nowait(connection)
        except queue.Full:
            connection.close()


def _item(id_: str) -> str:
    return f"/api/items/{quote(id_, safe='')}"


def _bytes(file: bytes | str | Path) -> bytes:
    """The bytes of a file that is sent along, if they are not too many."""
    if isinstance(file, bytes):
        check_upload(len(file))
        return file
    try:
        with Path(file).open("rb") as source:
            check_upload(Path(file).stat().st_size)
            return source.read()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise DataError(f"this cannot be sent: {error}") from None


def _form(fields: Mapping[str, bytes], file: tuple[str, bytes] | None) -> tuple[bytes, str]:
    """Fields, and a file under its name, as the body of a form, and the kind of that body."""
    border = secrets.token_hex(16)
    pieces = [(f'name="{name}"', content) for name, content in fields.items()]
    if file is not None:
        pieces.append((f'name="{file[0]}"; filename="file"\r\nContent-Type: application/octet-stream', file[1]))
    head = f"--{border}\r\nContent-Disposition: form-data; "
    body = b"".join(f"{head}{named}\r\n\r\n".encode() + content + b"\r\n" for named, content in pieces)
    return body + f"--{border}--\r\n".encode(), f"multipart/form-data; boundary={border}"


def _written(found: Mapping[str, Any]) -> Written:
    return Written(tuple(found["ids"]), found["items"], tuple(found["notes"]))


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.strip().isdigit() else None
