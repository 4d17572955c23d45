"""Rules that answer without looking: by the layout of boxes, or by what says nothing of an item's content.

What a rule solves is no proof of bias, since it solves some by chance; what it solves beyond chance is. `surplus` takes
so many of its items that the rest is solved as chance would.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection

_SMALL = """
    a all also although always an and any are as at be because both but by can cannot could did do does each either
    every few for from had has have he her his how i if in is it its just less many may me more most much must my
    never no nobody none nor not nothing of off on one only or other our out over she should so some than that the
    their them then there these they this those to too two under up very was we were what when where which while who
    why will with without would yes you your
"""
_BASES = """
    ask answer arrive award bring buy call carry cheer chase climb come cook dance deliver describe discuss drink
    drive eat embrace enter explain fall fight fly give go greet hear help hit hug hold interview introduce join jump
    keep kick kiss laugh lead lean leave lift listen live look make meet move offer open perform play point pose pray
    prepare present pull push put read receive ride run salute say see sell send serve shake show shout sign sing sit
    sleep smile speak stand stay take talk teach tell thank think throw toast touch try turn use visit wait walk watch
    wave wear welcome win work write
"""
_IRREGULAR = """
    am are be been being brought came did does done drove ate fell fought flew gave gone went had has have heard held is
    kept led left made met ran rode said sat saw sang sent shook shown slept sold spoke stood swam taken taught thought
    threw told took was were won wore worn wrote written can could may might must shall should will would
"""
_NOUNS = """
    wedding building evening morning king ring string spring thing something nothing anything wing ceiling painting
    clothing meeting beijing red bed united hundred shed during sibling
