"""What strategies that end in codes of signs share: standardised features, and rotations towards the signs. numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.errors import PartError

SIDES = ("query", "document")


def features(run: Any, side: str, part: str) -> np.ndarray:
    """[n + m, width] float64 standardised features of a side: its n pairs, then its m items without a partner."""
    tower = run.towers[side]
    inputs = [run.data.side(side), *([run.data.alone[side]] if side in run.data.alone else [])]
    if any(each.encoder() is not None for each in inputs):
        raise PartError(f"{part} works on frozen features: set tune=head, or use strategy=two-tower")
    found = [tower.standardised(each.batch(np.arange(len(each)), seed=None).to(run.device)) for each in inputs]
    return np.concatenate([x.detach().cpu().numpy().astype(np.float64) for x in found])


def signs(x: np.ndarray) -> np.ndarray:
    """1 where x >= 0, otherwise -1."""
    return np.where(x >= 0, 1.0, -1.0)


def drawn_rotation(size: int, rng: np.random.Generator) -> np.ndarray:
    """[size, size] orthogonal, evenly distributed: the Q of a Gaussian matrix whose R has a positive diagonal."""
    q, r = np.linalg.qr(rng.normal(size=(size, size)))
    turned: np.ndarray = q * signs(np.diag(r))
    return turned


def nearest_rotation(v: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The orthogonal R that minimises |B - V R|, for V and B [n, size] (Procrustes): U W' of V' B = U S W'."""
    left, _, right = np.linalg.svd(v.T @ b)
    turned: np.ndarray = left @ right
    return turned
