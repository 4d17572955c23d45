"""What a model, and a reference that knows pixels alone, make of pictures before and after they are damaged."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tellapart.core import redraw
from tellapart.core.collection import Collection
from tellapart.core.corruptions import SEVERITIES, Corruption
from tellapart.core.crossfit import FEWEST, folds_of
from tellapart.core.cues import one_of_each
from tellapart.core.features import matrix, unit_rows
from tellapart.core.gradients import oriented_gradients
from tellapart.core.linear import ridge_map
from tellapart.core.report import Figure, Table

FOLDS, RIDGE, SIDE, PLACES, LARGEST, TILE = 4, 1.0, 24, 6, 256, 72
LEAST = 0.02

Looks = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Task:
    """What is asked of pictures: their label, their own text's first places, or their own place among all.

    Attributes:
        asked: in words; pool: rows that are known clean; drawn: [m] rows that are damaged, which are in the pool.
        classes: [m] of the drawn, for balanced errors; all 0 where there are none.
        said: names of the classes; empty where there are none.
        right: (features of the pool [p, f], of the drawn [times * m, f], once as they are or damaged in several ways,
            one after the other, whether these are pixels) -> ([times * m] right, [times * m] number of the answer).
    """

    asked: str
    pool: np.ndarray
    drawn: np.ndarray
    classes: np.ndarray
    said: list[str]
    right: Callable[[np.ndarray, np.ndarray, bool], tuple[np.ndarray, np.ndarray]]


def task_of(
    vectors: Mapping[str, Any], collection: Collection, by: str, items: int, most: int, k: int, seed: int
) -> Task:
    """Labels where there are some to tell, else the own text, else the picture itself again."""
    rng = np.random.default_rng(seed)
    n = len(collection)
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(n)
    if by in collection.columns:
        codes, names = collection.codes(by)
        count = np.bincount(codes[codes >= 0], minlength=len(names))
        known = np.flatnonzero((codes >= 0) & np.append(count >= FEWEST, False)[codes])
        if len(np.unique(codes[known])) > 1:
            return _labels(codes, [str(v) for v in names], known, groups, items, most, by, rng)
    split = collection.values("split") if "split" in collection.columns else []
    held = np.array([s == "test" for s in split], bool)
    pool, drawn = _drawn(np.flatnonzero(held) if held.any() else np.arange(n), groups, items, most, rng)
    place, group = np.searchsorted(pool, drawn), groups[pool]
    text = unit_rows(matrix(vectors["text"], what="text")) if "text" in vectors else None

    def found(known: np.ndarray, asked: np.ndarray, pixels: bool) -> tuple[np.ndarray, np.ndarray]:
        at = np.tile(place, len(asked) // len(place))
        others = group[at][:, None] != group
        a, b = unit_rows(known), unit_rows(asked)
        if text is None:
            return _first(np.einsum("md,md->m", b, a[at]), b @ a.T, others, k)
        t = text[pool]
        if pixels:
            a, b = _told(known, t, at, asked, group)
        return _first(np.einsum("md,md->m", t[at], b), t[at] @ a.T, others, k)

    what = "found by their text" if text is not None else "found again among all"
    nobody = np.zeros(len(drawn), np.int64)
    return Task(f"pictures {what}, among the first {k} of {len(pool)}", pool, drawn, nobody, [], found)


def _drawn(
    rows: np.ndarray, groups: np.ndarray, items: int, most: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    pool = np.sort(rng.choice(rows, min(most, len(rows)), replace=False))
    each = pool[one_of_each(groups[pool])]
    return pool, np.sort(rng.choice(each, min(items, len(each)), replace=False))


def _labels(
    codes: np.ndarray, names: list[str], known: np.ndarray, groups: np.ndarray, items: int, most: int, by: str,
    rng: np.random.Generator,
) -> Task:  # fmt: skip
    pool, drawn = _drawn(known, groups, items, most, rng)
    place, (kinds, y) = np.searchsorted(pool, drawn), np.unique(codes[pool], return_inverse=True)
    wanted = np.eye(len(kinds))[y]

    def told(known: np.ndarray, asked: np.ndarray, pixels: bool) -> tuple[np.ndarray, np.ndarray]:
        at = np.tile(place, len(asked) // len(place))
        _, scores = _told(known, wanted, at, asked, groups[pool])
        answer = scores.argmax(axis=1)
        return (answer == y[at]).astype(float), answer

    asked = f"{by} told from the other items"
    return Task(asked, pool, drawn, y[place], [names[c] for c in kinds], told)


def _told(
    known: np.ndarray, wanted: np.ndarray, at: np.ndarray, asked: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What a ridge regression onto the targets says of the pool and of the drawn, each by the folds it is not in."""
    x = np.concatenate([unit_rows(known), unit_rows(asked)]).astype(np.float64)
    fold = folds_of(group, FOLDS, np.random.default_rng(0))
    both, n = np.concatenate([fold, fold[at]]), len(known)
    out = np.zeros((len(x), wanted.shape[1]))
    for f in range(FOLDS):
        if (both == f).any() and (fold != f).any():
            out[both == f] = ridge_map(x[:n][fold != f], wanted[fold != f], RIDGE)(x[both == f])
    return out[:n], out[n:]


