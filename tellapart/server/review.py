"""What the page of findings asks of a curated folder: the worst of each kind, and what is said; it knows no HTTP."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError, near
from tellapart.core.findings import FILE, Findings
from tellapart.core.parts import card_of
from tellapart.data.columns import WINDOWS
from tellapart.data.decisions import Decision, Said, add_decisions, read_decisions
from tellapart.server.limits import TEXT_CHARACTERS, NoSuchItemError
from tellapart.server.pictures import Pictures

PICTURE = "image"
TOLD = ("text", "anchor", "positive", "negative", "other_text", "title", "caption", "concept", "label", "source")
SHOWN = {"all": None, "open": "", "accept": "accept", "reject": "reject"}


@dataclass(frozen=True)
class Kind:
    """One kind of finding, and how far it is decided."""

    name: str
    about: str
    looked: int
    proposed: int
    accepted: int
    rejected: int


@dataclass(frozen=True)
class Seen:
    """An item as it is shown.

    Attributes:
        picture: whether it has one.
        texts: what is written in its columns, by column.
    """

    id: str
    picture: bool
    texts: dict[str, str]


@dataclass(frozen=True)
class Finding:
    """A proposal, and what was said of it; `other` is the item that it is the same as."""

    item: Seen
    score: float
    reason: str
    action: str
    to: str
    said: Said
    other: Seen | None


class Review:
    """A curated folder, looked through and decided on. Findings that are made anew meanwhile are read anew.

    Args:
        folder: what `tellapart curate DATA --out FOLDER` wrote.

    Raises:
        DataError: it holds no findings or no collection, or a damaged one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._writing = threading.Lock()
        self._held: tuple[Any, _Held] | None = None
        self._now()
        read_decisions(self.folder)

    @property
    def version(self) -> str:
        """Changes whenever the collection and its findings are written anew."""
        return self._now().version

    def kinds(self) -> list[Kind]:
        """Every kind that was looked for, those that propose most first."""
        held = self._now()
        said = Counter((d.kind, d.said) for d in read_decisions(self.folder) if d.item in held.rows.get(d.kind, {}))
        found = [
            Kind(
                name, _about(name), held.looked[name], len(held.rows.get(name, {})), said[name, "accept"],
                said[name, "reject"],
            )
            for name in held.shown
        ]  # fmt: skip
        return sorted(found, key=lambda kind: (kind.proposed == 0, kind.name))

    def worst(self, kind: str, *, shown: str = "all", start: int = 0, k: int = 24) -> tuple[list[Finding], int]:
        """`k` proposals of a kind from the `start`-th on, the surest first; and how many there are of those.

        Args:
            shown: `all`, or `open` (not decided yet), `accept` or `reject`.

        Raises:
            DataError: no such kind.
        """
        held = self._now()
        rows = held.of(kind, self.folder)
        said = {d.item: d.said for d in read_decisions(self.folder) if d.kind == kind}
        wanted = SHOWN[shown]
        items = [item for item in rows if wanted is None or said.get(item, "") == wanted]
        return [held.finding(rows[item], said.get(item, "")) for item in items[start : start + k]], len(items)

    def decide(self, kind: str, said: Said, item: str | None = None) -> None:
        """Say of one finding, or of all of a kind, what is right; in the same file as the command line does.

        Of all of a kind, `accept` and `reject` are said of those that nobody has decided yet, and `""` takes back all.

        Raises:
            DataError: no such kind, nothing is proposed of the item, or the file cannot be written.
        """
        rows = self._now().of(kind, self.folder)
        if item is not None and item not in rows:
            raise NoSuchItemError(f"{kind} does not propose anything of {item!r}; load the page anew")
        with self._writing:
            decided = {d.item for d in read_decisions(self.folder) if d.kind == kind}
            items = [item] if item is not None else [i for i in rows if not said or i not in decided]
            add_decisions(self.folder, [Decision(each, kind, said) for each in items])

    def picture(self, id_: str, size: int) -> bytes:
        """A WebP thumbnail of an item; see `Pictures.thumbnail`."""
        held = self._now()
        if id_ not in held.collection.row_of or held.pictures is None:
            raise NoSuchItemError(f"there is no picture of {id_[:80]!r} here")
        return held.pictures.thumbnail(id_, size)

    def _now(self) -> _Held:
        stamp = _stamp(self.folder / FILE)
        held = self._held
        if held is None or held[0] != stamp:
            held = self._held = (stamp, _Held(self.folder, "-".join(f"{n:x}" for n in stamp or ())))
        return held[1]


class _Held:
    """Collection and findings as they lay in the folder at a moment."""

    def __init__(self, folder: Path, version: str) -> None:
        findings = Findings.open(folder)
        self.collection, self.version = Collection.open(folder), version
        self.shown = list(findings.shown)
        self.looked = Counter(findings.table["kind"].to_pylist())
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        for row in findings.proposed().rows():
            if row["item"] in self.collection.row_of:
                self.rows.setdefault(str(row["kind"]), {})[str(row["item"])] = row

    def of(self, kind: str, folder: Path) -> dict[str, dict[str, Any]]:
        if kind not in self.shown:
            raise DataError(f"there are no findings of {kind[:80]!r} in {folder}; {near(kind, self.shown)}")
        return self.rows.get(kind, {})

    def finding(self, row: dict[str, Any], said: Said) -> Finding:
        other = row["to"] if row["action"] == "same-as" and row["to"] in self.collection.row_of else None
        return Finding(
            self.seen(row["item"]), row["score"], row["reason"], row["action"], row["to"], said,
            self.seen(other) if other is not None else None,
        )  # fmt: skip

    def seen(self, id_: str) -> Seen:
        row = self.collection.table.slice(self.collection.row_of[id_], 1)
        told = {name: row[name][0].as_py() for name in self._told}
        texts = {name: str(value)[:TEXT_CHARACTERS] for name, value in told.items() if value is not None}
        column = self._picture
        return Seen(id_, column is not None and row[column][0].is_valid, texts)

    @cached_property
    def pictures(self) -> Pictures | None:
        return Pictures(self.collection, self._picture) if self._picture is not None else None

    @cached_property
    def _picture(self) -> str | None:
        return next((name for name in (PICTURE, *WINDOWS) if name in self.collection.columns), None)

    @cached_property
    def _told(self) -> list[str]:
        return [name for name in TOLD if name in self.collection.columns]


def _about(kind: str) -> str:
    """What a part says of itself in one line; nothing where it is not installed any more."""
    try:
        return card_of("find", kind).summary
    except PartError:
        return ""


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        seen = file.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_mtime_ns, seen.st_size
