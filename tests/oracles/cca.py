"""Oracle: canonical directions one by one, by power iteration on the generalised eigenproblem, in numpy loops."""

from __future__ import annotations

import numpy as np

from tellapart.contract.strategy import small_run

CASES: list[dict] = [{}, {"ridge": 0.1, "power": 1.0}]


def check(build, options: dict) -> None:
    """Scores of all pairs: they do not depend on the signs of the directions."""
    ridge, power = options.get("ridge", 3.0), options.get("power", 0.5)
    run = small_run()
    build(**options).begin(run)
    found = (run.encode_all("query") @ run.encode_all("document").T).numpy()
    x = run.data.query.x.numpy().astype(float)
    y = run.data.document.x.numpy().astype(float)
    n = len(x)
    group = run.data.keys.group.tolist()
    weight = np.array([1 / group.count(g) for g in group])
    weight /= weight.sum()
    x = x - sum(weight[i] * x[i] for i in range(n))
    y = y - sum(weight[i] * y[i] for i in range(n))
    cxx = sum(weight[i] * np.outer(x[i], x[i]) for i in range(n))
    cyy = sum(weight[i] * np.outer(y[i], y[i]) for i in range(n))
    cxy = sum(weight[i] * np.outer(x[i], y[i]) for i in range(n))
    cxx += ridge * np.trace(cxx) / len(cxx) * np.eye(len(cxx))
    cyy += ridge * np.trace(cyy) / len(cyy) * np.eye(len(cyy))
    rng = np.random.default_rng(0)
    a_all: list[np.ndarray] = []
    b_all: list[np.ndarray] = []
    rho_all: list[float] = []
    for _ in range(5):
        b = rng.normal(size=y.shape[1])
        for _ in range(4000):
            a = np.linalg.solve(cxx, cxy @ b)
            for other in a_all:
                a -= other * (other @ cxx @ a)
            a /= np.sqrt(a @ cxx @ a)
            b = np.linalg.solve(cyy, cxy.T @ a)
            for other in b_all:
                b -= other * (other @ cyy @ b)
            b /= np.sqrt(b @ cyy @ b)
        a_all.append(a)
        b_all.append(b)
        rho_all.append(float(a @ cxy @ b))
    q = np.stack([r**power * (x @ a) for a, r in zip(a_all, rho_all, strict=True)], 1)
    k = np.stack([r**power * (y @ b) for b, r in zip(b_all, rho_all, strict=True)], 1)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    np.testing.assert_allclose(found, q @ k.T, atol=2e-3)
