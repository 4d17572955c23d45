"""A run for the checks of strategies of the trait `sounds`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tellapart.engine.session import Run

WIDTH = 4


def with_sound(run: Run) -> Run:
    """A `region_run` whose items sound of their query: in each of up to three pieces its first four numbers, one of
    them left out; one item in five has no sound."""
    n = len(run.data)
    x = run.data.query.batch(np.arange(n), seed=None).numpy()[:, :WIDTH]
    count = np.where(np.arange(n) % 5 == 2, 0, 1 + np.arange(n) % 3)
    there = np.arange(3) < count[:, None]
    pieces = np.repeat(x[:, None], 3, 1) * (np.arange(WIDTH) != np.arange(3)[:, None])
    noise = 0.1 * np.random.default_rng(16).normal(size=(int(there.sum()), WIDTH))
    extra: dict[str, Any] = {
        "sound_vectors": (pieces[there] + noise).astype(np.float32),
        "sound_of": np.where(there, there.cumsum().reshape(n, 3) - 1, -1),
    }
    run.data = replace(run.data, phrase=None, extra={**run.data.extra, **extra})
    return run
