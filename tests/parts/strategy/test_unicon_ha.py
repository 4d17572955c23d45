"""unicon-ha on pictures: stages of a small network with weaker augmentations, and what they need."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tellapart.core.errors import PartError
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.engine import towers
from tellapart.engine.inputs import Pictures, TrainData
from tellapart.engine.memory import Chain
from tellapart.engine.session import Run
from tellapart.parts.strategy._turned import upto
from tellapart.recipe import Recipe


def pictures_run() -> Run:
    """Eight pictures below a small network."""
    recipe = Recipe.of({"image": "small-cnn(width=8, side=16)", "tune": "full", "head": "linear-head(dim=6)",
                        "augment": "flip-crop", "strategy": "unicon-ha"})  # fmt: skip
    x = np.random.default_rng(0).integers(0, 255, (8, 16, 16, 3), dtype=np.uint8)
    inputs = Pictures(x, make("encode", recipe.image), [make("augment", "flip-crop")])
    item = torch.arange(8)
    data = TrainData(inputs, inputs, Keys(item, item, item), True)
    torch.manual_seed(0)
    return Run(recipe, data, towers.build(recipe, data), Chain.of(recipe.objective), 0, torch.device("cpu"))


def test_every_stage_has_its_block_its_augmentation_and_a_share_of_the_loss():
    run, rows = pictures_run(), np.arange(4)
    part = make("strategy", "unicon-ha", weaker="flip-crop(smallest=1.0, flip=0.0);flip-crop(smallest=0.8)")
    part.begin(run)
    assert [p.first.shape[0] for p in part.projections] == [8, 16, 6]
    losses, whole = [], part._loss

    def seen(run, z, batch, *, soft):
        losses.append((soft, whole(run, z, batch, soft=soft)))
        # The first augmentation alters nothing: both copies of an item, turned alike, have one vector.
        assert torch.allclose(z[:4], z[4:8], atol=1e-6) == (len(losses) == 1)
        return losses[-1][1]

    part._loss = seen
    found = part.step(run, rows)["aggregation"]
    assert [soft for soft, _ in losses] == [False, False, True], "weights belong to the last stage alone"
    assert found.item() == pytest.approx(sum(loss.item() for _, loss in losses) / 3, rel=1e-5)
    network, plain = run.towers["query"][0], run.data.query.batch(rows, seed=None)
    first = network.blocks[0](network.stem(2 * plain - 1)).mean((2, 3))
    assert torch.allclose(upto(run, 0, 2)(plain), first, atol=1e-5)
    assert len(run.data.query.augment) == 1, "the recipe's own augmentation was replaced"


def test_pictures_that_nothing_alters_are_refused():
    run = pictures_run()
    run.data.query.augment = ()
    with pytest.raises(PartError, match="nothing alters these"):
        make("strategy", "unicon-ha").begin(run)
