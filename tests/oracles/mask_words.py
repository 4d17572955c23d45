"""Every word is as it was, the mask, or another of the text, as often as the formula says; the rest never changes."""

from __future__ import annotations

import re

import numpy as np

CASES: list[dict] = [{}, {"share": 0.5, "mask": "<mask>"}, {"share": 1.0}]
TEXT = "alpha beta, gamma  delta(epsilon) zeta\n\teta theta_1 iota kappa"
WORDS = ["alpha", "beta", ",", "gamma", "delta", "(", "epsilon", ")", "zeta", "eta", "theta_1", "iota", "kappa"]
BETWEEN = ["", " ", "", " ", "  ", "", "", "", " ", "\n\t", " ", " ", " ", ""]


def check(build, options):
    share, mask = options.get("share", 0.15), options.get("mask", "[MASK]")
    part, times = build(**options), 1500
    pattern = re.compile("".join(f"{re.escape(gap)}({{}})" for gap in BETWEEN[:-1]).format(*[_any(mask)] * len(WORDS)))
    masked, swapped = np.zeros(len(WORDS)), np.zeros(len(WORDS))
    for seed in range(times):
        found = pattern.fullmatch(part(TEXT, rng=np.random.default_rng(seed)))
        assert found, "what stands between words has changed"
        for i, word in enumerate(found.groups()):
            masked[i] += word == mask
            swapped[i] += word not in (mask, WORDS[i])
    expected = {"masked": 0.8 * share, "swapped": 0.1 * share * (len(WORDS) - 1) / len(WORDS)}
    for name, counts in (("masked", masked), ("swapped", swapped)):
        wanted = expected[name] * times
        assert abs(counts - wanted).max() < 5 * max(wanted * (1 - expected[name]), 1) ** 0.5, (name, counts, wanted)
    assert part("", rng=np.random.default_rng(0)) == ""


def _any(mask):
    return "|".join([re.escape(mask), *map(re.escape, WORDS)])
