"""An adapter of one picture's positions, trained on that picture with noise for what is abnormal."""

from __future__ import annotations

import functools

import numpy as np

from tellapart.core.needs import require

RATE = 1e-3


def chances(nearest: np.ndarray, level: np.ndarray | float, temperature: float) -> np.ndarray:
    """[t] that a position is abnormal: the softmax of its cosine to the nearest anchor and the level."""
    difference = (np.asarray(nearest) - level) / temperature
    return 1 / (1 + np.exp(np.clip(difference, -500, 500)))


def adapted(
    v: np.ndarray, anchors: np.ndarray, level: float, *, temperature: float, steps: int, noise: float
) -> np.ndarray:
    """[t] chances of positions [t, d] of unit length after `steps` of training on them; see `anovl`."""
    torch = require("torch", "the adapter of anovl")
    from torch.nn.functional import logsigmoid

    noisy = v + noise / v.shape[1] ** 0.5 * _draws(*v.shape)
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    z = torch.from_numpy(np.pad(np.concatenate([v, noisy]), ((0, 0), (0, 1)), constant_values=1.0))
    rows = np.zeros((len(anchors) + 1, v.shape[1] + 1))
    rows[:-1, :-1], rows[-1, -1] = anchors, level
    t = torch.from_numpy(rows)
    moving = t / torch.tensor([*[float(len(anchors))] * len(anchors), 1.0], dtype=t.dtype)[:, None]
    # Products of what is moved with anchors, from products of anchors: most of a step is then z @ w.T alone.
    near, along, across, within = z @ t.T, z @ moving.T, moving @ t.T, moving @ moving.T
    w, b = torch.zeros_like(t, requires_grad=True), torch.zeros(len(t), dtype=t.dtype, requires_grad=True)
    optimiser = torch.optim.AdamW([w, b], lr=RATE)

    def logits() -> torch.Tensor:
        gate = torch.tanh(z @ w.T + b)
        square = 2 + 2 * (gate * along).sum(1) + ((gate @ within) * gate).sum(1)  # |z|^2 is 2
        found = (near + gate @ across) * (2 / square.clamp_min(1e-12)).sqrt()[:, None]
        return (found[:, -1] - found[:, :-1].amax(1)) / temperature

    normal = 1.0 * (logits().detach()[: len(v)] <= 0)
    for _ in range(steps):
        found = logits()
        plain, corrupted = found[: len(v)], found[len(v) :]
        p = torch.sigmoid(plain)
        entropy = -(p * logsigmoid(plain) + (1 - p) * logsigmoid(-plain)).mean()
        pseudo = -(normal * logsigmoid(-plain)).mean()
        optimiser.zero_grad()
        (entropy + 0.5 * (pseudo - logsigmoid(corrupted).mean())).backward()
        optimiser.step()
    return np.asarray(torch.sigmoid(logits().detach()[: len(v)]))


@functools.lru_cache(maxsize=4)
def _draws(t: int, d: int) -> np.ndarray:
    """[t, d], the same for every picture."""
    return np.random.default_rng(0).normal(size=(t, d))
