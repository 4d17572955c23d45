"""What has changed between two versions of a picture, and where, told by a head that learns from edits of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from tellapart.core.chance import difference, wilson
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.parts.audit._edits import GRID, KINDS, copied, edited, stock
from tellapart.parts.audit._pair_head import PairHead, Terms, pointed, surely_edited, two_of_each

_FEWEST, _FEWEST_PAIRS, _SHOWN, _ROWS, _MOST = 40, 10, 12, 100, 200
_SET, _FALSE = 100, 0.05


@part(
    paper="Liu et al., OmniDiff: A Comprehensive Benchmark for Fine-grained Image Difference Captioning, ICCV 2025",
    place="audit",
    system="omnidiff",
    traits=("asks", "pictures", "before-after"),
    aliases=("omnidiff",),
)
def image_differences(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    pair: str = "pair",
    ground: Literal["pictures", "plain"] = "pictures",
    jitter: Annotated[int, Field(ge=0, le=4)] = 2,
    scenes: Annotated[int, Field(ge=70, le=10_000)] = 280,
    terms: Terms = "both-and-difference",
    ridge: Annotated[float, Field(gt=0, le=100)] = 0.1,
    pairs: Annotated[int, Field(ge=10, le=100_000)] = 2000,
) -> Report:
    """Kind and place of what changed in each pair: added, removed, moved, recoloured, replaced, a look-alike, nothing.

    Formula, for maps F1, F2 [s, s, 7] of both pictures at the scales s = 16, 8, 4:
        z(c)    = for all s, F1, F2 and F2 - F1 of the square of scale s in which the cell c of 16 x 16 lies
        e(c)    = ridge regression of [z, relu(R z + b)], R and b drawn once, onto what happens in c
        kind    = the largest of a ridge regression, made likewise, of what e is at most, in its four largest, and on
                  average over the cells; place = the cell with the least e(nothing)
    It learns from edits of this collection's own pictures: 1 of 7 kinds, each as often, in scenes put together of them,
    in which all that is not edited moves by up to `jitter` of 64 pixels. Held-out edits are of other pictures.

    What was taken from the paper: features of both and their difference, at several scales, fused. Its module sits in a
    multimodal language model, which is tuned to write captions, and its insides are not published in full; here the
    maps are lightness, opponent colours and gradients of pictures of 64 x 64, the answer is a kind and a place, and
    nothing is trained by steps. The published 324 scenes are not part of it.

    A pair is said to differ where its best kind scores farther above `nothing` than in 95% of copies of the first
    pictures, which are moved and lightened only. The finding compares how many pairs are, and how many further copies:
    p is Fisher's. Pairs taken from another angle, or in other light than `jitter` makes, differ to it: the place and
    the pictures say what it took for a change.

    Use it on pictures before and after (shelves, scans, screens, renderings). What it says of kinds is as good as on
    its own edits at most; look at the table of those first.

    Relations: `kitten` asks whether a picture is faithful to references, `vidic` whether descriptions of pairs are
    right; scores of the trait `positions` find odd places without a second picture.

    Args:
        vectors: `pictures`.
        pair: a column; two items of one value are before and after, in the order of the collection. Without it, items
            with two pictures are pairs: `other_image` before, `image` after.
        ground: of the scenes that it learns from: other `pictures`, with 2 or 3 things; or `plain`, with 4 to 6.
        scenes: edits that are learnt from; half as many are held out.
        terms: without the difference, `both` is what the paper compares with.
        pairs: above this many, so many are drawn.

    Raises `DataError` for rows that do not match.
    """
    for name, given in vectors.items():
        if isinstance(given, np.ndarray) and len(given) != len(collection):
            raise DataError(f"{len(given)} rows in {name}, {len(collection)} items: give as many")
    pictures = vectors.get("pictures")
    if pictures is None or len(pictures) != len(collection):
        raise DataError("as many pictures as items are needed: audit a collection of pictures")
    report = Report("What differs between two pictures", facts={"seed": seed, "pair": pair})
    two, other = two_of_each(collection, pair)
    report.facts |= {"not in a pair of two": other}
    report.add(Figure("pairs", len(two), count=len(collection), note="a count has no interval"))
    if len(two) < _FEWEST_PAIRS or len(collection) < _FEWEST:
        why = f"{len(two)} pairs of {len(collection)} pictures by the column {pair!r}"
        needed = f"{_FEWEST_PAIRS} pairs and {_FEWEST} pictures are needed; two items of one value are a pair"
        return report.add(Text(f"cannot tell: {why}; {needed}", "verdict"))
    rng = np.random.default_rng([seed, 31])
    two = two[np.sort(rng.permutation(len(two))[:pairs])]
    # Both pictures of a pair, and duplicates, are on one side: held-out edits are of things that were not learnt.
    belongs = collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))
    belongs = belongs.copy()
    belongs[two[:, 1]] = belongs[two[:, 0]]
    held = np.isin(belongs, rng.permutation(np.unique(belongs))[: max(2, len(np.unique(belongs)) // 3)])
    some = [rng.permutation(np.flatnonzero(side))[:_MOST].tolist() for side in (~held, held)]
    if min(len(rows) for rows in some) < 2:
        return report.add(Text("cannot tell: nearly all pictures are duplicates of each other", "verdict"))
    plain = ground == "plain"
    learnt, tested = (edited(stock([pictures[r] for r in rows]), count, jitter, rng, plain=plain)
                      for rows, count in zip(some, (scenes, scenes // 2), strict=True))  # fmt: skip
    head = PairHead(terms=terms, ridge=ridge, seed=seed).fit(learnt)
    told, changed = head.tell(tested.before, tested.after)
    right, there = told.argmax(axis=1) == tested.kind, pointed(changed, tested.event)
    edits = tested.kind > 0
    report.add(_share("kind named, own edits", right), _share("place found, own edits", there[edits]))
    rows = [[KINDS[k], _share(KINDS[k], right[tested.kind == k]),
             _share(KINDS[k], there[tested.kind == k]) if k else None] for k in range(len(KINDS))]  # fmt: skip
    note = "edits of pictures that it has not learnt from; seven kinds, by chance one in seven is named"
    report.add(Table("How well it tells edits that it made", ["kind", "named", "place found"], rows, note))
    before, after = (stock([pictures[r] for r in two[:, side].tolist()]) for side in (0, 1))
    first, second = (np.array([np.asarray(p) for p in s.whole]) for s in (before, after))
    told, changed = head.tell(first, second)
    # Which score differs is set by some copies, and pairs are compared with others.
    times = 1 + _SET // len(two)
    drawn = (copied(before, jitter, rng) for _ in range(times + 1))
    *least, alike = (surely_edited(head.tell(first, copies)[0]) for copies in drawn)
    limit = float(np.quantile(np.concatenate(least), 1 - _FALSE))
    kind, surely = 1 + told[:, 1:].argmax(axis=1), surely_edited(told)
    place = [np.unravel_index(int(c.argmax()), c.shape) for c in changed]
    where = [f"{(x + 0.5) / GRID:.0%} from the left, {(y + 0.5) / GRID:.0%} from the top" for y, x in place]
    ids = [[str(i) for i in collection.ids[rows]] for rows in two]
    order = [i for i in np.argsort(-surely, kind="stable").tolist() if surely[i] > limit]
    listed = [[*ids[i], KINDS[kind[i]], where[i], float(surely[i])] for i in order[:_ROWS]]
    columns = ["before", "after", "what", "where", "score above nothing"]
    report.add(Table("Pairs that differ, the surest first", columns, listed, f"{len(order)} of {len(two)} pairs"))
    called = (np.concatenate([surely, alike]) > limit).astype(float)
    unit = np.unique(belongs[two[:, 0]], return_inverse=True)[1]
    gap = difference(called, np.arange(len(called)) < len(two), np.concatenate([unit, unit + len(two)]),
                     seed=seed, alternative="greater")  # fmt: skip
    if gap is None:
        return report.add(Text("cannot tell whether pairs differ: nearly all are duplicates of each other", "verdict"))
    said = (
        f"{len(order)} of {len(two)} pairs are said to differ, and of copies of their first pictures that are moved by "
        f"up to {jitter} of 64 pixels {int((alike > limit).sum())}."
    )
    shown = [Example(ids[i], f"{KINDS[kind[i]]}, {where[i]}", (float(surely[i]),), ("before", "after"))
             for i in order[:_SHOWN]]  # fmt: skip
    figure = Figure("pairs that differ, above copies", gap.value, gap.low, gap.high, len(two))
    return report.add(Finding(figure, said, gap.p, examples=shown))


def _share(name: str, right: np.ndarray) -> Figure:
    share = float(right.mean())
    return Figure(name, share, *wilson(share, len(right)), count=len(right))
