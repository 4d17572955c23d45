"""Every check of the rank contract fails on a part that is wrong in just that way."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.contract import rank as contract
from tellapart.core.hits import Hits
from tellapart.core.parts import card_of
from tellapart.parts.rank.anncur import Anncur
from tellapart.parts.rank.cosine_adapter import CosineAdapter
from tellapart.parts.rank.inverted_softmax import InvertedSoftmax
from tellapart.parts.rank.rerank import Rerank

INVERTED, ADAPTER = card_of("rank", "inverted-softmax"), card_of("rank", "cosine-adapter")
ANNCUR = card_of("rank", "anncur")


class DropsOne(InvertedSoftmax):
    def rank(self, queries, hits, vectors):
        out = super().rank(queries, hits, vectors)
        return Hits(out.ids[:, :-1], out.scores[:, :-1], out.calls)


class RepeatsOne(InvertedSoftmax):
    def rank(self, queries, hits, vectors):
        out = super().rank(queries, hits, vectors)
        out.ids[:, 1] = out.ids[:, 0]
        return out


class Unsorted(InvertedSoftmax):
    def rank(self, queries, hits, vectors):
        out = super().rank(queries, hits, vectors)
        return Hits(out.ids[:, ::-1], out.scores[:, ::-1], out.calls)


class Doubles(InvertedSoftmax):
    def rank(self, queries, hits, vectors):
        out = super().rank(queries, hits, vectors)
        return Hits(out.ids, out.scores.astype(np.float64), out.calls)


class ForgetsCalls(InvertedSoftmax):
    def rank(self, queries, hits, vectors):
        out = super().rank(queries, hits, vectors)
        return Hits(out.ids, out.scores)


class MeansOverTheBatch(InvertedSoftmax):
    def rank(self, queries, hits, vectors):
        out = super().rank(queries, hits, vectors)
        return Hits(out.ids, out.scores - out.scores[np.isfinite(out.scores)].mean(), out.calls)


class LearnsInRanking(InvertedSoftmax):
    def rank(self, queries, hits, vectors):
        out = super().rank(queries, hits, vectors)
        self.queries_ = np.concatenate([self.queries_, queries])
        self.query_ids_ = np.concatenate([self.query_ids_, np.full(len(queries), "")])
        return out


class UpsideDown(InvertedSoftmax):
    def rank(self, queries, hits, vectors):
        return Hits.sorted(hits.ids, -hits.scores, calls=hits.calls)


class HidesItsState(InvertedSoftmax):
    def fit(self, queries, documents=None, **more):
        super().fit(queries, documents, **more)
        self._bank = self.queries_
        return self

    def rank(self, queries, hits, vectors):
        self.queries_ = self._bank
        return super().rank(queries, hits, vectors)


class KeepsAFunction(InvertedSoftmax):
    def fit(self, queries, documents=None, **more):
        self.function_ = sorted
        return super().fit(queries, documents, **more)


class Remembers(InvertedSoftmax):
    def fit(self, queries, documents=None, **more):
        before = getattr(self, "queries_", np.zeros((0, queries.shape[1])))
        more["query_ids"] = None
        return super().fit(np.concatenate([before, queries]), documents, **more)


class WritesItsInput(InvertedSoftmax):
    def rank(self, queries, hits, vectors):
        hits.scores[:] = hits.scores * 2
        return super().rank(queries, hits, vectors)


class AsksTooMuch(InvertedSoftmax):
    def rank(self, queries, hits, vectors):
        vectors(np.array([*hits.ids[0, :2], hits.ids[0, 0]]))
        return super().rank(queries, hits, vectors)


class TakesHoles(InvertedSoftmax):
    def rank(self, queries, hits, vectors):
        return super().rank(np.nan_to_num(queries), hits, vectors)


class NeedsNoPairs(CosineAdapter):
    def fit(self, queries, documents, *, query_ids=None, ids=None, pairs=None):
        pairs = np.stack([np.arange(len(queries))] * 2, 1) if pairs is None else pairs
        return super().fit(queries, documents, pairs=pairs)


class Shuffles(CosineAdapter):
    def rank(self, queries, hits, vectors=None):
        out = super().rank(queries, hits)
        scores = np.where(out.ids == "", -np.inf, -np.maximum(out.scores, 0))
        return Hits.sorted(out.ids, scores, calls=out.calls)


class FindsAll(Anncur):
    def rank(self, queries, hits, vectors, *, scoring=None):
        if scoring is not None:
            scoring.there = lambda row, ids: np.ones(len(ids), bool)
        return super().rank(queries, hits, vectors, scoring=scoring)


class FindsNothingNew(Anncur):
    def rank(self, queries, hits, vectors, *, scoring=None):
        out = super().rank(queries, hits, vectors, scoring=scoring)
        worst = Hits(hits.ids[:, -1:], np.where(hits.ids[:, -1:] == "", -np.inf, 0).astype(np.float32))
        return Hits(worst.ids, worst.scores - 9, out.calls)


WRONG = [
    (INVERTED, "check_ids", DropsOne),
    (INVERTED, "check_ids", RepeatsOne),
    (INVERTED, "check_sorted", Unsorted),
    (INVERTED, "check_sorted", Doubles),
    (INVERTED, "check_calls", ForgetsCalls),
    (INVERTED, "check_no_batch_mates", MeansOverTheBatch),
    (INVERTED, "check_no_batch_mates", LearnsInRanking),
    (INVERTED, "check_serves", UpsideDown),
    (INVERTED, "check_state", HidesItsState),
    (INVERTED, "check_state", KeepsAFunction),
    (INVERTED, "check_refit_forgets", Remembers),
    (INVERTED, "check_input_unchanged", WritesItsInput),
    (INVERTED, "check_vectors_asked", AsksTooMuch),
    (INVERTED, "check_bad_input", TakesHoles),
    (ADAPTER, "check_pairs_needed", NeedsNoPairs),
    (ADAPTER, "check_monotone", Shuffles),
    (ANNCUR, "check_there", FindsAll),
    (ANNCUR, "check_there", FindsNothingNew),
]


@pytest.mark.parametrize(("card", "check", "wrong"), WRONG, ids=[f"{c}-{w.__name__}" for _, c, w in WRONG])
def test_a_wrong_part_is_found(card, check, wrong):
    by_name = {c.__name__: c for c in contract.checks(card)}
    with pytest.raises(AssertionError):
        by_name[check](wrong)


def test_every_check_has_a_wrong_part():
    every = {c.__name__ for card in (INVERTED, ADAPTER, ANNCUR) for c in contract.checks(card)}
    assert every == {check for _, check, _ in WRONG}


class CallsForNothing(Rerank):
    def rank(self, queries, hits, vectors, *, scoring=None):
        out = super().rank(queries, hits, vectors, scoring=scoring)
        return Hits(out.ids, out.scores, hits.calls)


def test_a_part_with_a_scorer_must_count():
    with pytest.raises(AssertionError, match="count"):
        contract.Checks(card_of("rank", "rerank")).check_calls(CallsForNothing)
