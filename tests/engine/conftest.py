"""What tests of training share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tellapart.engine.fit import Fitted, fit
from tellapart.engine.inputs import TrainData
from tellapart.recipe import Recipe


class Stopped(Exception):
    """Raised by the progress of a run that is to stop."""


@pytest.fixture
def resumed(tmp_path: Path) -> Callable[..., Fitted]:
    """A run that is stopped after some steps, each of which it kept, and then goes on to its end."""

    def run(recipe: Recipe, data: TrainData, *, stop: int, checkpoint_seconds: float = 0.0) -> Fitted:
        def stopping(done: int, total: int) -> None:
            if done == stop:
                raise Stopped

        with pytest.raises(Stopped):
            fit(recipe, data, folder=tmp_path, progress=stopping, checkpoint_seconds=0)
        return fit(recipe, data, folder=tmp_path, checkpoint_seconds=checkpoint_seconds)

    return run
