"""Easy and hard groups by a cue: within classes where there are some, of all items where there are none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.chance import difference, wilson
from tellapart.core.collection import Collection
from tellapart.core.cues import Cue, agreement, tags_of, together, usual
from tellapart.core.picture_cues import NAMES
from tellapart.core.report import Example, Figure, Finding

_SHOWN, _OF_A_GROUP, _TOO_FEW = 12, 10, 5
_MOVED = ("size", "place across", "place down")


@dataclass(frozen=True)
class Asked:
    """[n] what came out, which items groups are chosen on, and the classes where there are any."""

    right: np.ndarray
    first: np.ndarray
    ids: list[str]
    names: Sequence[str] = ()
    truth: np.ndarray | None = None
    said: np.ndarray | None = None


def of_words(collection: Collection, told: Asked, most: int) -> list[Cue]:
    """The tags, or words of captions, that go most with the classes (or with what is found) on the chosen part.

    Words of the classes' own names are left out.
    """
    if not most or not {"attributes", "tags", "text"} & set(collection.columns):
        return []
    held, _ = tags_of(collection)
    of_names = {part for name in told.names for part in re.findall(r"\w+", name.lower())}
    y = told.right.astype(int) if told.truth is None else told.truth
    count = Counter(tag for one in held for tag in one)
    found = []
    fit = (t for t, c in count.items() if 2 * _OF_A_GROUP <= c <= len(held) - 2 * _OF_A_GROUP)
    for tag in sorted(t for t in fit if t.lower() not in of_names):
        there = np.array([tag in one for one in held])
        share = np.bincount(y[told.first], there[told.first]) / np.maximum(1, np.bincount(y[told.first]))
        size, usual_share = np.bincount(y[told.first]), there[told.first].mean()
        beyond = float((size * (share - usual_share) ** 2).sum() / max(1e-9, usual_share * (1 - usual_share)))
        found.append((-beyond, Cue(f"word {tag!r}", there.astype(int), ["missing", "there"])))
    return [cue for _, cue in sorted(found, key=lambda one: (one[0], one[1].name))[:most]]


def of_classes(cue: Cue, told: Asked, table: list[list[Any]]) -> Finding | None:
    """The drop over all classes; rows of single classes are added to the table."""
    assert told.truth is not None and told.said is not None
    known = cue.codes >= 0
    a, b = told.first & known, ~told.first & known
    if not a.any() or not b.any():
        return None
    beyond = usual(cue.codes[a], told.truth[a], len(told.names), len(cue.values))
    codes, y, right = cue.codes[b], told.truth[b], told.right[b]
    agree = beyond[y, codes] > 0
    drop = agreement(right, agree, y)
    if drop is None:
        return _never_apart(cue, codes, y, beyond > 0, [told.ids[r] for r in np.flatnonzero(b)])
    for c in np.unique(y):
        here, there = right[agree & (y == c)], right[~agree & (y == c)]
        if min(len(here), len(there)) >= _OF_A_GROUP:
            shares = float(here.mean()), float(there.mean())
            table.append([cue.name, told.names[c], cue.values[beyond[c].argmax()], *shares, shares[0] - shares[1]])
    rows = np.flatnonzero(b)
    misled = [r for r in rows[~agree & (right == 0)] if beyond[told.said[r], cue.codes[r]] > 0]
    shown = []
    for r in misled[:_SHOWN]:
        as_what, value = told.names[told.said[r]], cue.values[cue.codes[r]]
        shown.append(Example([told.ids[r]], f"taken for {as_what}, whose {cue.name} is more often {value}"))
    sentence = (
        f"Items whose {cue.name} is not a usual one of their class are told right {drop.value:.0%} less often than "
        f"others of the class ({drop.inside} items with it, {drop.outside} without)."
    )
    figure = Figure(f"drop by {cue.name}", drop.value, drop.low, drop.high, drop.inside + drop.outside)
    p = max(drop.p, together(codes, y, beyond > 0))
    return Finding(
        figure, sentence, p, ids=[told.ids[r] for r in rows], values=drop.parts.tolist(), examples=shown,
        mend=_mend(cue),
    )  # fmt: skip


def _never_apart(cue: Cue, codes: np.ndarray, y: np.ndarray, usually: np.ndarray, ids: list[str]) -> Finding | None:
    """A cue that (nearly) always agrees: no drop can be measured, and nothing but the cue need have been learnt."""
    agree = usually[y, codes].astype(float)
    if len(y) - agree.sum() >= _TOO_FEW or usually[np.unique(y)].all(axis=0).any():
        return None
    by_value = np.bincount(codes, minlength=usually.shape[1]) / len(codes)
    by_chance = float((usually @ by_value)[y].mean())
    low, high = wilson(float(agree.mean()), len(agree))
    note = "how much more often the cue agrees with the class than by chance; no drop can be measured"
    figure = Figure(
        f"drop by {cue.name}", *(float(v) - by_chance for v in (agree.mean(), low, high)), len(agree), note=note
    )
    sentence = (
        f"Nearly all of {len(agree)} items have a usual {cue.name} of their class: whether it is all that was learnt "
        "cannot be told without items that differ."
    )
    p = together(codes, y, usually)
    return Finding(figure, sentence, p, ids=ids, values=(agree - by_chance).tolist(), mend=_mend(cue))


def of_pairs(cue: Cue, told: Asked, seed: int) -> Finding | None:
    """The value with most errors on the chosen part, against all others on the rest."""
    known = cue.codes >= 0
    a, b = told.first & known, ~told.first & known
    count = np.bincount(cue.codes[a], minlength=len(cue.values))
    missed = np.bincount(cue.codes[a], 1 - told.right[a], minlength=len(cue.values))
    if not count.any():
        return None
    # Half an error and half a hit more, so that a value of two items is not the hardest for two errors.
    value = int(np.where(count > 0, (missed + 0.5) / (count + 1), -1).argmax())
    rows = np.flatnonzero(b)
    found = difference(told.right[b], cue.codes[b] != value, rows, seed=seed, alternative="greater")
    if found is None:
        return None
    wrong = [r for r in rows if cue.codes[r] == value and not told.right[r]]
    sentence = (
        f"Items whose {cue.name} is {cue.values[value]} are found {found.value:.0%} less often than others "
        f"({found.outside} items against {found.inside})."
    )
    shown = [Example([told.ids[r]], f"{cue.name} {cue.values[value]}, not found") for r in wrong[:_SHOWN]]
    figure = Figure(f"drop by {cue.name}", found.value, found.low, found.high, len(rows))
    return Finding(
        figure, sentence, found.p, ids=[told.ids[r] for r in rows[found.unit]], values=found.parts.tolist(),
        examples=shown, mend=_mend(cue),
    )  # fmt: skip


def _mend(cue: Cue) -> str:
    """Training on pixels with what alters this cue; nothing alters a column."""
    if cue.name not in NAMES:
        return ""
    augment = "flip-crop" if cue.name in _MOVED else "randaugment"
    return f"tellapart run {{data}} --set image=small-cnn --set tune=full --set augment={augment}"
