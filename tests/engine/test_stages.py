"""Training in stages: it resumes to the same bits, what is frozen stays, and what does not go together is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tellapart.core.collection import Collection, Side, Sides
from tellapart.core.errors import PartError
from tellapart.core.relation import Keys
from tellapart.engine import towers
from tellapart.engine.compatible import check_together
from tellapart.engine.fit import Fitted, _share, fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.engine.model import Head, Model
from tellapart.recipe import Recipe

STAGED = Recipe(
    strategy="mcl(clusters=3)",
    head="staged-head(dim=10, block='linear-head(dropout=0.2)')",
    epochs=6,
    batch_size=16,
    learning_rate=0.01,
    weight_decay=1.0,
)
WORDS = Collection.of({"id": ["a", "b"], "anchor": ["x", "y"], "positive": ["u", "v"]})


def pairs(*, width: int = 12) -> TrainData:
    rng = np.random.default_rng(0)
    cause = rng.normal(size=(70, 5))
    x, y = (cause @ rng.normal(size=(5, w)) + 0.05 * rng.normal(size=(70, w)) for w in (width, width))
    item = torch.arange(70)
    return TrainData(Features(x.astype(np.float32)), Features(y.astype(np.float32)), Keys(item, item // 2, item))


def same_bits(a: Fitted, b: Fitted) -> bool:
    return all(np.array_equal(a.state[s][k], b.state[s][k]) for s in a.state for k in a.state[s])


@pytest.mark.parametrize("stop", [1, 8, 9, 17, 23])
def test_a_run_stopped_in_any_stage_goes_on_to_the_same_bits(stop: int, resumed: Callable[..., Fitted]) -> None:
    data = pairs()
    recipe = STAGED.but(average=0.3)
    whole = fit(recipe, data)
    assert same_bits(whole, resumed(recipe, data, stop=stop))
    assert int(whole.state["query"]["stage"]) == int(whole.state["document"]["stage"]) == 2


def test_decay_leaves_frozen_stages_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def build(recipe: Recipe, data: TrainData) -> torch.nn.ModuleDict:
        built.append(made(recipe, data))
        return built[0]

    made = towers.build
    monkeypatch.setattr(towers, "build", build)
    seen: dict[int, list[np.ndarray]] = {}

    def watching(done: int, total: int) -> None:
        seen[done] = [block.skip.weight.detach().numpy().copy() for block in built[0]["query"].blocks]

    fit(STAGED, pairs(), progress=watching)
    for number in range(3):
        moves = [not np.array_equal(seen[step][number], seen[step + 1][number]) for step in range(1, 24)]
        assert [step for step, moved in enumerate(moves, start=1) if moved] == [
            step for step in range(1, 24) if step * 3 // 24 == number
        ], f"head {number} moves outside of its stage"


def test_every_stage_has_a_schedule_of_its_own() -> None:
    assert [_share(step, 10, 1) for step in range(11)] == [step / 10 for step in range(11)]
    found = [_share(step, 8, 3) for step in range(9)]
    assert found == [0, 1 / 3, 2 / 3, 0, 1 / 3, 2 / 3, 0, 1 / 2, 1]


def test_a_model_of_stages_is_kept_and_opened(tmp_path: Path) -> None:
    fitted = fit(STAGED, pairs(width=384))
    sides = Sides(Side("anchor", "text"), Side("positive", "text"), None)
    heads = {side: Head(STAGED.head, fitted.state[side]) for side in ("query", "document")}
    opened = Model.load(Model(sides, {"text": "minilm"}, heads).save(tmp_path / "model"))
    x = np.random.default_rng(0).normal(size=(4, 384)).astype(np.float32)
    assert opened.dim == 10
    for side in ("query", "document"):
        np.testing.assert_allclose(opened.project(side, x), fitted.encode(side, x), atol=1e-5)
    with pytest.raises(PartError, match="not exported"):
        opened.layers("query")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head": "linear-head"}, "set head=staged-head as well"),
        ({"strategy": "two-tower"}, "would train the first stage of head=staged-head.* alone"),
        ({"strategy": "cca"}, "would train the first stage"),
        ({"tune": "full", "text": "minilm"}, "set tune=head"),
    ],
)
def test_stages_and_plain_heads_do_not_mix(changes: dict[str, str], words: str) -> None:
    usual = {} if "strategy" in changes else {"strategy": STAGED.strategy}
    recipe = Recipe(**{"head": STAGED.head, **usual, **changes})
    with pytest.raises(PartError, match=words):
        check_together(WORDS, recipe)
    with pytest.raises(PartError, match=words):
        fit(recipe, pairs())
    check_together(WORDS, STAGED)
