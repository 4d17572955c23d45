"""Every check of several vectors an item fails on an index that is wrong in just that way."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.contract import _tokens as contract
from tellapart.contract import index
from tellapart.core.hits import Hits
from tellapart.core.parts import card_of
from tellapart.parts.index.maxsim import Maxsim
from tellapart.parts.index.muvera import Muvera

CHECKS = {check.__name__: check for check in contract.checks(1.0)}


class SumsUp(Maxsim):
    def search(self, tokens, k, *, filter=None):
        hits = super().search(tokens, k, filter=filter)
        return Hits(hits.ids, hits.scores * np.asarray([[len(t)] for t in tokens], np.float32))


class LooksAtHalf(Maxsim):
    def search(self, tokens, k, *, filter=None):
        return super().search(tokens, k, filter=set(self.ids[::2]))


class FirstTokenOnly(Maxsim):
    def add(self, ids, tokens):
        super().add(ids, [t[:1] for t in tokens])


class WritesQuarters(Maxsim):
    def tokens(self, ids):
        return [np.round(4 * t) / 4 for t in super().tokens(ids)]


class NoOracle(Maxsim):
    def search_exactly(self, tokens, k):
        return self.search(tokens, k, filter=set(self.ids[::2]))


class FillsEmpty(Maxsim):
    def add(self, ids, tokens):
        super().add(ids, [t if len(t) else np.ones((1, contract.DIM)) for t in tokens])


class MeansAsVectors(Maxsim):
    def vectors(self, ids):
        return np.stack([t.mean(0) for t in self.tokens(ids)])


WRONG = [
    ("check_maxsim", SumsUp),
    ("check_maxsim", LooksAtHalf),
    ("check_order_of_tokens", FirstTokenOnly),
    ("check_tokens_kept", WritesQuarters),
    ("check_exact_oracle", NoOracle),
    ("check_bad_tokens", FillsEmpty),
    ("check_bad_tokens", MeansAsVectors),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_part_fails(name, wrong):
    with pytest.raises(AssertionError):
        CHECKS[name](lambda **options: wrong(**options))


def test_every_check_has_a_wrong_part_and_runs_for_the_trait():
    assert {name for name, _ in WRONG} == set(CHECKS)
    applied = {check.__name__ for check in index.checks(card_of("index", "muvera"))}
    assert set(CHECKS) <= applied and "check_atomic" in applied
    assert not set(CHECKS) & {check.__name__ for check in index.checks(card_of("index", "exact"))}


def test_a_check_of_single_vectors_still_fails_through_the_adapter():
    class Other(Maxsim):
        def delete(self, ids):
            super().delete(list(ids)[1:])

    checks = {check.__name__: check for check in index.checks(card_of("index", "maxsim"))}
    with pytest.raises(AssertionError):
        checks["check_delete"](lambda **options: Other(**options))


def test_an_item_longer_than_the_others_sets_the_inner_index_anew_and_the_order_stays_that_of_the_dot_product():
    ids, tokens, queries = contract.ragged(7, n=120)
    part = Muvera(candidates=1)
    part.add(ids[:1], [np.concatenate([tokens[0], -tokens[0]])])
    before = part._longest
    part.add(ids[1:], tokens[1:])
    assert part._longest > before
    x, q = part.encodings.documents(part.tokens(ids)), part.encodings.queries(queries)
    found = part._single.search(np.pad(q, ((0, 0), (0, 1))), 5).ids
    true = np.asarray(ids)[np.argsort(-(q @ x.T), axis=1)[:, :5]]
    assert (found == true).all()


def test_an_inner_index_of_several_vectors_is_refused():
    with pytest.raises(Exception, match="single ones"):
        Muvera(inner="maxsim")
