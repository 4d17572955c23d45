"""Every check of the contract of `find` fails on a part that is wrong in just that way."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tellapart.contract import find as contract
from tellapart.core.errors import DataError
from tellapart.core.findings import Findings
from tellapart.core.parts import card_of
from tellapart.parts.find.odd_captions import odd_captions

CARD = card_of("find", "odd-captions")


def changed(found, *, kind=CARD.name, **columns):
    """Findings with other columns."""
    table = found.table.to_pydict() | columns
    return Findings.of(
        kind, table["item"], table["score"], shown=found.shown[CARD.name], action=table["action"],
        reasons=table["reason"], to=table["to"],
    )  # fmt: skip


def another_name(vectors, collection, *, seed=0):
    return changed(odd_captions(vectors, collection), kind="odd")


def strangers(vectors, collection, *, seed=0):
    found = odd_captions(vectors, collection)
    return changed(found, item=[f"nobody {i}" for i in range(len(found))])


def looks_at_nothing(vectors, collection, *, seed=0):
    return Findings.of(CARD.name, [], [], shown=1.0, action=[], reasons=[])


def the_label_it_has(vectors, collection, *, seed=0):
    found = odd_captions(vectors, collection)
    return changed(found, action=["relabel"] * len(found), to=collection.values("label"))


def no_label(vectors, collection, *, seed=0):
    found = odd_captions(vectors, collection)
    return changed(found, action=["relabel"] * len(found), to=["strange"] * len(found))


def the_same_as_itself(vectors, collection, *, seed=0):
    found = odd_captions(vectors, collection)
    return changed(found, action=["same-as"] * len(found), to=collection.ids.tolist())


def loud(vectors, collection, *, seed=0):
    n = len(collection)
    return Findings.of(CARD.name, collection.ids, np.ones(n), shown=0.5, action="look", reasons=["odd"] * n)


_calls = iter(range(1000))


def another_seed(vectors, collection, *, seed=0):
    rng = np.random.default_rng(next(_calls))
    return changed(
        odd_captions(vectors, collection), score=rng.random(len(collection)) / 4, reason=["odd"] * len(collection)
    )


def draws_globally(vectors, collection, *, seed=0):
    np.random.rand()
    return odd_captions(vectors, collection)


def writes_its_input(vectors, collection, *, seed=0):
    vectors["document"] += 1
    return odd_captions(vectors, collection)


def breaks_on_few(vectors, collection, *, seed=0):
    if len(collection) < 8:
        raise ZeroDivisionError
    return odd_captions(vectors, collection)


def mends_holes(vectors, collection, *, seed=0):
    return odd_captions({n: np.nan_to_num(v) for n, v in vectors.items()}, collection)


def takes_fewer_rows(vectors, collection, *, seed=0):
    if "document" not in vectors:
        raise DataError("there are no vectors of the documents")
    rows = np.arange(min(len(v) for v in vectors.values()))
    return odd_captions({n: v[rows] for n, v in vectors.items()}, collection.take(rows))


WRONG = [
    ("check_rows", another_name),
    ("check_rows", strangers),
    ("check_rows", looks_at_nothing),
    ("check_targets", the_label_it_has),
    ("check_targets", no_label),
    ("check_targets", the_same_as_itself),
    ("check_quiet", loud),
    ("check_seed", another_seed),
    ("check_global_draws", draws_globally),
    ("check_input_unchanged", writes_its_input),
    ("check_few_items", breaks_on_few),
    ("check_bad_input", mends_holes),
    ("check_bad_input", takes_fewer_rows),
]


@pytest.mark.parametrize(("check", "wrong"), WRONG, ids=[f"{c}-{w.__name__}" for c, w in WRONG])
def test_a_wrong_part_is_found(check, wrong):
    by_name = {c.__name__: c for c in contract.checks(CARD)}
    with pytest.raises(AssertionError):
        by_name[check](lambda **options: functools.partial(wrong, **options))


def test_every_check_has_a_wrong_part():
    assert {c.__name__ for c in contract.checks(CARD)} == {check for check, _ in WRONG}
