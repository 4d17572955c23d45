"""What every sampler promises: whole batches of the global batch size, known before training, the same for one seed.

Traits: `topics` (reads `extra["topic_vectors"]`), `teacher-margin` (reads `extra["teacher_margin"]`), `vectors` (reads
the vectors of both sides as the towers give them now, from epoch `start` on, anew every `refresh` epochs: both are its
options), `repeats` (a row may come twice in an epoch), `disjoint` (no two rows of a batch share a group or a target).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tellapart.core.errors import PartError
from tellapart.core.parts import Card
from tellapart.core.plan import Plan, SampleKeys

Build = Callable[..., Callable[..., Plan]]
Check = Callable[[Build], None]


def planted_keys(n: int = 103, *, seed: int = 0) -> SampleKeys:
    """Rows of four topics, with duplicate groups of up to three and some shared targets."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(4, size=n)
    vectors = (np.eye(4)[topic] + 0.1 * rng.normal(size=(n, 4))).astype(np.float32)
    extra = {"topic_vectors": vectors, "teacher_margin": rng.exponential(size=n).astype(np.float32)}
    item = np.arange(n, dtype=np.int64)
    target = np.where(rng.random(n) < 0.1, item // 7 * 7, item)
    return SampleKeys(item, item // 3, target, vectors, vectors, extra)


def plan(build: Build, keys: SampleKeys, *, seed: int = 0, epoch: int = 0, batch_size: int = 16) -> Plan:
    """One epoch of a sampler; every batch is checked to be made of row numbers."""
    made = build()(keys, seed=seed, epoch=epoch, batch_size=batch_size)
    for rows in made:
        assert rows.dtype == np.int64 and rows.ndim == 1 and len(rows), "a batch must be a 1-d int64 array, not empty"
        assert rows.min() >= 0 and rows.max() < len(keys), "a batch names rows that are not there"
    return made


def check_same_seed_same_plan(build: Build) -> None:
    """Equal (seed, epoch) give equal batches, whatever was drawn in between."""
    keys = planted_keys()
    first = plan(build, keys, seed=3, epoch=1)
    np.random.default_rng().random()
    again = plan(build, keys, seed=3, epoch=1)
    assert len(first) == len(again) and all(np.array_equal(a, b) for a, b in zip(first, again, strict=True)), (
        "the same seed and epoch must give the same plan"
    )


def check_epochs_and_seeds_differ(build: Build) -> None:
    """Another epoch and another seed give another order."""
    keys = planted_keys()
    base = np.concatenate(plan(build, keys))
    for other in (plan(build, keys, epoch=1), plan(build, keys, seed=1)):
        flat = np.concatenate(other)
        assert flat.shape != base.shape or not np.array_equal(flat, base), "the order must change with epoch and seed"


def check_length_is_known(build: Build) -> None:
    """As many batches in every epoch, and no row number is invented."""
    keys = planted_keys()
    lengths = {len(plan(build, keys, epoch=epoch)) for epoch in range(6)}
    assert lengths == {len(keys) // 16}, f"every epoch must have {len(keys) // 16} batches, not {sorted(lengths)}"


def check_no_row_twice_in_a_batch(build: Build) -> None:
    """A batch never holds a row twice, and none is larger than asked for."""
    for rows in plan(build, planted_keys()):
        assert len(np.unique(rows)) == len(rows), "a row stands twice in one batch"
        assert len(rows) <= 16, f"a batch of {len(rows)} rows where 16 were asked for"


def check_no_row_twice_in_an_epoch(build: Build) -> None:
    """Without the trait `repeats`, a row comes at most once an epoch."""
    flat = np.concatenate(plan(build, planted_keys()))
    assert len(np.unique(flat)) == len(flat), "a row comes twice in one epoch"


def check_every_row_has_its_turn(build: Build) -> None:
    """Over many epochs no row is left out."""
    keys = planted_keys()
    seen = np.concatenate([np.concatenate(plan(build, keys, epoch=epoch)) for epoch in range(40)])
    assert len(np.unique(seen)) == len(keys), f"{len(keys) - len(np.unique(seen))} rows never came in 40 epochs"


def check_small_collections(build: Build) -> None:
    """A collection smaller than a batch is one batch; two rows are enough."""
    for n in (2, 7, 15):
        made = plan(build, planted_keys(n))
        assert len(made) == 1 and len(made[0]) >= 1, f"{n} rows must make one batch of 16, not {len(made)}"


def check_disjoint(build: Build) -> None:
    """With the trait `disjoint`, no two rows of a batch share a duplicate group or a target."""
    keys = planted_keys()
    for rows in plan(build, keys):
        assert len(np.unique(keys.group[rows])) == len(rows), "two rows of a batch share a duplicate group"
        assert len(np.unique(keys.target[rows])) == len(rows), "two rows of a batch share a target"


def check_topics(build: Build) -> None:
    """With the trait `topics`, two rows of a batch are of one topic far more often than two rows of a shuffle."""
    keys = planted_keys(400)
    topic = keys.extra["topic_vectors"].argmax(1)
    assert _together(plan(build, keys), topic) > _by_chance(topic) + 0.3, "batches are not about one topic"


def check_looks_at_the_vectors(build: Build) -> None:
    """With the trait `vectors`, the rows of late batches are closer than by chance, and follow the vectors given."""
    keys = planted_keys(400)
    other = np.random.default_rng(1).permutation(400)
    for order in (np.arange(400), other):
        assert keys.query is not None and keys.document is not None
        topic = keys.query[order].argmax(1)
        given = replace(keys, query=keys.query[order], document=keys.document[order])
        found = _together(plan(build, given, epoch=1000), topic)
        assert found > _by_chance(topic) + 0.1, "batches do not follow the vectors of the towers"


def check_missing_vectors_are_said(build: Build) -> None:
    """With the trait `vectors`, a plan that should look at vectors and has none is refused in words."""
    try:
        plan(build, replace(planted_keys(), query=None, document=None), epoch=1000)
    except PartError:
        return
    raise AssertionError("a plan was made of vectors that were not there")


def check_spoilt_vectors_are_said(build: Build) -> None:
    """With the trait `vectors`, vectors that are not finite are refused in words."""
    spoilt = np.full((103, 4), np.nan, np.float32)
    try:
        plan(build, replace(planted_keys(), query=spoilt, document=spoilt), epoch=1000)
    except PartError:
        return
    raise AssertionError("a plan was made of vectors that are not finite")


def _together(batches: Plan, topic: np.ndarray) -> float:
    return float(np.mean([(topic[rows][:, None] == topic[rows]).mean() for rows in batches]))


def _by_chance(topic: np.ndarray) -> float:
    order = np.random.default_rng(0).permutation(len(topic))
    return _together([order[i : i + 16] for i in range(0, len(topic), 16)], topic)


def checks(card: Card) -> list[Check]:
    """The checks that a sampler with this card must pass."""
    found: list[Any] = [
        check_same_seed_same_plan,
        check_epochs_and_seeds_differ,
        check_length_is_known,
        check_no_row_twice_in_a_batch,
        check_every_row_has_its_turn,
        check_small_collections,
    ]
    if "repeats" not in card.traits:
        found.append(check_no_row_twice_in_an_epoch)
    if "disjoint" in card.traits:
        found.append(check_disjoint)
    if "topics" in card.traits:
        found.append(check_topics)
    if "vectors" in card.traits:
        assert {"start", "refresh"} <= {option.name for option in card.options}, f"{card.name}: no `start`, `refresh`"
        found += [check_looks_at_the_vectors, check_missing_vectors_are_said, check_spoilt_vectors_are_said]
    return found
