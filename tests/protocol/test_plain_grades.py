"""The nearest items' grades are what loops say, and both are measured on grades of a known rule."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.protocol import plain_grades


def test_the_regression_is_compared_with_the_nearest_items(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(460, 12))
    y = x @ np.linspace(-1, 1, 12)
    monkeypatch.setattr(plain_grades, "damaged", lambda data: (x, y, np.zeros(460, int)))
    found = plain_grades.run({"part": "ridge-grades", "options": {"few": 20, "many": 60}}, "any", 0)
    assert set(found) == {"SRCC, few grades", "SRCC, many grades"}
    baseline, ours = found["SRCC, many grades"]
    assert ours > 0.99 > baseline > 0.2
    far = [float(a @ x[0] / np.linalg.norm(a) / np.linalg.norm(x[0])) for a in x[1:20]]
    mean = np.mean(y[1:20][np.argsort(far)[-3:]])
    assert plain_grades.nearest(x[1:20], y[1:20], x[:1], 3) == pytest.approx([mean])