"""
SMALL_WORDS = _SMALL.split()
MARKS = "?!.,:;\"'()-/#@&%"
_JOINED = re.compile(r"(?:[\s,;&/+]|\band\b|\bor\b|\bwith\b)*", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """A picture of which the caption names regions.

    Attributes:
        row: of the collection; caption: its text.
        boxes: [m, 4] x, y, width, height of all its regions.
        right: the numbers of the boxes that are named, in the order of the caption.
        spans: where each of the names stands in the caption.
    """

    row: int
    caption: str
    boxes: np.ndarray
    right: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    @property
    def chain(self) -> int:
        """How many names follow each other with nothing but commas and conjunctions between."""
        longest = length = 1
        for (_, end), (start, _) in zip(self.spans, self.spans[1:], strict=False):
            length = length + 1 if _JOINED.fullmatch(self.caption[end:start]) else 1
            longest = max(longest, length)
        return longest

    @property
    def verb(self) -> bool:
        """Whether a word beside the names is a form of a common verb, or ends as one."""
        left = list(self.caption)
        for start, end in self.spans:
            left[start:end] = " " * (end - start)
        return any(is_verb(word) for word in re.findall(r"[^\W\d_]+", "".join(left)))


def named(collection: Collection) -> list[Named]:
    """Items of two or more regions whose caption has the name of one of them, written alike and with a capital.

    A name that two regions of a picture share tells nothing apart and is left out, and so is what begins with a small
    letter: kinds of things are known by their looks.
    """
    if not {"regions", "text"} <= set(collection.columns):
        return []
    found = []
    for row, (regions, text) in enumerate(zip(collection.values("regions"), collection.values("text"), strict=True)):
        regions, caption = regions or [], str(text or "")
        names = [str(region["name"] or "") for region in regions]
        said = []
        for number, name in enumerate(names):
            if name[:1].isupper() and names.count(name) == 1:
                where = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", caption)
                said += [(where.span(), number)] if where else []
        if len(regions) > 1 and said:
            said.sort()
            boxes = np.array([[region[side] for side in ("x", "y", "width", "height")] for region in regions])
            right, spans = tuple(number for _, number in said), tuple(span for span, _ in said)
            found.append(Named(row, caption, boxes, right, spans))
    return found


def _first_largest(boxes: np.ndarray, k: int) -> list[int]:
    return _largest(boxes)[:1]


def _big_to_small(boxes: np.ndarray, k: int) -> list[int]:
    return _largest(boxes)[:k]


def _left_to_right(boxes: np.ndarray, k: int) -> list[int]:
    return np.argsort(boxes[:, 0], kind="stable").tolist()[:k]


def _largest_left_to_right(boxes: np.ndarray, k: int) -> list[int]:
    return sorted(_largest(boxes)[:k], key=lambda number: (boxes[number, 0], number))


def _first_in_the_middle(boxes: np.ndarray, k: int) -> list[int]:
    middle = boxes[:, 0] + boxes[:, 2] / 2
    whole = (boxes[:, 0].min() + (boxes[:, 0] + boxes[:, 2]).max()) / 2
    return [int(np.argmin(np.abs(middle - whole)))]


def _largest(boxes: np.ndarray) -> list[int]:
    return np.argsort(-boxes[:, 2] * boxes[:, 3], kind="stable").tolist()


LAYOUTS: dict[str, Callable[[np.ndarray, int], list[int]]] = {
    "the first name is the largest box": _first_largest,
    "the names go from the largest box down": _big_to_small,
    "the names go from left to right": _left_to_right,
    "the names go from left to right through the largest boxes": _largest_left_to_right,
    "the first name is the box in the middle": _first_in_the_middle,
}


def by_layout(items: Sequence[Named]) -> tuple[np.ndarray, np.ndarray]:
    """([rules, n] bool which rule has all right that it says, [rules, n] the chance of that), rules as in `LAYOUTS`."""
    solved = np.zeros((len(LAYOUTS), len(items)), bool)
    chance = np.ones(solved.shape)
    for place, rule in enumerate(LAYOUTS.values()):
        for i, item in enumerate(items):
            said = rule(item.boxes, len(item.right))
            solved[place, i] = tuple(said) == item.right[: len(said)]
            chance[place, i] = 1 / np.prod(np.arange(len(item.boxes), len(item.boxes) - len(said), -1))
    return solved, chance


def beside_the_content(collection: Collection, *, position: bool) -> dict[str, np.ndarray]:
    """{what: [n, f]} numbers that say nothing of what an item is about; only those in which items differ.

    Args:
        position: whether the place in the file is one of them.
    """
    found: dict[str, np.ndarray] = {}
    columns = [name for name in ("text", "anchor", "positive") if name in collection.columns]
    if columns:
        texts = [[str(value or "") for value in collection.values(name)] for name in columns]
        lengths = [[count for text in row for count in (len(text), len(text.split()))] for row in zip(*texts)]  # noqa: B905
        found["the length of the text"] = np.array(lengths, float)
        small = []
        for row in zip(*texts, strict=True):
            words = [set(re.findall(r"[^\W\d_]+", text.lower())) for text in row]
            small.append(
                [word in has for has in words for word in SMALL_WORDS]
                + [mark in text for text in row for mark in MARKS]
                + [text[:1].isupper() for text in row]
            )
        found["small words and marks"] = np.array(small, float)
    if "image" in collection.columns:
        size = picture_sizes(collection.values("image"), collection.root)
        if size is not None:
            found["the size of the picture"] = np.column_stack([size, size[:, 0] / size[:, 1]])
    if position:
        found["the position in the file"] = np.arange(len(collection), dtype=float)[:, None]
    return {name: x for name, x in found.items() if len(x) and np.ptp(x, axis=0).any()}


def picture_sizes(pictures: Sequence[Any], root: str | Path | None) -> np.ndarray | None:
    """[n, 2] width and height as the files say them, unread; None where one says nothing."""
    from PIL import Image

    found = []
    for picture in pictures:
        try:
            source = io.BytesIO(picture) if isinstance(picture, bytes) else Path(root or ".") / str(picture)
            with Image.open(source) as opened:
                found.append(opened.size)
        except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
            return None
    return np.array(found, float)


def surplus(
    solved: np.ndarray, chance: np.ndarray, gone: np.ndarray, order: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Take from what a rule solves beyond chance, rule after rule, until none solves surely more than chance.

    The rule with the largest z = (solved - expected) / standard deviation goes first; of the a solved of n items with a
    mean chance c, (a - c n) / (1 - c) are taken: first those that most of the rules solve which reach the limit (what
    others solve by chance is not to be thinned out), then those of highest `order`.

    Args:
        solved, chance: [rules, n]; gone: [n] bool, what is taken already; order: [rules, n]; limit: the least z.

    Returns:
        [n] number of the rule by which an item is taken, -1 where it stays or was gone; [rules] whether a rule ever
        solved surely more than chance.
    """
    by, gone = np.full(solved.shape[1], -1), gone.copy()
    strong = np.zeros(len(solved), bool)
    for _ in range(solved.size):
        left = ~gone
        deviation = np.sqrt((chance * (1 - chance))[:, left].sum(axis=1))
        above = solved[:, left].sum(axis=1) - chance[:, left].sum(axis=1)
        z = np.divide(above, deviation, out=np.zeros(len(solved)), where=deviation > 0)
        rule = int(z.argmax()) if len(z) else 0
        if not len(z) or z[rule] < limit:
            break
        strong[rule] = True
        rows = np.flatnonzero(solved[rule] & left)
        rows = rows[np.lexsort((-order[rule, rows], -solved[z >= limit][:, rows].sum(axis=0)))]
        take = rows[: int(np.ceil(above[rule] / (1 - chance[rule, left].mean())))]
        by[take], gone[take] = rule, True
    return by, strong


def is_verb(word: str) -> bool:
    """Whether a word is a form of a common verb, or written small and ends as one."""
    if word in _NO_VERBS:
        return False
    return word in _VERBS or (word.islower() and len(word) > 4 and word.endswith(("ing", "ed")))


def _forms(base: str) -> list[str]:
    stem = base[:-1] if base.endswith("e") else base
    third = base + "es" if base.endswith(("s", "sh", "ch", "x", "o")) else base + "s"
    if base.endswith("y") and base[-2] not in "aeo":
        return [base, base[:-1] + "ies", base[:-1] + "ied", base + "ing"]
    return [base, third, stem + "ed", stem + "ing"]


_NO_VERBS = frozenset(_NOUNS.split())
_VERBS = frozenset([form for base in _BASES.split() for form in _forms(base)] + _IRREGULAR.split())
