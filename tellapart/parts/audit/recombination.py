"""How much an answer about a picture hangs on what is behind the thing, where it is, and how large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.chance import mean_above
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Picture, Report, Text
from tellapart.parts.audit._corrupted import Task, task_of
from tellapart.parts.audit._cutouts import sheet
from tellapart.parts.audit._recombined import ARMS, Scenes, by_place, ratio, scenes_of, share

_FEWEST, _SHOWN, _ROWS = 40, 12, 6
_SAID = {
    "same ground": "before the ground of another of their class", "another ground": "before another ground",
    "in the centre": "in the centre of their ground", "off the centre": "elsewhere on it", "smaller": "half as large",
    "larger": "up to twice as large", "as it is": "as they are",
}  # fmt: skip
_MENDS = dict.fromkeys(
    ("off the centre", "smaller", "larger"),
    "tellapart run {data} --set image=small-cnn --set tune=full --set augment=flip-crop",
)


@part(
    paper="Nauen, Moser, Raue, Frolov, Dengel: ForAug: Recombining Foregrounds and Backgrounds to Improve Vision "
    "Transformer Training with Bias Mitigation, arXiv 2503.09399, 2025",
    place="audit",
    system="foraug",
    traits=("image", "pictures", "image-encoder", "long"),
    aliases=("foraug", "centre-bias", "size-bias"),
)
def recombination(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    by: str = "label",
    grounds: Literal["items", "colours"] = "items",
    items: Annotated[int, Field(ge=40, le=2000)] = 96,
    pool: Annotated[int, Field(ge=100, le=5000)] = 600,
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
) -> Report:
    """What becomes of a model's answers when a thing is put before another ground, elsewhere on it, or resized.

    A thing is what is opaque, or else what differs from a rim of one colour; what was behind it is filled from its
    surroundings. Photographs whose rim has many colours need a picture with transparency. Of each picture are made
        another ground: in its place, before the ground of a picture of another class, beside one of the same class;
            without labels, before that of any other, beside the picture itself. `grounds='colours'`: an even one;
        off the centre: at half of the frame, in one of the eight places about the centre, beside it in the centre;
        smaller, larger: half as large, and up to twice (where it has room for a quarter more), in its place.
    A drop is mean [right beside] - [right so], over pictures; p is of a sign test on the pictures that changed.

        background robustness = accuracy(another ground) / accuracy(same ground)
        centre bias = 1 - (min accuracy at the sides + min accuracy in the corners) / (2 accuracy in the centre)

    as published (the second formula unverified); the least of four shares of few pictures is low by chance alone, so
    that the finding is of one place a picture. In the paper networks cut out things and paint in grounds; foreground
    focus, which needs gradients, is left out.

    What is asked, of the same things each time: the label `by`, told by a ridge regression on the vectors of other
    items; without labels the picture found by its own text (`text`), among the first `k` of `pool`; without texts the
    picture as it is found again.

    Use it before pictures come from other cameras or shops. Where all grounds are alike it cannot tell what they do,
    and says so: nothing was learnt from them, and `grounds='colours'` asks what another one does all the same. Most
    models lose something by a thing of half the size: it is run where it is named (trait `long`). In our record a
    planted ground or size always came first; drops of 60 things were within 5 and 8 points of those of 240 others.

    Relations: `counteranimal` asks which cue goes with the class, on the pictures as they are; `medmnist-c` damages
    them. `flip-crop` trains on things that are moved and resized.

    Args:
        vectors: `image` [n, d], `pictures` (with `opacity(row)` where some have any), `image-encoder`; `text` [n, d]
            where there are no labels.
        items: how many pictures; it takes up to seven encodings of each.

    Raises `DataError` for rows that do not match, or values that are not finite.
    """
    x = matrix(vectors.get("image"), what="image")
    pictures, encode = vectors.get("pictures"), vectors.get("image-encoder")
    if pictures is None or encode is None or not len(x) == len(collection) == len(pictures):
        raise DataError("as many vectors and pictures as items are needed, and what encodes them: audit pictures")
    task = task_of(vectors, collection, by, 4 * items, pool, k, seed)
    held = scenes_of(pictures, task.drawn, task.classes if task.said else None, grounds, items, seed)
    count = len(held.at)
    report = Report("Things before other grounds", facts={"seed": seed, "items": count, "asked": task.asked})
    if count < _FEWEST:
        report.add(Figure("things cut out", count, count=held.looked, note="a count has no interval"))
        why = f"of {held.looked} pictures {count} have transparency or a rim of one colour, {_FEWEST} are needed"
        return report.add(Text(f"cannot tell: {why}", "verdict"))
    right, answers = {}, {}
    for name, made in held.made.items():
        right[name], answers[name] = _answered(task, x, held, made, encode)
    report.add(share("right as they are", right["as it is"]))
    lost: list[tuple[int, str]] = []
    for name, beside in ARMS.items():
        which = held.asked[name]
        if len(which) < _FEWEST // 2:
            report.add(Text(f"cannot tell: {held.why[name]}", "verdict"))
            continue
        beside = beside if beside in right else "as it is"
        pair = right[beside][which], right[name][which]
        report.add(_finding((beside, name), task, collection, held.at[which], pair, answers[name][which], seed))
        lost += [(int(i), name) for i, drop in zip(which, pair[0] - pair[1], strict=True) if drop > 0][:2]
        if name == "another ground":
            report.add(*ratio("background robustness", *pair, seed))
    report.add(*by_place(held, right, seed))
    if lost:
        named = list(held.made)
        rows = [[held.made[name][i] for name in named] for i, _ in lost[:_ROWS]]
        report.add(Picture("What was made", f"From the left: {', '.join(named)}", svg=sheet(rows)))
    return report


def _answered(
    task: Task, x: np.ndarray, held: Scenes, made: Sequence[Image.Image], encode: Any
) -> tuple[np.ndarray, np.ndarray]:
    """[m] right and answers of the cut out; the other drawn items stand beside them as they are."""
    asked = x[task.drawn].copy()
    asked[held.place] = matrix(encode(list(made)), dim=x.shape[1], what="what the encoder gives")
    right, answer = task.right(x[task.pool], asked, False)
    return right[held.place], answer[held.place]


def _finding(
    names: tuple[str, str], task: Task, collection: Collection, rows: np.ndarray, pair: tuple[np.ndarray, np.ndarray],
    answer: np.ndarray, seed: int,
) -> Finding:  # fmt: skip
    drop, each = pair[0] - pair[1], np.arange(len(rows))
    low, high = redraw.interval(redraw.mean(drop), each, seed=seed, draws=200, ends=(-1.0, 1.0))
    before, after = (_SAID[name] for name in names)
    said = f"Of {len(rows)} things {pair[0].mean():.0%} are right {before}, and {pair[1].mean():.0%} {after}."
    ids = [str(i) for i in collection.ids[rows]]
    words = [f"taken for {task.said[a]}" if task.said else f"{a} others before it" for a in answer]
    worst = sorted(np.flatnonzero(drop > 0), key=lambda i: 0 if task.said else -int(answer[i]))[:_SHOWN]
    shown = [Example([ids[i]], f"{after}: {words[i]}") for i in worst]
    figure = Figure(f"drop {names[1]}", float(drop.mean()), low, high, len(rows))
    p = mean_above(drop, each, seed=seed)
    return Finding(figure, said, p, ids=ids, values=drop.tolist(), examples=shown, mend=_MENDS.get(names[1], ""))
