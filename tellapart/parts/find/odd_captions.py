"""Captions that say nothing of their item."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.findings import Findings
from tellapart.core.parts import part

_PROPOSED = 0.5
_EMPTY = {
    "na", "nan", "none", "null", "nil", "unknown", "untitled", "nocaption", "notitle", "nodescription", "notext",
    "noname", "tba", "tbd", "todo", "undefined",
}  # fmt: skip
_FILE = re.compile(
    r"\S+\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|heic)|(?:img|dscn?|dscf|pict?|scan|screenshot)[\W_]*\d*"
    r"|(?:image|photo|picture|frame|vid|wp|pxl|mvimg)[\W_]*\d+|p\d{5,8}"
)


@part(
    paper="Schuhmann et al., LAION-5B: An open large-scale dataset for training next generation image-text models, "
    "NeurIPS 2022",
    place="curate",
    system="laion-5b",
    traits=("two-sides", "document"),
    aliases=("generic-captions",),
)
def odd_captions(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    shortest: Annotated[int, Field(ge=1, le=1000)] = 5,
    repeats: Annotated[int, Field(ge=2, le=100_000)] = 4,
    alike: Annotated[float, Field(gt=-1, lt=1)] = 0.1,
    usual: Annotated[float, Field(ge=0, le=1)] = 0.01,
) -> Findings:
    """Captions without words, captions that stand with many unlike items, and captions that are very short.

    Formula, for a caption of n letters and digits and the unit features u, centred, of what it stands with:
        blank: n = 0, a word such as "n/a" or "untitled", or the name of a picture's file: score 1, `drop`.
        short: n < `shortest`: score 1 - (n + 1) / (2 shortest), `look`.
        generic: one caption with m >= `repeats` items of different duplicate groups; with their mean cosine
            a = (|sum u|^2 - m) / (m (m - 1)), score (1 - a) / (1 - alike) / 2, at most 1, `drop`.
    An item has the largest of its scores, and is proposed from 1/2 on: where a <= `alike`. Where a larger share than
    `usual` of the captions that say something is short, that is what captions are like here, and no fault.

    LAION-5B drops every text of fewer than 5 characters (`usual=1`), which among names are "ox" and "cat". It looks at
    addresses and not at captions that repeat; here a name that many alike pictures share is no fault.

    Use it first, before anything is learnt: such pairs teach nothing, and a caption that fits all is everybody's wrong
    answer. Relations: `misfit-captions` finds captions that say something, of another item.

    Args:
        vectors: `document` [n, d], what the captions stand with.
        collection: of pairs that are searched with a text; `group` counts duplicates once, where it is there.

    Raises `DataError` for pairs without a text, rows that do not match, or values that are not finite.
    """
    sides = collection.sides()
    other = matrix(vectors.get("document"), what="document")
    if sides.same_space or sides.query.modality != "text":
        raise DataError("no side of these items is a text about the other one, so there are no captions to look at")
    if len(other) != len(collection):
        raise DataError(f"{len(collection)} items need as many rows of vectors, not {len(other)}")
    captions = collection.values(sides.query.column)
    said = [" ".join(unicodedata.normalize("NFKC", str(c or "")).casefold().split()) for c in captions]
    letters = np.array([_letters(text) for text in said])
    short = np.where(letters < shortest, 1 - (letters + 1) / (2 * shortest), 0.0)
    if ((letters > 0) & (letters < shortest)).mean() > usual:
        short[:] = 0.0
    group = collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))
    mean, count = _likeness(said, unit_rows(other - other.mean(axis=0)), group, repeats)
    generic = np.where(count >= repeats, np.clip((1 - mean) / (1 - alike) / 2, 0, 1), 0.0)
    blank = letters == 0
    scores = np.where(blank, 1.0, np.maximum(short, generic))
    reasons = []
    for row, score in enumerate(scores):
        if score < _PROPOSED:
            reasons.append("")
        elif blank[row]:
            reasons.append(f"its caption says nothing: {str(captions[row])[:60]!r}")
        elif generic[row] >= short[row]:
            unlike = f"{count[row]} items that are not alike (mean cosine {mean[row]:.2f})"
            reasons.append(f"its caption {str(captions[row])[:60]!r} stands with {unlike}")
        else:
            reasons.append(f"its caption is short: {captions[row]!r}")
    actions = ["drop" if b or g >= s else "look" for b, g, s in zip(blank, generic, short, strict=True)]
    return Findings.of("odd-captions", collection.ids, scores, shown=_PROPOSED, action=actions, reasons=reasons)


def _letters(text: str) -> int:
    """Letters and digits of a caption; 0 where it is a word for nothing or a file's name."""
    plain = "".join(c for c in text if c.isalnum())
    return 0 if plain in _EMPTY or _FILE.fullmatch(text) else len(plain)


def _likeness(said: list[str], u: np.ndarray, group: np.ndarray, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """([n] mean cosine between the items of a row's caption, [n] how many they are), duplicates counted once."""
    mean, count = np.ones(len(said)), np.ones(len(said), np.int64)
    rows_of: dict[str, list[int]] = {}
    for row, text in enumerate(said):
        rows_of.setdefault(text, []).append(row)
    for rows in rows_of.values():
        if len(rows) < repeats:
            continue
        own = np.array(rows)[np.unique(group[rows], return_index=True)[1]]
        m = len(own)
        count[rows] = m
        if m > 1:
            total = u[own].sum(axis=0)
            mean[rows] = (total @ total - (u[own] ** 2).sum()) / (m * (m - 1))
    return mean, count
