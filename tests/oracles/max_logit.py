"""Minus the largest logit by loops, for two classes and three; a classifier without logits is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"classifier": "logistic-regression(c=0.1)"}]


def check(build, options):
    from sklearn.linear_model import LogisticRegression

    c = 0.1 if options else 1.0
    rng = np.random.default_rng(0)
    for classes in (2, 3):
        y = np.arange(60) % classes
        x, probe = rng.normal(size=(60, 4)) + 2 * np.eye(4)[y], rng.normal(size=(9, 4)) * 3
        mean, r = x.mean(axis=0), np.sqrt(x.var(axis=0).mean())
        theirs = LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit((x - mean) / r, y)
        got = build(**options).fit(x, y).score(probe)
        for i, row in enumerate(probe):
            u = [(row[j] - mean[j]) / r for j in range(4)]
            logits = [sum(w * v for w, v in zip(ws, u, strict=True)) + b
                      for ws, b in zip(theirs.coef_, theirs.intercept_, strict=True)]  # fmt: skip
            if classes == 2:
                logits = [-logits[0] / 2, logits[0] / 2]
            assert got[i] == pytest.approx(-max(logits), rel=1e-3, abs=1e-3)
    with pytest.raises(PartError, match="needs a classifier with logits"):
        build(classifier="decision-tree").fit(x, y)
