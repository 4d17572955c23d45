"""Which exchanges there are in captions whose kinds of words are known, each drawn as often as it should be."""

from __future__ import annotations

from collections import Counter

import numpy as np

CASES: list[dict] = [{}, {"swaps": 3}]
# Captions, and for each kind of which there are two words, the pairs that may be exchanged.
KNOWN = {
    "A red car beside a blue house!": [[("red", "blue")], [("car", "house")]],
    "the man and the woman": [],
    "cats and dogs": [],
    "a big red ball": [],
    "the horse quietly eats the old grass": [[("horse", "grass")]],
    "a dog, a cat; a bird": [[("dog", "cat"), ("dog", "bird"), ("cat", "bird")]],
    "eine rote Lampe": [[("eine", "rote"), ("eine", "Lampe"), ("rote", "Lampe")]],
}


def check(build, options: dict) -> None:
    part, draws = build(**options), 400
    for text, kinds in KNOWN.items():
        made = Counter(part(text, rng=np.random.default_rng(seed)) for seed in range(draws))
        if options.get("swaps", 1) > 1:
            # an odd number of exchanges of two pairs gives each of them, or one of them, once
            assert all(sorted(one.lower()) == sorted(text.lower()) for one in made)
            continue
        expected = {}
        for pairs in kinds:
            for a, b in pairs:
                other = text.replace(a, "#").replace(b, a).replace("#", b)
                expected[other] = 1 / len(kinds) / len(pairs)
        assert set(made) == (set(expected) or {text}), (text, made)
        for other, chance in expected.items():
            assert abs(made[other] / draws - chance) < 0.1, (other, made[other])
    twice = {part("a red car beside a blue house", rng=np.random.default_rng(seed)) for seed in range(60)}
    one = {"a blue car beside a red house", "a red house beside a blue car"}
    assert twice == one, twice
