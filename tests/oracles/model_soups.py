"""The greedy recipe of the paper (Recipe 1) on a problem small enough to follow every step."""

from __future__ import annotations

import numpy as np

CASES: list[dict] = [{}]


def check(build, options):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        target = rng.normal(size=3)
        given = [{"w": target + rng.normal(size=3) * spread} for spread in (0.2, 0.5, 0.5, 1.0, 3.0)]
        asked = []

        def score(state, target=target, asked=asked):
            asked.append(state)
            return -sum((state["w"][i] - target[i]) ** 2 for i in range(3))

        soup, kept = build(**options)(given, score)
        assert len(asked) == 2 * len(given) - 1
        ranked = sorted(range(5), key=lambda i, given=given, score=score: score(given[i]), reverse=True)
        ingredients = []
        for i in ranked:
            if not ingredients:
                ingredients.append(i)
                continue
            before, after = [], []
            for d in range(3):
                before.append(sum(given[j]["w"][d] for j in ingredients) / len(ingredients))
                after.append((sum(given[j]["w"][d] for j in ingredients) + given[i]["w"][d]) / (len(ingredients) + 1))
            if score({"w": after}) >= score({"w": before}):
                ingredients.append(i)
        assert kept == ingredients
        for d in range(3):
            assert abs(soup["w"][d] - sum(given[j]["w"][d] for j in ingredients) / len(ingredients)) < 1e-12
    check_equal_scores_are_kept(build, options)


def check_equal_scores_are_kept(build, options):
    """The condition is "not worse", so with a score that knows no difference all models go in, in their order."""
    given = [{"w": np.full(2, float(i))} for i in range(4)]
    soup, kept = build(**options)(given, lambda state: 1.0)
    assert kept == [0, 1, 2, 3] and soup["w"].tolist() == [1.5, 1.5]