def _first(own: np.ndarray, scores: np.ndarray, others: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    above = (scores > own[:, None] + 1e-6) & others
    return (above.sum(axis=1) < k).astype(float), above.sum(axis=1)


def small(picture: Any) -> Image.Image:
    """An RGB picture of at most 256 pixels a side, which is what is damaged."""
    image = picture.convert("RGB")
    image.thumbnail((LARGEST, LARGEST))
    return Image.Image.copy(image)


def looks(pictures: Sequence[Image.Image]) -> Looks:
    """[n, 108] colours in 6 x 6 places and [n, 24, 24, 3] pixels, of which gradients are taken together."""
    squares = [p.resize((SIDE, SIDE), Image.Resampling.BOX) for p in pictures]
    places = [np.asarray(p.resize((PLACES, PLACES), Image.Resampling.BOX), np.float32).ravel() for p in squares]
    return np.stack(places) / 255, np.stack([np.asarray(p) for p in squares])


def reference(clean: Looks, damaged: Looks) -> tuple[np.ndarray, np.ndarray]:
    """Features without any weights, of the pool and of what is damaged: colours in places, oriented gradients."""
    n, middle = len(clean[0]), clean[0].mean(axis=0)
    gradients = oriented_gradients(np.concatenate([clean[1], damaged[1]]))
    colours = np.concatenate([clean[0], damaged[0]]) - middle
    both = np.concatenate([unit_rows(colours), unit_rows(gradients)], axis=1)
    return both[:n], both[n:]


def sheet(rows: Sequence[tuple[Corruption, Image.Image]], seed: int) -> str:
    """An SVG of pictures side by side: as they are, and at the five severities of one corruption each."""
    wide = (SEVERITIES + 1) * TILE
    whole = Image.new("RGB", (wide, len(rows) * TILE), "white")
    for row, (kind, picture) in enumerate(rows):
        for severity in range(SEVERITIES + 1):
            made = kind.at(picture, severity, np.random.default_rng([seed, severity])) if severity else picture
            made.thumbnail((TILE - 2, TILE - 2))
            whole.paste(made, (severity * TILE, row * TILE))
    held = io.BytesIO()
    whole.save(held, "JPEG", quality=80)
    source = "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode()
    size = f'width="{wide}" height="{len(rows) * TILE}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><image href="{source}" {size}/></svg>'


def _errors(task: Task, wrong: np.ndarray, times: np.ndarray) -> np.ndarray:
    """1 - balanced accuracy of each column, of items that count so often."""
    of = (np.unique(task.classes)[:, None] == task.classes) * times
    there = of.sum(axis=1) > 0
    found: np.ndarray = (of[there] @ wrong / of[there].sum(axis=1, keepdims=True)).mean(axis=0)
    return found


def summed(
    task: Task, wrong: np.ndarray, base: np.ndarray, kinds: list[Corruption], severity: np.ndarray, seed: int
) -> list[Any]:
    """BE and rBE with their intervals, and the table of all corruptions; column 0 is clean."""
    each, ones = np.arange(len(wrong)), np.ones(len(wrong))

    def parts(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ours, theirs = _errors(task, wrong, times), _errors(task, base, times)
        more, theirs_more = ours[1:] - ours[0], theirs[1:] - theirs[0]
        be = ours[1:] / np.where(theirs[1:] > 0, theirs[1:], np.nan)
        return be, np.where(theirs_more >= LEAST, more / np.where(theirs_more >= LEAST, theirs_more, 1), np.nan)

    def mean(which: int) -> Any:
        return lambda times: float(np.nanmean(v)) if np.isfinite(v := parts(times)[which]).any() else float("nan")

    found: list[Any] = []
    for which, name in enumerate(("BE", "rBE")):
        value = mean(which)(ones)
        if np.isfinite(value):
            ends = redraw.interval(mean(which), each, seed=seed, draws=200, ends=(-np.inf, np.inf))
            note = "error over that of colours and gradients" + (", beyond the clean error" if which else "")
            found.append(Figure(name, value, *ends, count=len(wrong), note=note))
    ours, theirs = _errors(task, wrong, ones), _errors(task, base, ones)
    clean = redraw.interval(lambda times: float(_errors(task, wrong, times)[0]), each, seed=seed, draws=200)
    found.insert(0, Figure("error, clean", float(ours[0]), *clean, count=len(wrong), note="1 - balanced accuracy"))
    be, rbe = (np.where(np.isfinite(v), v, np.nan) for v in parts(ones))
    rows = []
    for c, kind in enumerate(kinds):
        at = 1 + (severity - 1 + c) % SEVERITIES
        by = [float(wrong[at == s, c + 1].mean()) for s in range(1, SEVERITIES + 1)]
        ratios = [None if np.isnan(v) else float(v) for v in (be[c], rbe[c])]
        rows.append([kind.name, kind.family, *by, float(ours[c + 1]), float(theirs[c + 1]), *ratios])
    head = ["corruption", "family", *(f"at {s}" for s in range(1, SEVERITIES + 1)), "error", "reference", "BE", "rBE"]
    note = (
        f"share wrong; clean {ours[0]:.2f}, reference {theirs[0]:.2f}; {len(wrong) // SEVERITIES} pictures a severity"
    )
    return [*found, Table("Errors by corruption and severity", head, rows, note)]
