"""Both branches in loops; compression makes the confounder say less."""

from __future__ import annotations

import math

import numpy as np

CASES: list[dict] = [{}, {"code": 3, "hidden": 16, "rate": 2.0, "epochs": 12, "seed": 1}]


def rate(z):
    u = z / np.linalg.norm(z, axis=1, keepdims=True)
    return sum(math.log(v) for v in np.linalg.eigvalsh(np.eye(z.shape[1]) + u.T @ u * z.shape[1] / len(z) / 0.5)) / 2


def check(build, options):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = 3 + 2 * rng.normal(size=(90, 5)) + 4 * np.eye(5)[y]
    part = build(**options).fit(x, y)
    w, p = part.weights_, part.predict_proba(x)
    spread = math.sqrt(sum((x[i, j] - x[:, j].mean()) ** 2 for i in range(90) for j in range(5)) / 90 / 5)
    same = 0
    for i in range(90):
        u = [(x[i, j] - x[:, j].mean()) / spread for j in range(5)]
        inner = [max(0.0, sum(w["U"][h, j] * u[j] for j in range(5)) + w["u"][h]) for h in range(len(w["u"]))]
        z = [sum(w["V"][c, h] * inner[h] for h in range(len(inner))) for c in range(len(w["V"]))]
        assert np.allclose(part.confounder(x)[i], z) if i == 0 else True
        left = [u[j] - sum(w["M"][j, c] * z[c] for c in range(len(z))) for j in range(5)]
        f = [max(0.0, sum(w["A"][h, j] * left[j] for j in range(5)) + w["a"][h]) for h in range(len(w["a"]))]
        logits = [sum(w["B"][k, h] * f[h] for h in range(len(f))) + w["b"][k] for k in range(3)]
        total = sum(math.exp(v) for v in logits)
        assert all(abs(p[i][k] - math.exp(logits[k]) / total) < 1e-5 for k in range(3))
        alone = [sum(w["C"][k, c] * z[c] for c in range(len(z))) + w["c"][k] for k in range(3)]
        same += int(np.argmax(alone)) == int(np.argmax(logits))
    assert abs(part.sufficiency(x) - same / 90) < 1e-12
    free = build(**{**options, "rate": 0.0}).fit(x, y)
    assert rate(part.confounder(x)) < rate(free.confounder(x)), "the rate term lowers the rate"
    assert len(w["V"]) == options.get("code", 8) and len(w["a"]) == options.get("hidden", 128)
