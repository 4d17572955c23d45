"""Pictures that are copies of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core.aligned import apart, outlines, placed, refined, whole
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.findings import Findings
from tellapart.core.parts import make, part

_NEAR, _EXACT_UP_TO, _SAME_WORDS, _BLOCK = 10, 20_000, 32, 1024
_ROUGHLY, _FAR = {True: 0.75, False: 0.88}, {True: 0.1, False: 0.35}
_OTHER_NAME = 6


@part(
    paper="Douze et al., The 2021 Image Similarity Dataset and Challenge, arXiv 2106.09672",
    place="curate",
    traits=("pixels", "pictures"),
    aliases=("near-copies",),
)
def copies(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    surely: Annotated[float, Field(gt=0, le=1)] = 0.94,
) -> Findings:
    """Pictures that were made of another one: smaller, cut at the edges, compressed, in other colours.

    Compared are items whose features are near (each with 10 others) or whose texts are equal. One picture is laid over
    the best cut of the other, at most 12% from each edge, so that the outlines agree:
        r = correlation of the outlines; d = greatest difference of colours or outlines in one of 36 blocks.
        score = (1 + r) / 2 where both have one text, 1 - d where a text is missing or shared by more than 32 items,
        and 1 - 6d where the texts differ; 1 where curation has put both into one group.
    From `surely` on the later item is taken for the `same-as` the earlier one that it agrees with best.

    Equal outlines in other colours under another text are another thing (a red and a blue heart, the flags of Italy and
    Ireland), under the same text they are a copy. Without texts copies in other colours are therefore not found, nor
    are mirrored and turned ones anywhere. Pictures of a few pixels (28 x 28) change too much when they are made smaller
    or cut: of copies of such, under names that hundreds share, almost none is found.

    From the challenge: the kinds of changes, and to look for candidates first and compare each pair then. The
    comparison is of this part.

    Args:
        vectors: `pixels` [n, 64, 64, 3] uint8, and `pictures` [n, d], their features.
        collection: of pictures, curated (`group`) or not.

    Raises `DataError` for items that are no pictures, rows that do not match, or values that are not finite.
    """
    if not {"pixels", "pictures"} <= set(vectors):
        raise DataError("copies are of pictures, and these items have none")
    n, pixels = len(collection), vectors["pixels"]
    x = unit_rows(matrix(vectors["pictures"], what="pictures"))
    lines = outlines(pixels)
    if not len(x) == len(pixels) == n:
        raise DataError(f"{len(x)} vectors and {len(pixels)} pictures do not fit {n} items")
    said = _words(collection)
    score, kept, reason = np.zeros(n), [""] * n, [""] * n
    group = collection.codes("group")[0] if "group" in collection.columns else np.arange(n)
    first: dict[int, int] = {}
    for row, number in enumerate(group.tolist()):
        if (before := first.setdefault(number, row)) != row:
            score[row], kept[row] = 1.0, str(collection.ids[before])
            reason[row] = "the same picture, pixel by pixel or nearly so"
    wholes = np.stack([whole(line) for line in lines])
    for row, others in _candidates(x, said, group):
        agreed, boxes = placed(wholes[others], lines[row])
        for other, roughly, box in zip(others.tolist(), agreed.tolist(), boxes, strict=True):
            later, earlier = max(row, other), min(row, other)
            same = bool(said[row]) and said[row] == said[other]
            if roughly < _ROUGHLY[same] or score[later] == 1.0:
                continue
            weight = _OTHER_NAME if said[row] and said[other] else 1
            if not same and apart(pixels[other], pixels[row], box) > _FAR[weight > 1]:
                continue
            shape, box = refined(lines[other], lines[row], box)
            found = (1 + shape) / 2 if same else 1 - weight * apart(pixels[other], pixels[row], box)
            found = min(found, 0.9999)
            if found > score[later]:
                words = "in outline, under the same text," if same else "in every part"
                score[later], kept[later] = found, str(collection.ids[earlier])
                reason[later] = f"laid over each other, the two agree {words} to {found:.1%}"
    enough = score >= surely
    to = [other if good else "" for other, good in zip(kept, enough, strict=True)]
    actions = ["same-as" if good else "look" for good in enough]
    return Findings.of("copies", collection.ids, score, shown=surely, action=actions, reasons=reason, to=to)


def _words(collection: Collection) -> list[str]:
    """The text of each item as compared, empty where it has none or one that many share."""
    if "text" not in collection.columns:
        return [""] * len(collection)
    said = [" ".join(str(value or "").casefold().split()) for value in collection.values("text")]
    count = Counter(said)
    return [text if count[text] <= _SAME_WORDS else "" for text in said]


def _candidates(x: np.ndarray, said: list[str], group: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """For each row the rows that it may be a copy of, or they of it; none of its own group."""
    n = len(x)
    near = np.full((n, 0), -1)
    good = np.flatnonzero(np.any(x != 0, axis=1))
    if n > 1 and len(good) > 1:
        centred = unit_rows(x[good] - x[good].mean(axis=0))
        moved = np.any(centred != 0, axis=1)
        good, centred = good[moved], centred[moved]
        index = make("index", "exact" if len(good) <= _EXACT_UP_TO else "rabitq")
        if len(good):
            index.add([str(row) for row in good], centred)
            near = np.full((n, min(_NEAR + 1, len(good))), -1)
        for start in range(0, len(good), _BLOCK):
            found = index.search_places(centred[start : start + _BLOCK], near.shape[1])[1]
            near[good[start : start + _BLOCK]] = good[found]
    others: list[set[int]] = [set(row[row >= 0].tolist()) for row in near]
    for row, found in enumerate([set(each) for each in others]):
        for other in found:
            others[other].add(row)
    alike: dict[str, list[int]] = {}
    for row, text in enumerate(said):
        if text:
            alike.setdefault(text, []).append(row)
    for rows in alike.values():
        for row in rows:
            others[row].update(rows)
    for row, found in enumerate(others):
        kept = np.asarray(sorted(other for other in found if group[other] != group[row]), np.int64)
        if len(kept):
            yield row, kept
