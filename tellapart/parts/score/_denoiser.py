"""The score (slope of the log-density) of noised vectors: that of one Gaussian, and a small network for the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.needs import require

BATCH, RATE, ROWS, SLOW, FAST = 128, 5e-3, 512, 0.1, 20.0
WAVES = 2.0 ** np.arange(6) * np.pi

Weights = dict[str, Any]


class Denoiser:
    """Guesses the noise in vectors whose coordinates are uncorrelated.

    Args:
        u: [n, d] what is learnt from, of mean 0 in every coordinate.
        levels: of noise, from 1 on, of 1,000 steps of a diffusion. steps: of training; 0 leaves the Gaussian alone.
        hidden: width of the two hidden layers.
    """

    def __init__(self, u: np.ndarray, *, levels: int, steps: int, hidden: int) -> None:
        self.levels, self.variance = levels, u.var(axis=0)
        self.noise = np.random.default_rng(0).normal(size=(levels, u.shape[1]))
        self.weights = self._trained(u, steps, hidden)

    def score(self, u: np.ndarray, level: int) -> np.ndarray:
        """[n, d] at a level, every item with the same noise."""
        a, s = diffusion(level)
        time = at_time(np.full((1, 1), level))
        out = np.empty_like(u)
        for start in range(0, len(u), ROWS):
            noised = a * u[start : start + ROWS] + s * self.noise[level - 1]
            out[start : start + ROWS] = -guess(np, self.weights, noised, a, s, time, self.variance) / s
        return out

    def expected(self, u: np.ndarray) -> np.ndarray:
        """[n, d] the mean over all levels."""
        total = np.zeros_like(u)
        for level in range(1, self.levels + 1):
            total += self.score(u, level)
        return total / self.levels

    def _trained(self, u: np.ndarray, steps: int, hidden: int) -> Weights:
        """The network, by name of its weights, each with its offset as last row; none for 0 steps."""
        if not steps:
            return {}
        torch = require("torch", "fitting eps-ad")
        draw, d = torch.Generator().manual_seed(0), u.shape[1]
        shapes = {"in": (d + 2 * len(WAVES) + 1, hidden), "mid": (hidden + 1, hidden)}
        w = {k: torch.randn(n, generator=draw) / n[0] ** 0.5 for k, n in shapes.items()}
        w |= {"out": torch.zeros(hidden + 1, d)}
        items, variance = torch.from_numpy(u).float(), torch.from_numpy(self.variance).float()
        every = np.arange(1, self.levels + 1)[:, None]
        table = [torch.from_numpy(x).float() for x in (*diffusion(every), at_time(every))]
        optimiser = torch.optim.Adam([x.requires_grad_() for x in w.values()], RATE, fused=True)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            rows = torch.randint(len(u), (BATCH,), generator=draw)
            level = torch.randint(self.levels, (BATCH,), generator=draw)
            a, s, time = (x[level] for x in table)
            noise = torch.randn(BATCH, d, generator=draw)
            guessed = guess(torch, w, a * items[rows] + s * noise, a, s, time, variance)
            optimiser.zero_grad()
            (noise - guessed).square().mean().backward()
            optimiser.step()
            falling.step()
        return {k: x.detach().double().numpy() for k, x in w.items()}


def diffusion(level: Any) -> tuple[Any, Any]:
    """What is left of an item at a level, and the noise's deviation there."""
    t = level / 1000
    kept = np.exp(-(SLOW * t + (FAST - SLOW) / 2 * t**2))
    return kept**0.5, (1 - kept) ** 0.5


def at_time(level: np.ndarray) -> np.ndarray:
    """[n, 12] sines and cosines of levels [n, 1]."""
    angle = level / 1000 * WAVES
    return np.concatenate([np.sin(angle), np.cos(angle)], 1)


def guess(xp: Any, w: Weights, noised: Any, a: Any, s: Any, time: Any, variance: Any) -> Any:
    """[n, d] the noise in noised items, by numpy or torch (`xp`); `time` [n or 1, 12] as `at_time` says."""
    wide = a**2 * variance + s**2
    gauss = s * noised / wide
    if not w:
        return gauss
    d = noised.shape[1]
    x = xp.tanh(noised / wide**0.5 @ w["in"][:d] + time @ w["in"][d:-1] + w["in"][-1])
    x = xp.tanh(x @ w["mid"][:-1] + w["mid"][-1])
    return gauss + x @ w["out"][:-1] + w["out"][-1]
