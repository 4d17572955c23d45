"""Episodes of conditional similarity: a reference, a condition in words, one right picture, wrong ones of two kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.tagging import COLOURS, kinds, words_of

TASKS = ("focus", "change")


@dataclass(frozen=True)
class Episodes:
    """Queries of one task.

    Attributes:
        reference: [n] rows; gallery: [n, g] rows, the right one first; words: n conditions.
    """

    reference: np.ndarray
    gallery: np.ndarray
    words: list[str]


def tags(collection: Collection, attribute: str, thing: str) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """({name: [n] codes}, {name: values}) of the attribute and of the thing; -1 where there is none.

    Named columns are taken as they are. Otherwise the attribute is the first adjective of each caption, colours before
    others, and the thing its first noun after it.
    """
    codes, values = {}, {}
    if attribute or thing:
        for name in (attribute, thing):
            of, found = collection.codes(name)
            texts = [str(value).strip() for value in found]
            codes[name] = np.array([c if c >= 0 and texts[c] else -1 for c in of])
            values[name] = texts
        return codes, values
    said = [_said(str(text or "")) for text in collection.values("text")] if "text" in collection.columns else []
    for place, name in enumerate(("kind", "thing")):
        found = sorted({pair[place] for pair in said if pair})
        number = {word: at for at, word in enumerate(found)}
        codes[name] = np.array([number[pair[place]] if pair else -1 for pair in said], int)
        values[name] = found
    return codes, values


def _said(text: str) -> tuple[str, str] | None:
    words = [word.lower() for word in words_of(text)]
    kind = kinds(words)
    able = [at for at, found in enumerate(kind) if found == "adjective"]
    able.sort(key=lambda at: words[at] not in COLOURS)
    for at in able:
        noun = next((place for place in range(at + 1, len(words)) if kind[place] == "noun"), None)
        if noun is not None:
            return words[at], words[noun]
    return None


def episodes(
    task: str, wanted: np.ndarray, kept: np.ndarray, name: str, values: Sequence[str], groups: np.ndarray, *,
    most: int, wrong: int, rng: np.random.Generator,
) -> Episodes:  # fmt: skip
    """Up to `most` episodes about one tag, each reference once, and one of a duplicate group.

    change: the words are another value of `wanted`; right: this value, and what the reference is in `kept`; wrong, half
    each: as the reference in `kept` with other values, and of this value with another `kept`.
    focus: the words are the name of the tag; right: the value of the reference, with another `kept`; wrong, half each:
    as the reference in `kept` with other values, and neither.
    Nothing of the reference's duplicate group is in a gallery.
    """
    both = np.flatnonzero((wanted >= 0) & (kept >= 0))
    reference, gallery, words = [], [], []
    _, alone = np.unique(groups[both], return_index=True)
    for row in rng.permutation(both[alone]):
        if len(reference) == most:
            break
        rest = both[groups[both] != groups[row]]
        w, k = wanted[rest], kept[rest]
        if task == "change":
            able = np.unique(w[(k == kept[row]) & (w != wanted[row])])
            if not len(able):
                continue
            asked = int(rng.choice(able))
            right, same = rest[(k == kept[row]) & (w == asked)], rest[(k == kept[row]) & (w != asked)]
            other, said = rest[(k != kept[row]) & (w == asked)], values[asked]
        else:
            right, same = rest[(k != kept[row]) & (w == wanted[row])], rest[(k == kept[row]) & (w != wanted[row])]
            other, said = rest[(k != kept[row]) & (w != wanted[row])], name
        if not len(right) or len(same) < wrong or len(other) < wrong:
            continue
        beside = [rng.choice(some, wrong, replace=False) for some in (same, other)]
        reference.append(row)
        gallery.append([rng.choice(right), *np.concatenate(beside)])
        words.append(said)
    width = 1 + 2 * wrong
    return Episodes(np.array(reference, int), np.array(gallery, int).reshape(-1, width), words)


def places(scores: np.ndarray) -> np.ndarray:
    """[n] place of the first column among [n, g] scores, from 1; of ties in the middle."""
    own = scores[:, :1]
    ahead, tied = (scores > own + 1e-9).sum(1), (np.abs(scores - own) <= 1e-9).sum(1)
    found: np.ndarray = 1 + ahead + (tied - 1) / 2
    return found
