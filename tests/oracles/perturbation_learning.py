"""Found where the classes lie apart, and not where labels were dealt; the controls and the differences are counted."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"size": 1.5, "steps": 3, "width": 32, "items": 150}]
N = 210


def check(build, options):
    rng = np.random.default_rng(3)
    y = np.arange(N) % 3
    x = 0.6 * rng.normal(size=(3, 40))[y] + rng.normal(size=(N, 40))
    held = Collection.of({"id": [f"i{i:03d}" for i in range(N)], "label": [f"k{c}" for c in y]})
    report = build(**options)({"image": x}, held, seed=1)
    [finding] = report.findings()
    figure = {f.name: f.value for f in report.figures()}
    assert figure["right, as labelled"] > 0.9 and figure["right, perturbed"] > 0.6
    assert max(figure["right, noise"], figure["right, shuffled"]) < 1 / 3
    assert figure["agrees with the clean network"] > 0.6 and finding.p < 1e-3
    asked = len(finding.ids)
    assert 0.15 * report.facts["items"] < asked < 0.45 * report.facts["items"]
    # By hand: what is above chance, or above the mean of both controls where that is more.
    least = 0.0
    for value in finding.values:
        assert any(value == pytest.approx(v) for v in (2 / 3, 0.5, 0, -1 / 3, -0.5, -1))
        least += value
    assert finding.figure.value == pytest.approx(least / asked)
    assert finding.figure.value <= figure["right, perturbed"] - 1 / 3 + 1e-9
    dealt = held.take(np.arange(N)).with_column("label", [f"k{c}" for c in rng.permutation(y)])
    [nothing] = build(**options)({"image": x}, dealt, seed=1).findings()
    assert nothing.p > 0.05
    with pytest.raises(DataError, match="column 'label'"):
        build(**options)({"image": x}, Collection.of({"id": held.ids.tolist()}), seed=0)
