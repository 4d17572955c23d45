"""Values are dropped as often as said, in whole; letters are mistyped as often as said, each way alike."""

from __future__ import annotations

import numpy as np

CASES: list[dict] = [{}, {"drop": 0.5, "typos": 0.0}, {"drop": 0.0, "typos": 0.3}, {"drop": 0.9, "typos": 0.02}]
CELLS = ["name: old mill", "place: Leeds", "year: 1820", "floors: 4", "owner: none"]
TIMES = 1500


def check(build, options):
    drop, typos = options.get("drop", 0.2), options.get("typos", 0.05)
    part, text = build(**options), "; ".join(CELLS)
    if not typos:
        counts = np.zeros(len(CELLS))
        for seed in range(TIMES):
            left = part(text, rng=np.random.default_rng(seed)).split("; ")
            assert left == [cell for cell in CELLS if cell in left], "the cells that stay are in their order, whole"
            counts += [cell in left for cell in CELLS]
        none = drop ** len(CELLS)
        expected = (1 - drop) + none / len(CELLS)
        assert abs(counts / TIMES - expected).max() < 5 * (expected * (1 - expected) / TIMES) ** 0.5
    if not drop:
        word = "abcdefgh"
        kinds = {"left out": 0, "doubled": 0, "swapped": 0, "another": 0}
        for seed in range(TIMES):
            made = part(f"{word}", rng=np.random.default_rng(seed))
            singles = {
                **{word[:i] + word[i + 1 :]: "left out" for i in range(8)},
                **{word[:i] + word[i] + word[i:]: "doubled" for i in range(8)},
                **{word[:i] + word[i + 1] + word[i] + word[i + 2 :]: "swapped" for i in range(7)},
            }
            changed = [i for i in range(8) if len(made) == 8 and made[i] != word[i]]
            if made in singles:
                kinds[singles[made]] += 1
            elif len(changed) == 1:
                kinds["another"] += 1
        # One sign of eight is wrong, in one of four ways; a swap hides its second sign, and the last has none.
        one = typos * (1 - typos) ** 7 / 4
        expected = {
            "left out": 8 * one,
            "doubled": 8 * one,
            "swapped": 7 * one / (1 - typos),
            "another": 8 * one * 25 / 26,
        }
        for kind, share in expected.items():
            assert abs(kinds[kind] / TIMES - share) < 5 * (share / TIMES) ** 0.5, (kind, kinds[kind] / TIMES, share)
    for words in ("one two three", "a|b\nc", "x", "..."):
        for seed in range(30):
            assert part(words, rng=np.random.default_rng(seed)).strip()
    assert part("  ", rng=np.random.default_rng(0)) == "  "
