"""Every check of the index contract fails on a part that is wrong in just that way; properties of the exact search."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.contract import index as contract
from tellapart.core.hits import Hits
from tellapart.core.parts import card_of, cards, make
from tellapart.parts.index.exact import Exact

CARD = card_of("index", "exact")
CHECKS = {check.__name__: check for check in contract.checks(CARD)}


def changed(hits, ids=None, scores=None):
    return Hits(hits.ids if ids is None else ids, hits.scores if scores is None else scores)


class ForgetsHalf(Exact):
    def search(self, z, k, *, filter=None):
        return super().search(z, k, filter=filter if filter is not None else set(self.ids[::2]))


class OtherScores(Exact):
    def search(self, z, k, *, filter=None):
        hits = super().search(z, k, filter=filter)
        return changed(hits, scores=hits.scores * np.float32(0.9))


class Unsorted(Exact):
    def search(self, z, k, *, filter=None):
        hits = super().search(z, k, filter=filter)
        return changed(hits, hits.ids[:, ::-1], hits.scores[:, ::-1])


class Renames(Exact):
    def search(self, z, k, *, filter=None):
        hits = super().search(z, k, filter=filter)
        return changed(hits, np.char.add(hits.ids, "?"))


class PlacesAmongAll(Exact):
    """Counts what was deleted."""

    def search_places(self, z, k, *, filter=None):
        scores, places = super().search_places(z, k, filter=filter)
        return scores, np.flatnonzero(self._alive)[places] % len(self)


class RawLengths(Exact):
    def search(self, z, k, *, filter=None):
        hits = super().search(z, k, filter=filter)
        return changed(hits, scores=hits.scores * np.linalg.norm(z, axis=1, keepdims=True).astype(np.float32))


class TiesFromTheEnd(Exact):
    def search(self, z, k, *, filter=None):
        hits = super().search(z, k, filter=filter)
        order = np.lexsort((np.argsort(np.argsort(hits.ids, axis=1), axis=1) * -1, -hits.scores), axis=-1)
        return changed(hits, np.take_along_axis(hits.ids, order, 1), np.take_along_axis(hits.scores, order, 1))


class CutsTiesAnyhow(Exact):
    @property
    def _order(self):
        return np.arange(len(self._ids))

    def search(self, z, k, *, filter=None):
        hits = super().search(z, k, filter=filter)
        return Hits.sorted(hits.ids, hits.scores)


class CentresTheBatch(Exact):
    def search(self, z, k, *, filter=None):
        return super().search(z - z.mean(0) * (len(z) > 1), k, filter=filter)


class FillsUp(Exact):
    def search(self, z, k, *, filter=None):
        hits = super().search(z, k, filter=filter)
        short = ((0, 0), (0, k - hits.ids.shape[1]))
        return Hits(np.pad(hits.ids, short), np.pad(hits.scores, short, constant_values=-np.inf))


class KeepsDeleted(Exact):
    def delete(self, ids):
        super().delete(list(ids)[1:])


class FiltersAfterwards(Exact):
    """The well-known fault: search, then leave out, and give fewer than k."""

    def search(self, z, k, *, filter=None):
        hits = super().search(z, k)
        if filter is None:
            return hits
        allowed = set(self.ids[filter(self.ids)]) if callable(filter) else set(filter)
        passing = np.isin(hits.ids, list(allowed))
        return Hits.sorted(np.where(passing, hits.ids, ""), hits.scores)


class IgnoresFilters(Exact):
    def search(self, z, k, *, filter=None):
        return super().search(z, k)


class KeepsBoth(Exact):
    def add(self, ids, z):
        known = set(self.ids)
        super().add([f"{i}" if i not in known else f"{i} again" for i in ids], z)


class KeepsTheOld(Exact):
    def add(self, ids, z):
        known = set(self.ids)
        new = [n for n, i in enumerate(ids) if i not in known]
        super().add([ids[n] for n in new], z[new])


class Pickles(Exact):
    def _write(self, folder):
        (folder / "extra.pkl").write_bytes(b"")


class ForgetsDeletionsWhenSaved(Exact):
    def save(self, folder):
        alive = self._alive
        self._alive = np.ones(len(alive), bool)
        super().save(folder)
        self._alive = alive
        return Path(folder)


class WritesInPlace(Exact):
    """Saves over what is there, file by file."""

    def save(self, folder):
        folder = Path(folder)
        (folder / "ids.json").write_text(json.dumps(self.ids.tolist()))
        temporary = folder / "z.tmp.npy"
        np.save(temporary, self.vectors(self.ids))
        os.replace(temporary, folder / "z.npy")
        (folder / "v1").mkdir(exist_ok=True)
        return folder

    def load(self, folder):
        ids, z = json.loads((Path(folder) / "ids.json").read_text()), np.load(Path(folder) / "z.npy")
        n = min(len(ids), len(z)) if len(ids) != contract.NEW else len(ids)
        assert len(ids) == len(z), "half an index"
        self.__init__()
        self.add(ids[:n], z[:n])
        return self


class TakesHoles(Exact):
    def add(self, ids, z):
        super().add(ids, np.nan_to_num(z))


class TakesZeros(Exact):
    def add(self, ids, z):
        super().add(ids, np.where(np.linalg.norm(z, axis=1, keepdims=True) == 0, np.float32(1), z))


class DeletesWhatItKnows(Exact):
    def delete(self, ids):
        super().delete([i for i in ids if i in set(self.ids)])


class CrashesOnOtherWidth(Exact):
    def search(self, z, k, *, filter=None):
        if z.shape[-1] != self.dim:
            raise ValueError("shapes do not match")
        return super().search(z, k, filter=filter)


WRONG = [
    ("check_recall", ForgetsHalf),
    ("check_hits", OtherScores),
    ("check_hits", Unsorted),
    ("check_hits", Renames),
    ("check_places", PlacesAmongAll),
    ("check_lengths_do_not_count", RawLengths),
    ("check_ties_by_id", TiesFromTheEnd),
    ("check_ties_by_id", CutsTiesAnyhow),
    ("check_batch_mates_do_not_count", CentresTheBatch),
    ("check_few", FillsUp),
    ("check_delete", KeepsDeleted),
    ("check_filter", FiltersAfterwards),
    ("check_filter", IgnoresFilters),
    ("check_replace", KeepsBoth),
    ("check_replace", KeepsTheOld),
    ("check_save_load", Pickles),
    ("check_save_load", ForgetsDeletionsWhenSaved),
    ("check_atomic", WritesInPlace),
    ("check_bad_input", TakesHoles),
    ("check_bad_input", TakesZeros),
    ("check_bad_input", DeletesWhatItKnows),
    ("check_bad_input", CrashesOnOtherWidth),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_wrong_part_fails(name, wrong):
    with pytest.raises((AssertionError, ValueError)):
        CHECKS[name](lambda **options: wrong(**options))


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_the_part_that_the_wrong_ones_come_from_passes(name):
    CHECKS[name](lambda **options: Exact(**options))


def test_every_check_has_a_wrong_part():
    assert {name for name, _ in WRONG} == set(CHECKS)


def test_the_promised_recall_is_read_from_the_card():
    assert contract.stated_recall(CARD) == 1
    assert contract.stated_recall(dataclasses.replace(CARD, traits=("x", "recall-0.9"))) == 0.9
    assert all(0.8 <= contract.stated_recall(card) <= 1 for card in cards("index").values())


NAMES = [f"n{i}" for i in range(40)]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.sampled_from(NAMES), min_size=1, max_size=12, unique=True)),
        st.tuples(st.just("delete"), st.lists(st.sampled_from(NAMES), max_size=12, unique=True)),
        st.tuples(st.just("save"), st.just([])),
    ),
    max_size=12,
)


@pytest.mark.parametrize("name", ["exact", "sign-bits"])
@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(0, 2**31), st.integers(1, 15), st.sets(st.sampled_from(NAMES)))
def test_property_any_history_finds_what_a_dict_would(name, steps, seed, k, chosen):
    rng = np.random.default_rng(seed)
    index, kept = make("index", name), {}
    with tempfile.TemporaryDirectory() as folder:
        for verb, names in steps:
            if verb == "add":
                z = rng.integers(-2, 3, (len(names), 4)).astype(np.float32)
                z[:, 0] += 0.5
                index.add(names, z)
                kept.update(zip(names, z / np.linalg.norm(z, axis=1, keepdims=True), strict=True))
            elif verb == "delete":
                there = [n for n in names if n in kept]
                index.delete(there)
                for n in there:
                    del kept[n]
            elif index.dim is not None:
                index.save(folder)
                index = make("index", name).load(folder)
        assert set(index.ids) == set(kept) and len(index) == len(kept)
        names = sorted(kept)
        stored = dict(zip(names, index.vectors(names), strict=True))
        assert all(np.abs(stored[n] - kept[n]).max() < 1e-6 for n in names)
        query = np.asarray([[1, 0, 0, 0], [0.5, -0.5, 0.5, 0.5]], np.float32)
        for allowed in (None, chosen):
            pool = {n: v.astype(float) for n, v in stored.items() if allowed is None or n in allowed}
            hits = index.search(query, k, filter=allowed)
            for row, q in enumerate(query):
                wanted = sorted(pool, key=lambda n, q=q, p=pool: (-np.float32((p[n] * q).sum()), n))[:k]
                assert hits.ids[row].tolist() == wanted
