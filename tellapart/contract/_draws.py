"""Where the global generator of numpy stands: a part that moves it would make other results depend on it."""

from __future__ import annotations

import numpy as np


def global_draws() -> tuple[bytes, int]:
    """Its numbers and the place in them: most draws move only the place."""
    _, numbers, place, *_ = np.random.get_state()
    return np.asarray(numbers).tobytes(), int(place)
