"""Gaussian discriminant analysis by loops, and its text head."""

from __future__ import annotations

import math

import numpy as np

CASES: list[dict] = [{}, {"alpha": 0.05}, {"alpha": 3.0, "temperature": 0.2}]


def check(build, options):
    alpha, temperature = options.get("alpha", 1.0), options.get("temperature", 0.01)
    rng = np.random.default_rng(0)
    y = [i % 3 for i in range(14)]
    x = rng.normal(size=(14, 6)) + np.array(y)[:, None]
    text, probe = rng.normal(size=(3, 6)), rng.normal(size=(5, 6))

    f = [_unit(row) for row in x]
    n, d = len(f), 6
    mu = []
    for c in range(3):
        mine = [f[i] for i in range(n) if y[i] == c]
        mu.append([sum(row[j] for row in mine) / len(mine) for j in range(d)])
    covariance = [
        [sum((f[i][a] - mu[y[i]][a]) * (f[i][b] - mu[y[i]][b]) for i in range(n)) / (n - 1) for b in range(d)]
        for a in range(d)
    ]
    trace = sum(covariance[a][a] for a in range(d))
    inner = [[(n - 1) * covariance[a][b] + (trace if a == b else 0.0) for b in range(d)] for a in range(d)]
    precision = d * np.linalg.pinv(np.array(inner))

    for given in (None, text):
        got = build(**options).fit(x, y, text=given).predict_proba(probe)
        for i, row in enumerate(probe):
            g = _unit(row)
            logits = []
            for c in range(3):
                w = [sum(precision[a][b] * mu[c][b] for b in range(d)) for a in range(d)]
                own = (
                    sum(g[a] * w[a] for a in range(d)) + math.log(1 / 3) - 0.5 * sum(mu[c][a] * w[a] for a in range(d))
                )
                zero_shot = 0.0
                if given is not None:
                    t = _unit(text[c])
                    zero_shot = sum(g[a] * t[a] for a in range(d)) / temperature
                logits.append(zero_shot + alpha * own)
            top = max(logits)
            total = sum(math.exp(v - top) for v in logits)
            for c in range(3):
                assert abs(got[i][c] - math.exp(logits[c] - top) / total) < 1e-4, (options, given is None, i, c)


def check_library(build):
    """The head is a linear discriminant with this precision: scikit-learn's agrees when given the same covariance."""
    from sklearn.covariance import EmpiricalCovariance
    from sklearn.datasets import load_digits
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    class Shrunk(EmpiricalCovariance):
        def fit(self, z, y=None):
            s = z.T @ z / (len(z) - 1)
            self.covariance_ = ((len(z) - 1) * s + np.trace(s) * np.eye(z.shape[1])) / z.shape[1]
            return self

    x, y = load_digits(return_X_y=True)
    f = x / np.linalg.norm(x, axis=1, keepdims=True)
    rows = np.concatenate([np.flatnonzero(y == c)[:20] for c in range(10)])
    residual = f[rows] - np.stack([f[rows][y[rows] == c].mean(0) for c in y[rows]])
    inverse = np.linalg.inv(Shrunk().fit(residual).covariance_)
    lda = LinearDiscriminantAnalysis(solver="lsqr", priors=np.full(10, 0.1)).fit(f[rows], y[rows])
    lda.coef_ = lda.means_ @ inverse
    lda.intercept_ = -0.5 * np.einsum("cd,cd->c", lda.coef_, lda.means_) + np.log(0.1)
    theirs = lda.predict_proba(f[900:])
    assert np.allclose(build().fit(x[rows], y[rows]).predict_proba(x[900:]), theirs, atol=1e-4)


def _unit(row):
    length = math.sqrt(sum(v * v for v in row))
    return [v / length for v in row]
