"""API keys: a file of names, rights, limits and hashes. The keys themselves stand nowhere."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import math
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Literal

from tellapart.core.errors import DataError, near
from tellapart.core.files import placed

Right = Literal["read", "write", "admin"]
RIGHTS: tuple[Right, ...] = ("read", "write", "admin")
MOST_KEYS = 1_000
MOST_BYTES = 1_000_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FIELDS = ("sha256", "right", "expires", "rate", "upload")

log = logging.getLogger("tellapart.server")


@dataclass(frozen=True)
class Key:
    """What is known of a key.

    Attributes:
        digest: SHA-256 of the key.
        right: the most that it may do; each right holds those before it.
        expires: from when on it is refused.
        rate: requests a second; None: as many as the server allows anybody.
        upload: MiB of one request; None: as many as the server takes.
    """

    name: str
    digest: bytes
    right: Right
    expires: datetime | None = None
    rate: float | None = None
    upload: float | None = None


def allows(have: Right, wanted: Right) -> bool:
    """Whether a right holds another."""
    return RIGHTS.index(have) >= RIGHTS.index(wanted)


class Keys:
    """The keys of a file, which is read again when it changes.

    A change that cannot be read is logged, and the keys from before stay in force.

    Raises:
        DataError: the file is missing, damaged, or others may read it.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        self._seen = _seen(self.file)
        self._keys = _read(self.file)

    def find(self, secret: str, *, now: datetime | None = None) -> Key:
        """The key with this secret.

        Every hash is compared, each in constant time.

        Raises:
            DataError: nobody has this key, or it has expired.
        """
        self._look()
        digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is None:
            raise DataError("this key is not known here; ask whoever runs this server for one")
        if found.expires is not None and (now or datetime.now(UTC)) >= found.expires:
            raise DataError(f"the key {found.name} has expired; ask whoever runs this server for another")
        return found

    def _look(self) -> None:
        seen = _seen(self.file)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys = _read(self.file)
        except DataError as error:
            log.error("the keys stay as they were: %s", error)


def new_key(file: str | Path, name: str, right: str, *, expires: str | None = None, rate: float | None = None) -> str:
    """A fresh key, whose hash is added to the file; the file is made where there is none. It is told only here.

    Raises:
        DataError: the name is taken or no name, there is no such right, or the file cannot be read.
    """
    file = Path(file)
    secret = f"ta_{secrets.token_urlsafe(32)}"
    fields: dict[str, Any] = {"sha256": hashlib.sha256(secret.encode()).hexdigest(), "right": right}
    fields |= {k: v for k, v in (("expires", expires), ("rate", rate)) if v is not None}
    _key(name, fields, file)
    if not file.parent.is_dir():
        raise DataError(f"there is no folder {file.parent} to keep keys in")
    with _alone(file.parent):
        keys = _read(file) if file.exists() else ()
        if any(k.name == name for k in keys):
            raise DataError(f"{file} has a key {name!r} already; take another name, or delete that one first")
        if len(keys) >= MOST_KEYS:
            raise DataError(f"{file} has {len(keys)} keys, which is the most; delete what is not used")
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        if file.suffix == ".json":
            held = json.loads(before) if before else {"keys": {}}
            held["keys"][name] = fields
            text = json.dumps(held, indent=2) + "\n"
        else:
            lines = "".join(f"{k} = {json.dumps(v)}\n" for k, v in fields.items())
            text = f"{before}{_gap(before)}[keys.{json.dumps(name)}]\n{lines}"
        with placed(file) as sink:
            os.fchmod(sink.fileno(), 0o600)
            sink.write(text.encode())
    return secret


def _gap(before: str) -> str:
    return "" if not before else "\n" if before.endswith("\n") else "\n\n"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else adds a key meanwhile; where the system has no such locks, that is not certain."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _seen(file: Path) -> tuple[int, ...]:
    """What changes with a file."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)


def _read(file: Path) -> tuple[Key, ...]:
    try:
        with file.open("rb") as source:
            found = os.fstat(source.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise DataError(f"--keys {file}: this is no file")
            if os.name == "posix" and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise DataError(f"others may read {file} or write to it; keep it to yourself with: chmod 600 {file}")
            data = source.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise DataError(
            f"there is no file {file}; make one with: tellapart serve --keys {file} --new-key NAME --right read"
        ) from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise DataError(f"{file} has more than {MOST_BYTES // 10**6} MB; is it a file of keys?")
    try:
        text = data.decode("utf-8")
        held = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is no {'JSON' if file.suffix == '.json' else 'TOML'}: {error}") from None
    named = held.get("keys") if isinstance(held, dict) else None
    if not isinstance(named, dict) or held.keys() - {"keys"}:
        raise DataError(f"{file} must hold a table [keys.NAME] for each key, and nothing else")
    if len(named) > MOST_KEYS:
        raise DataError(f"{file} has {len(named)} keys, and {MOST_KEYS} are the most")
    keys = tuple(_key(name, fields, file) for name, fields in named.items())
    if len({k.digest for k in keys}) < len(keys):
        raise DataError(f"{file} has one hash under two names; every key needs its own")
    return keys


def _key(name: str, fields: Any, file: Path) -> Key:
    where = f"{file}, key {name[:64]!r}"
    if not NAME.fullmatch(name):
        raise DataError(f"{where}: a name has 1 to 64 letters, digits, dots, dashes and underscores")
    if not isinstance(fields, Mapping):
        raise DataError(f"{where}: write it as a table [keys.{name}]")
    for given in fields:
        if given not in FIELDS:
            raise DataError(f"{where}: there is no field {given!r}; {near(given, FIELDS)}")
    digest, right = fields.get("sha256"), fields.get("right")
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise DataError(f"{where}: sha256 must be the 64 hexadecimal digits of the hash of the key")
    if right not in RIGHTS:
        raise DataError(f"{where}: right must be one of {', '.join(RIGHTS)}")
    rate, upload = (_amount(where, field, fields.get(field)) for field in ("rate", "upload"))
    return Key(name, bytes.fromhex(digest), right, _moment(where, fields.get("expires")), rate, upload)


def _amount(where: str, field: str, value: Any) -> float | None:
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value <= 1e6
        or not math.isfinite(value)
    ):
        raise DataError(f"{where}: {field} must be a number above 0")
    return float(value)


def _moment(where: str, value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    except (ValueError, AttributeError):
        raise DataError(f"{where}: expires must be a date such as 2027-01-31, or a moment in ISO 8601") from None
