"""What a search, an item and the pairs that are confused are told as; it knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tellapart.server.confusions import Confusion

Kind = Literal["choice", "number", "other"]


@dataclass(frozen=True)
class Result:
    """One item that was found.

    Attributes:
        score: similarity to the query, or what else gave the order (`Results.ranked`); None where
            nothing was asked for but a filter.
        probability: that it matches, where the model is calibrated for such a query.
        passes: whether the score reaches the threshold of the calibration; True where there is none.
    """

    id: str
    score: float | None = None
    probability: float | None = None
    passes: bool = True


@dataclass(frozen=True)
class Results:
    """What a search gives back.

    Attributes:
        results: best first.
        closest: what came nearest when nothing passed the threshold; `results` is empty then.
        nothing_here: whether the calibrated model says that the collection holds no match.
        searched: how many items were searched after the filters.
        notes: what the user should know, in words.
        ranked: what the scores come from: a chain of rank parts, or the fusion of two lists; "" where they are
            similarities.
    """

    results: Sequence[Result]
    closest: Sequence[Result] = ()
    nothing_here: bool = False
    searched: int = 0
    notes: Sequence[str] = ()
    ranked: str = ""


@dataclass(frozen=True)
class Item:
    """One item as it is shown.

    Attributes:
        modality: what it is found by: `image`, `text` or `series`.
        caption: a line that names it.
        text: what stands in it, for a text item; "" for any other.
        picture: whether it has a picture, or curves that are shown as one.
        columns: what else is known of it.
    """

    id: str
    modality: str
    caption: str
    text: str
    picture: bool
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column that can be filtered.

    Attributes:
        kind: `choice` has few values, which are listed; `number` has a range; `other` takes exact values only.
        values: (value, how many items) by falling count; for `choice` alone.
        low, high: smallest and largest number; for `number` alone.
    """

    name: str
    kind: Kind
    values: Sequence[tuple[Any, int]] = field(default_factory=tuple)
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Confused:
    """The pairs a model cannot tell apart.

    Attributes:
        pairs: the widest gap first.
        total: how many pairs there are in all.
        confused: how many queries have a wrong document at least as near as the right one.
        asked: how many queries were asked.
        of: how many items could have been asked.
    """

    pairs: Sequence[Confusion]
    total: int
    confused: int
    asked: int
    of: int


@dataclass
class Progress:
    """How far a long computation is: a share, and whether it runs."""

    share: float = 0.0
    running: bool = field(default=False)
