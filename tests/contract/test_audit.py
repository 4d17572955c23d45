"""Every check of the audit contract fails on a part that is wrong in just that way."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from tellapart.contract import audit as contract
from tellapart.core.parts import card_of, make
from tellapart.core.report import Examples, Figure, Finding, Report, Text
from tellapart.parts.audit.mmvp import mmvp

CARD = card_of("audit", "mmvp")


def changed(report, kind, **values):
    """The report with all blocks of a kind changed."""
    blocks = [dataclasses.replace(b, **values) if isinstance(b, kind) else b for b in report.blocks]
    return Report(report.title, blocks, report.facts)


def no_figures(vectors, collection, *, seed=0):
    report = mmvp(vectors, collection, seed=seed)
    return Report(report.title, [b for b in report.blocks if not isinstance(b, Figure | Finding)])


def no_intervals(vectors, collection, *, seed=0):
    return changed(mmvp(vectors, collection, seed=seed), Figure, low=None, high=None, note="")


def no_counts(vectors, collection, *, seed=0):
    return changed(mmvp(vectors, collection, seed=seed), Figure, count=0)


def beside_its_interval(vectors, collection, *, seed=0):
    return changed(mmvp(vectors, collection, seed=seed), Figure, low=2.0, high=3.0)


def strange_examples(vectors, collection, *, seed=0):
    report = mmvp(vectors, collection, seed=seed)
    examples = next(b for b in report.blocks if isinstance(b, Examples))
    items = [dataclasses.replace(e, ids=["nobody", *e.ids[1:]]) for e in examples.items]
    return changed(report, Examples, items=items)


_calls = iter(range(1000))


def another_seed(vectors, collection, *, seed=0):
    return mmvp(vectors, collection, seed=next(_calls))


def draws_globally(vectors, collection, *, seed=0):
    np.random.rand()
    return mmvp(vectors, collection, seed=seed)


def writes_its_input(vectors, collection, *, seed=0):
    vectors["image"] += 1
    return mmvp(vectors, collection, seed=seed)


def always_sure(vectors, collection, *, seed=0):
    return Report("Blind pairs", [Figure("blind pairs", 7, 6, 8, count=10), Text("all is well", "verdict")])


def mends_holes(vectors, collection, *, seed=0):
    return mmvp({n: np.nan_to_num(v) for n, v in vectors.items()}, collection, seed=seed)


def takes_fewer_rows(vectors, collection, *, seed=0):
    rows = np.arange(min(len(v) for v in vectors.values()))
    return mmvp({n: v[rows] for n, v in vectors.items()}, collection.take(rows), seed=seed)


def found(**changes):
    """A wrong part that adds a finding with something wrong about it, or the right one twice."""

    def wrong_finding(vectors, collection, *, seed=0):
        report = mmvp(vectors, collection, seed=seed)
        right = {"figure": Figure("x", 0.5, 0.4, 0.6, 2), "said": "so", "p": 0.5, "values": (0, 1)}
        one = Finding(**(right | {"ids": collection.ids[:2].tolist()} | changes))
        return report.add(one, *([] if changes else [one]))

    return wrong_finding


WRONG = [
    ("check_findings", found()),
    ("check_findings", found(said="")),
    ("check_findings", found(p=1.5)),
    ("check_findings", found(ids=["nobody", "i0001"])),
    ("check_findings", found(values=(0, 1, 1))),
    ("check_findings", found(values=(0, 0))),
    ("check_findings", found(mend="tellapart run {path}")),
    ("check_figures", no_figures),
    ("check_figures", no_intervals),
    ("check_figures", no_counts),
    ("check_figures", beside_its_interval),
    ("check_examples", strange_examples),
    ("check_seed", another_seed),
    ("check_global_draws", draws_globally),
    ("check_input_unchanged", writes_its_input),
    ("check_few_items", always_sure),
    ("check_bad_input", mends_holes),
    ("check_bad_input", takes_fewer_rows),
]


def without_an_encoder(vectors, collection, *, seed=0):
    given = vectors.get("encoder") or contract.BagOfWords()
    return make("audit", "longembed")({"encoder": given}, collection, seed=seed)


def mends_vectors(vectors, collection, *, seed=0):
    class Mended:
        cut = 0

        def query(self, texts):
            return np.resize(np.nan_to_num(vectors["encoder"].query(texts)), (len(texts), 32))

        document = query

    given = Mended() if "encoder" in vectors else None
    return make("audit", "longembed")({"encoder": given}, collection, seed=seed)


@pytest.mark.parametrize("wrong", [without_an_encoder, mends_vectors])
def test_a_wrong_part_that_encodes_is_found(wrong):
    by_name = {c.__name__: c for c in contract.checks(card_of("audit", "longembed"))}
    with pytest.raises(AssertionError):
        by_name["check_encoder"](lambda **options: functools.partial(wrong, **options))


@pytest.mark.parametrize(("check", "wrong"), WRONG, ids=[f"{c}-{w.__name__}" for c, w in WRONG])
def test_a_wrong_part_is_found(check, wrong):
    by_name = {c.__name__: c for c in contract.checks(CARD)}
    with pytest.raises(AssertionError):
        by_name[check](lambda **options: functools.partial(wrong, **options))


def test_every_check_has_a_wrong_part():
    assert {c.__name__ for c in contract.checks(CARD)} == {check for check, _ in WRONG}
