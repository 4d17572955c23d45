"""Figures with intervals, tables, pictures and examples: what every measuring step gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


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
class Finding:
    """What an audit looked for: how much of it there is, how surely, what shows it, and what would mend it.

    It is made whether there is much of it or nothing; who reads all findings of a report says which are clear.

    Attributes:
        figure: its name is the finding's, in stable words: the findings of two models are compared by it.
        said: one sentence, for somebody who has not read the paper.
        p: the chance of a figure as bad or worse where nothing is wrong, of this finding alone.
        better: whether more of it is "higher" or "lower".
        ids, values: what the figure is the mean of, by item, so that two models can be compared item by item; empty
            where it is no mean.
        examples: items that show it, the worst first.
        mend: a command that would make it better, with {model} and {data} where their paths stand; "" where none does.
    """

    figure: Figure
    said: str
    p: float
    better: Literal["higher", "lower"] = "lower"
    ids: Sequence[str] = field(default=(), repr=False)
    values: Sequence[float] = field(default=(), repr=False)
    examples: Sequence[Example] = ()
    mend: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph: a verdict, a warning, a next step."""

    text: str
    kind: str = "note"


Block = Figure | Finding | Table | Picture | Examples | Text
APART = ("ids", "values")


@dataclass
class Report:
    """An ordered list of blocks under a title. Rendered by `tellapart.render` to terminal, JSON and HTML."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, *blocks: Block) -> Report:
        """Append blocks; gives the report back."""
        self.blocks.extend(blocks)
        return self

    def figure(self, name: str) -> Figure:
        """The figure of that name."""
        for figure in self.figures():
            if figure.name == name:
                return figure
        raise KeyError(name)

    def figures(self) -> list[Figure]:
        """All figures, those of findings among them."""
        found = [b.figure if isinstance(b, Finding) else b for b in self.blocks]
        return [figure for figure in found if isinstance(figure, Figure)]

    def findings(self) -> list[Finding]:
        """All findings."""
        return [block for block in self.blocks if isinstance(block, Finding)]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON takes it."""
        return {
            "title": self.title,
            "facts": self.facts,
            "blocks": [{"block": type(b).__name__.lower(), **_plain(b)} for b in self.blocks],
        }


def _plain(block: Block) -> dict[str, Any]:
    """A block as plain data; what a finding says of every single item is for comparing, and stays out."""
    held = asdict(block)
    return {name: held[name] for name in held if not (isinstance(block, Finding) and name in APART)}
