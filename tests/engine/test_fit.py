"""The loop: resumes to the same bits after a kill, refuses what is not its own, and trains what the recipe says."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tellapart.core.errors import DataError, PartError, TellapartError
from tellapart.core.parts import cards
from tellapart.core.relation import Keys
from tellapart.engine.fit import Fitted, fit, untrained
from tellapart.engine.inputs import Features, Pictures, TrainData
from tellapart.recipe import Recipe

SMALL = Recipe(head="linear-head(dim=8)", epochs=6, batch_size=16, learning_rate=0.01)


def pairs(n: int = 70, *, seed: int = 0) -> TrainData:
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=(n, 5))
    x, y = (cause @ rng.normal(size=(5, w)) + 0.05 * rng.normal(size=(n, w)) for w in (12, 9))
    item = torch.arange(n)
    guide = torch.nn.functional.normalize(torch.from_numpy(cause).float(), dim=1)
    extra = {"topic_vectors": cause.astype(np.float32), "teacher_margin": rng.random(n).astype(np.float32)}
    sides = Features(x.astype(np.float32)), Features(y.astype(np.float32))
    return TrainData(*sides, Keys(item, item // 2, item), guide=(guide, guide), extra=extra)


def same_bits(a: Fitted, b: Fitted) -> bool:
    return all(np.array_equal(a.state[s][k], b.state[s][k]) for s in a.state for k in a.state[s])


def test_training_learns_and_is_repeatable() -> None:
    data = pairs()
    recipe = SMALL.but(epochs=25)
    first, again, other = fit(recipe, data), fit(recipe, data), fit(recipe, data, seed=1)
    assert same_bits(first, again) and not same_bits(first, other)
    before = untrained(SMALL, data)

    def hits(fitted: Fitted) -> float:
        sim = fitted.encode("query", data.query.x.numpy()) @ fitted.encode("document", data.document.x.numpy()).T
        return float((sim.argmax(1) // 2 == np.arange(len(sim)) // 2).mean())

    assert hits(first) > hits(before) + 0.3
    assert [h["epoch"] for h in first.history] == list(range(25))


def test_a_strategy_begins_with_the_towers_where_they_will_be(monkeypatch) -> None:
    class Seen(Exception): ...

    class Probe(torch.nn.Module):
        def begin(self, run: Any) -> None:
            raise Seen(run.dim(), {x.device.type for x in run.towers.parameters()})

    monkeypatch.setattr("tellapart.engine.fit.make", lambda shape, spec: Probe())
    with pytest.raises(Seen) as seen:
        fit(SMALL, pairs(), device="meta")
    assert seen.value.args == (8, {"meta"})


@pytest.mark.parametrize("strategy", ["two-tower", "momentum-queue(size=30)", "star|adore"])
@pytest.mark.parametrize("stop", [1, 5, 17])
def test_a_stopped_run_goes_on_to_the_same_bits(strategy: str, stop: int, resumed: Callable[..., Fitted]) -> None:
    strategy = "adore(start='star', before=0.5)" if "adore" in strategy else strategy
    recipe = SMALL.but(strategy=strategy, average=0.5, sample="no-duplicates", head="mlp-head(dim=8, hidden=16)")
    data = pairs().without_guide()
    whole = fit(recipe, data)
    again = resumed(recipe, data, stop=stop)
    assert same_bits(whole, again)
    assert whole.history == again.history


KILLED = """
import sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_fit import SMALL, pairs
from tellapart.engine.fit import fit
from contextlib import ExitStack
from pathlib import Path
from typing import Any
print("ready", flush=True)
fit(SMALL.but(epochs=100), pairs(), folder=Path({folder!r}), checkpoint_seconds=0)
"""


@pytest.mark.processes
def test_killed_at_random_points_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = fit(SMALL.but(epochs=100), pairs())
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    kills = 0
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0.05, 0.8))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        process.stdout.close()
    assert kills, "the run was over before it could be killed"
    assert same_bits(whole, fit(SMALL.but(epochs=100), pairs(), folder=tmp_path))


def test_another_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    fit(SMALL, pairs(), folder=tmp_path)
    with pytest.raises(TellapartError, match="another run"):
        fit(SMALL.but(epochs=7), pairs(), folder=tmp_path)
    with pytest.raises(TellapartError, match="another run"):
        fit(SMALL, pairs(seed=1), folder=tmp_path)


def test_a_spoilt_checkpoint_is_refused_in_words(tmp_path: Path) -> None:
    fit(SMALL, pairs(), folder=tmp_path)
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TellapartError, match="remove it"):
        fit(SMALL, pairs(), folder=tmp_path)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, full_disk: Any) -> None:
    recipe = SMALL.but(epochs=3)
    fit(recipe, pairs(), folder=tmp_path / "whole")
    whole = (tmp_path / "whole" / "checkpoint.safetensors").read_bytes()
    for name, steps in (("at once", 0), ("later", 3)):
        file = tmp_path / name / "checkpoint.safetensors"
        with ExitStack() as stack:

            def fill(done: int, total: int, *, steps: int = steps, stack: ExitStack = stack) -> None:
                if done == steps:
                    stack.enter_context(full_disk(len(whole) // 2))

            with pytest.raises(TellapartError, match=r"could not be written .* it resumes"):
                fill(0, 0)
                fit(recipe, pairs(), folder=file.parent, checkpoint_seconds=0, progress=fill)
        assert file.is_file() == (steps > 0) and not list(file.parent.glob(".*"))
        fit(recipe, pairs(), folder=file.parent)
        assert file.read_bytes() == whole


@pytest.mark.parametrize("name", [n for n, c in cards("sample").items()])
def test_every_sampler_trains(name: str) -> None:
    assert np.isfinite(fit(SMALL.but(sample=name), pairs()).history[-1]["query"])


@pytest.mark.parametrize("name", [n for n, c in cards("objective").items()])
def test_every_objective_trains(name: str) -> None:
    data = pairs()
    trained = fit(SMALL.but(objective=name), data)
    assert not same_bits(trained, untrained(SMALL, data))


def test_gradient_caching_trains_the_same_towers() -> None:
    whole, parts = fit(SMALL, pairs()), fit(SMALL, pairs(), cache_rows=5)
    for side, state in whole.state.items():
        for name, x in state.items():
            np.testing.assert_allclose(parts.state[side][name], x, rtol=2e-3, atol=2e-4)


def test_mined_negatives_are_the_rows_own() -> None:
    data = pairs()
    mined = TrainData(data.query, data.document, data.keys, negatives=(torch.arange(70)[:, None] + 7) % 70)
    assert not same_bits(fit(SMALL, data), fit(SMALL, mined))


def test_pixels_are_trained_through_the_encoder() -> None:
    from tellapart.core.parts import make

    rng = np.random.default_rng(0)
    label = np.arange(24) % 2
    x = (rng.integers(0, 80, size=(24, 16, 16, 3)) + 150 * label[:, None, None, None]).astype(np.uint8)
    inputs = Pictures(x, make("encode", "small-cnn(width=8, side=16)"), (make("augment", "flip-crop"),))
    item = torch.arange(24)
    data = TrainData(inputs, inputs, Keys(item, item, torch.from_numpy(label)), same_space=True)
    recipe = SMALL.but(objective="supcon", batch_size=12, epochs=3, image="small-cnn")
    first = fit(recipe, data)
    assert first.history[-1]["query"] < first.history[0]["query"]
    assert same_bits(first, fit(recipe, data))


def test_what_cannot_be_used_is_said_before_training() -> None:
    item = torch.arange(3)
    with pytest.raises(DataError, match="lengths"):
        TrainData(Features(np.ones((3, 2))), Features(np.ones((4, 2))), Keys(item, item, item))
    with pytest.raises(DataError, match="two pairs"):
        TrainData(Features(np.ones((1, 2))), Features(np.ones((1, 2))), Keys(item[:1], item[:1], item[:1]))
    with pytest.raises(DataError, match="finite"):
        Features(np.full((3, 2), np.nan))
    data = pairs()
    alone = TrainData(data.query, data.query, data.keys, same_space=True)
    with pytest.raises(PartError, match="two sides"):
        fit(SMALL.but(strategy="cca"), alone)
