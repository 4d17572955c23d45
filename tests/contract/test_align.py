"""Every check of the align contract fails on a part that is wrong in just that way."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tellapart.contract import align as contract
from tellapart.core.aligning import Layer
from tellapart.core.parts import card_of
from tellapart.parts.align.procrustes import Procrustes
from tellapart.parts.align.relative_representations import RelativeRepresentations
from tellapart.parts.align.ridge import Ridge
from tellapart.parts.align.xbt import Xbt

PLAIN, RELATIVE, TUNED = (card_of("align", name) for name in ("ridge", "relative-representations", "xbt"))


class Doubles(Ridge):
    def transform(self, new, *, side="query"):
        return super().transform(new, side=side).astype(np.float64)


class Long(Ridge):
    def transform(self, new, *, side="query"):
        return 2 * super().transform(new, side=side)


class KeepsTheWidth(Procrustes):
    def transform(self, new, *, side="query"):
        z = super().transform(new, side=side)
        return z[:, :12]


class Shuffles(Ridge):
    def fit(self, new, old, *, pairs=None, seed=0):
        return super().fit(new, np.roll(old, 1, axis=0), pairs=pairs, seed=seed)


class QueriesOnly(Ridge):
    def layers(self, side="query"):
        found = super().layers(side)
        return found if side == "query" else [Layer(-found[0].weight, found[0].bias)]


class Centres(Ridge):
    def transform(self, new, *, side="query"):
        new = np.asarray(new)
        return super().transform(new - 0.1 * new.mean(axis=0) * (len(new) > 1), side=side)


class Heavy(Ridge):
    def transform(self, new, *, side="query"):
        z = super().transform(new, side=side) + 0.01 * np.linalg.norm(new, axis=1, keepdims=True)
        return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


class OtherLayers(Ridge):
    def layers(self, side="query"):
        return [Layer(layer.weight, 0 * layer.bias + 0.1) for layer in super().layers(side)]

    def transform(self, new, *, side="query"):
        z = np.asarray(new) @ self.learnt("weight_").T + self.learnt("bias_")
        return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


class Hides(Ridge):
    def fit(self, new, old, *, pairs=None, seed=0):
        super().fit(new, old, pairs=pairs, seed=seed)
        self.hidden = self.bias_
        self.bias_ = 0 * self.bias_
        return self

    def layers(self, side="query"):
        return [Layer(layer.weight, getattr(self, "hidden", layer.bias + 1)) for layer in super().layers(side)]


class KeepsAList(Ridge):
    def fit(self, new, old, *, pairs=None, seed=0):
        super().fit(new, old, pairs=pairs, seed=seed)
        self.names_ = ["a"]
        return self


class Remembers(Ridge):
    def fit(self, new, old, *, pairs=None, seed=0):
        before = getattr(self, "weight_", None)
        super().fit(new, old, pairs=pairs, seed=seed)
        if before is not None:
            self.weight_ = (self.weight_ + before) / 2
        return self


class Writes(Ridge):
    def fit(self, new, old, *, pairs=None, seed=0):
        super().fit(new, old, seed=seed)
        new *= 2
        return self


class LooksAtPairs(Ridge):
    def fit(self, new, old, *, pairs=None, seed=0):
        super().fit(new, old, seed=seed)
        if pairs is not None:
            self.bias_ = self.bias_ + np.float32(0.01)
        return self


class ConvertsInSecret(Ridge):
    def convert(self, old):
        return np.asarray(old)


class ConvertsLong(RelativeRepresentations):
    def convert(self, old):
        return 3 * super().convert(old)


class Mends(Ridge):
    def fit(self, new, old, *, pairs=None, seed=0):
        return super().fit(np.nan_to_num(new), np.nan_to_num(old), pairs=pairs, seed=seed)


class TakesTheFirst(Ridge):
    def fit(self, new, old, *, pairs=None, seed=0):
        n = min(len(new), len(old))
        return super().fit(new[:n], old[:n], pairs=pairs, seed=seed)


class TakesAnyPairs(Xbt):
    def fit(self, new, old, *, pairs=None, seed=0):
        if pairs is not None and len(pairs[0]) != len(pairs[1]):
            pairs = None
        return super().fit(new, old, pairs=pairs, seed=seed)


WRONG = [
    ("check_shape", PLAIN, Doubles),
    ("check_shape", PLAIN, Long),
    ("check_shape", PLAIN, KeepsTheWidth),
    ("check_finds", PLAIN, Shuffles),
    ("check_finds", PLAIN, QueriesOnly),
    ("check_rows_alone", PLAIN, Centres),
    ("check_lengths", PLAIN, Heavy),
    ("check_layers", PLAIN, OtherLayers),
    ("check_saved", PLAIN, Hides),
    ("check_saved", PLAIN, KeepsAList),
    ("check_repeats", PLAIN, Remembers),
    ("check_input_unchanged", PLAIN, Writes),
    ("check_pairs_left_out", PLAIN, LooksAtPairs),
    ("check_converts", PLAIN, ConvertsInSecret),
    ("check_converts", RELATIVE, ConvertsLong),
    ("check_bad_input", PLAIN, Mends),
    ("check_bad_input", PLAIN, TakesTheFirst),
    ("check_bad_input", TUNED, TakesAnyPairs),
]


@pytest.mark.parametrize(("check", "card", "wrong"), WRONG, ids=[f"{c}-{w.__name__}" for c, _, w in WRONG])
def test_a_wrong_part_is_found(check, card, wrong):
    by_name = {c.__name__: c for c in contract.checks(card)}
    with pytest.raises(AssertionError):
        by_name[check](wrong)


def test_every_check_has_a_wrong_part():
    assert {c.__name__ for c in contract.checks(PLAIN)} == {check for check, _, _ in WRONG}


def test_maps_are_used_without_torch():
    """A part is found, filled with what was learnt and used, and torch is not imported for it."""
    code = (
        "import sys, numpy as np; from tellapart.core.parts import make; x = np.eye(4, dtype=np.float32); "
        "made = [make('align', name) for name in ('ridge', 'procrustes', 'relative-representations', 'xbt')]; "
        "[part.fit(x, x).transform(x) for part in made[:3]]; "
        "part, i, o = made[3], x, np.zeros(4, np.float32); "
        "part.inner_, part.inner_bias_, part.skip_, part.bias_, part.outer_ = i, o, i, o, i; "
        "part.query_low_, part.query_high_ = i[:1], i[:, :1]; part.transform(x); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
