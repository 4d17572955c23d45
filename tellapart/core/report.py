"""Figures with intervals, tables, pictures and examples: what every measuring step gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One number, its 95% interval and what it was counted over.

    Attributes:
        low, high: None where no interval can be given; `note` then says why.
        count: how many units (queries, items, seeds) the interval is over.
        unit: "" for a share or a plain number, otherwise "s", "items", …
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    count: int = 0
    unit: str = ""
    note: str = ""

    def __str__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.value:.3f}{interval}{unit}"


@dataclass(frozen=True)
class Table:
    """Rows under named columns; a cell is text, a number, a `Figure` or None."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """An SVG drawing or the path of an image file, with a caption that reads without it."""

    title: str
    caption: str
    svg: str = ""
    path: str = ""


@dataclass(frozen=True)
class Example:
    """Items of the collection side by side, and why they are shown; `names` say in words what the ids stand for."""

    ids: Sequence[str]
    why: str
    scores: Sequence[float] = ()
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Examples:
    """A titled list of examples."""

    title: str
    items: Sequence[Example]


@dataclass(frozen=True)
class Text:
    """A paragraph: a verdict, a warning, a next step."""

    text: str
    kind: str = "note"


@dataclass
class Report:
    """An ordered list of blocks under a title. Rendered by `tellapart.render` to terminal, JSON and HTML."""

    title: str
    blocks: list[Figure | Table | Picture | Examples | Text] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, *blocks: Figure | Table | Picture | Examples | Text) -> Report:
        """Append blocks; gives the report back."""
        self.blocks.extend(blocks)
        return self

    def figure(self, name: str) -> Figure:
        """The figure of that name."""
        for block in self.blocks:
            if isinstance(block, Figure) and block.name == name:
                return block
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON takes it."""
        return {
            "title": self.title,
            "facts": self.facts,
            "blocks": [{"block": type(b).__name__.lower(), **asdict(b)} for b in self.blocks],
        }
