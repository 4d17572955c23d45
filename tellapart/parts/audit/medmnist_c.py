"""What a model still gets right of pictures that were damaged as pictures are: in fourteen ways, of five severities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.chance import mean_above
from tellapart.core.collection import Collection
from tellapart.core.corruptions import SEVERITIES, Corruption, Source, corruptions
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Picture, Report, Text
from tellapart.parts.audit._corrupted import Task, looks, reference, sheet, small, summed, task_of

_FEWEST, _SHOWN, _ROWS = 40, 12, 6


@part(
    paper="Di Salvo, Doerrich, Ledig: MedMNIST-C: Comprehensive benchmark and improved classifier robustness by "
    "simulating realistic image corruptions, arXiv 2406.17536, 2024",
    place="audit",
    system="medmnist-c",
    traits=("image", "pictures", "image-encoder", "long"),
    aliases=("corruptions",),
)
def medmnist_c(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    source: Source = "any",
    by: str = "label",
    but: str = "",
    items: Annotated[int, Field(ge=40, le=2000)] = 60,
    pool: Annotated[int, Field(ge=100, le=5000)] = 600,
    k: Annotated[int, Field(ge=1, le=1000)] = 10,
) -> Report:
    """What becomes of a model's answers when pictures are saved too small, dark, blurred, noisy, stained.

    Formula, for corruption c at severity s of 1 to 5, with error = 1 - balanced accuracy:
        BE_c  = sum_s error[c, s] / sum_s reference[c, s]
        rBE_c = sum_s (error[c, s] - error[clean]) / sum_s (reference[c, s] - reference[clean])
        BE, rBE = their means over c; above 1 is worse than the reference.
    The published reference is AlexNet; here it is what can be had of any collection, a ridge regression on colours in
    6 x 6 places and oriented gradients. Where it loses less than 2% to a corruption, there is no rBE of it.

    What was changed: the registry is that of web files, photographs and scans (`core.corruptions`; `source` chooses)
    instead of medical instruments. Every drawn picture is damaged once in each way, at one of the five severities, so
    that sums over s are means over pictures.

    What is asked, of the same pictures before and after: the label `by`, told by a ridge regression on the clean
    vectors of other items; without labels the picture found by its own text (`text`), among the first `k` of `pool`;
    without texts the clean picture found again by the damaged one. p is of a sign test on the pictures that changed.

    Use it before pictures come from somewhere else than those it was made of. Every model loses something at severity
    5, so it is run where it is named (trait `long`), not in every audit; compare two models with `--against`, or look
    from which severity on it begins. `targeted-corruptions` trains on what is looked for here.

    Args:
        vectors: `image` [n, d], `pictures`, `image-encoder`; `text` [n, d] where there are no labels.
        source: any, web, photo or scan: what pictures of that kind suffer.
        but: names of corruptions or families to leave out, with "|" between.
        items: how many pictures are damaged; it takes as many encodings as there are corruptions for each.

    Raises `DataError` for rows that do not match, values that are not finite, or nothing left of the corruptions.
    """
    x = matrix(vectors.get("image"), what="image")
    pictures, encode = vectors.get("pictures"), vectors.get("image-encoder")
    if pictures is None or encode is None or not len(x) == len(collection) == len(pictures):
        raise DataError("as many vectors and pictures as items are needed, and what encodes them: audit pictures")
    kinds = corruptions(source, but)
    if not kinds:
        raise DataError(f"no corruption is left without {but!r}: leave out fewer")
    task = task_of(vectors, collection, by, items, pool, k, seed)
    report = Report("Damaged pictures", facts={"seed": seed, "items": len(task.drawn), "asked": task.asked})
    if len(task.drawn) < _FEWEST:
        few = f"{len(task.drawn)} pictures can be asked about, {_FEWEST} are needed"
        return report.add(Text(f"cannot tell: {few}", "verdict"))
    held = [small(pictures[row]) for row in task.pool.tolist()]
    clean = looks(held)
    place = np.searchsorted(task.pool, task.drawn)
    severity = 1 + np.random.default_rng(seed).permutation(len(place)) % SEVERITIES
    before, _ = task.right(x[task.pool], x[task.drawn], False)
    m, z, made, ats = len(place), [], [], []
    for c, kind in enumerate(kinds):
        ats.append(1 + (severity - 1 + c) % SEVERITIES)
        draws = [np.random.default_rng([seed, c, p]) for p in place]
        damaged = [kind.at(held[p], int(s), rng) for p, s, rng in zip(place, ats[c], draws, strict=True)]
        z.append(matrix(encode(damaged), dim=x.shape[1], what="what the encoder gives"))
        made.append(looks(damaged))
    after, answers = (v.reshape(-1, m).T for v in task.right(x[task.pool], np.concatenate(z), False))
    as_it_is = clean[0][place], clean[1][place]
    colours, squares = (np.concatenate([as_it_is[side], *(v[side] for v in made)]) for side in (0, 1))
    theirs = task.right(*reference(clean, (colours, squares)), True)[0].reshape(-1, m).T
    lost: list[list[Example]] = []
    for c, kind in enumerate(kinds):
        wrong = [i for i in np.argsort(ats[c], kind="stable") if before[i] and not after[i, c]]
        lost.append([_example(task, collection, i, kind, int(ats[c][i]), int(answers[i, c])) for i in wrong[:_SHOWN]])
        report.add(_finding(task, collection, kind, before, after[:, c], ats[c], lost[-1], seed))
    report.add(*summed(task, 1 - np.c_[before, after], 1 - theirs, kinds, severity, seed))
    worst = [c for c in np.argsort(after.mean(axis=0), kind="stable") if lost[c]][:_ROWS]
    if worst:
        rows = [(kinds[c], held[int(np.flatnonzero(collection.ids[task.pool] == lost[c][0].ids[0])[0])]) for c in worst]
        said = f"As it is and at severities 1 to 5, from the top: {', '.join(kinds[c].name for c in worst)}"
        report.add(Picture("What hurts most", said, svg=sheet([(c, p.copy()) for c, p in rows], seed)))
    return report


def _example(task: Task, collection: Collection, i: int, kind: Corruption, at: int, answer: int) -> Example:
    as_what = f"taken for {task.said[answer]}" if task.said else f"{answer} others before it"
    return Example([str(collection.ids[task.drawn[i]])], f"{kind.name} at severity {at}: {as_what}")


def _finding(
    task: Task, collection: Collection, kind: Corruption, before: np.ndarray, after: np.ndarray, at: np.ndarray,
    lost: list[Example], seed: int,
) -> Finding:  # fmt: skip
    drop, each = before - after, np.arange(len(before))
    low, high = redraw.interval(redraw.mean(drop), each, seed=seed, draws=200, ends=(-1.0, 1.0))
    hard = after[at == SEVERITIES].mean()
    said = (
        f"{kind.name} lowers what is right of the {len(drop)} pictures from {before.mean():.0%} to {after.mean():.0%}; "
        f"to {hard:.0%} at severity {SEVERITIES}."
    )
    return Finding(
        Figure(f"drop under {kind.name}", float(drop.mean()), low, high, len(drop)), said,
        mean_above(drop, each, seed=seed), ids=[str(i) for i in collection.ids[task.drawn]], values=drop.tolist(),
        examples=lost, mend="tellapart run {data} --set image=small-cnn --set tune=full "
        "--set augment=targeted-corruptions",
    )  # fmt: skip
