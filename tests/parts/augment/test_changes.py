"""What the docstrings of the augmentations say, on cases small enough to see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tellapart.contract._blocks import block, draws_of, weighted_rows
from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.parts import make
from tellapart.core.relation import Keys, Relation
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.engine.memory import Chain, Pairing
from tellapart.recipe import Recipe


def test_query_mixes_score_higher_than_what_they_were_mixed_from():
    """The catalogue's unit check: every h has length 1, and q.h' > q.n."""
    enc = block(rows=6, columns=30, own=0)
    made = make("augment", "mochi(hardest=1, mixes=0, query_mixes=20)")(enc, rng=draws_of(enc))
    hardest = enc.sim.masked_fill(enc.rel.neg == 0, -torch.inf).amax(1, keepdim=True)
    assert (made.own.norm(dim=-1) - 1).abs().max() < 1e-9
    assert (made.sim[:, 30:] >= hardest - 1e-9).all() and (made.sim[:, 30:] > hardest + 1e-3).any()


def test_no_gradient_goes_into_synthetic_negatives():
    enc = block(own=0)
    k = enc.k.clone().requires_grad_()
    q = enc.q.clone().requires_grad_()
    made = make("augment", "mochi")(Encoded(q, k, enc.rel), rng=draws_of(enc))
    assert not made.own.requires_grad
    grad_q, grad_k = torch.autograd.grad(made.sim[:, len(k) :].sum(), (q, k), allow_unused=True)
    assert grad_k is None or grad_k.abs().max() == 0
    torch.testing.assert_close(grad_q, made.own.sum(1))


def test_positives_and_ignored_columns_are_never_mixed():
    """Of orthogonal columns, the ones that were taken can be read off the coordinates."""
    eye = torch.eye(6, dtype=torch.float64)
    rel = Relation(torch.tensor([[1.0, 0, 0, 0, 0]]), torch.tensor([[0.0, 0, 1, 1, 0]]))
    enc = Encoded(eye[:1], eye[1:], rel)
    made = make("augment", "mochi")(enc, rng=draws_of(enc)).own[0]
    assert (made[:, [1, 2, 5]] == 0).all() and (made[:, 3:5] > 0).any(0).all()


def test_a_row_with_one_negative_repeats_it_and_one_without_gets_none():
    eye = torch.eye(4, dtype=torch.float64)
    rel = Relation(torch.zeros(2, 2), torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    enc = Encoded(eye[:2], eye[2:], rel)
    made = make("augment", "mochi(mixes=3, query_mixes=0)")(enc, rng=draws_of(enc))
    torch.testing.assert_close(made.own[0], eye[3].expand(3, 4))
    assert made.rel.neg[:, 2:].tolist() == [[1.0] * 3, [0.0] * 3]


def test_mochi_makes_the_task_harder():
    enc = weighted_rows()
    with_mixes = make("augment", "mochi")(enc, rng=draws_of(enc))
    loss = make("objective", "infonce")
    assert (loss(with_mixes)[:-1] > loss(enc)[:-1]).all()


def test_noise_has_the_length_it_says_whatever_the_dimension():
    for d in (32, 512):
        q = torch.nn.functional.normalize(torch.randn(200, d, generator=torch.Generator().manual_seed(0)), dim=1)
        enc = Encoded(q, q[:1], Relation(torch.ones(200, 1), torch.zeros(200, 1)))
        moved = make("augment", "feature-noise(strength=0.2)")(enc, rng=RowDraws(0, torch.arange(200))).q
        assert (moved - q).norm(dim=1).mean().item() == pytest.approx(0.2, rel=0.05)


def picture():
    y, x = np.mgrid[:40, :40]
    return Image.fromarray(np.stack([x * 6, y * 6, 120 + x - y], -1).astype(np.uint8))


@pytest.mark.parametrize("name", ["randaugment(operations=1, magnitude={})", "randaugment(operations=3, magnitude={})"])
def test_magnitude_moves_the_picture_farther(name):
    image = np.asarray(picture(), dtype=float)

    def far(magnitude):
        part = make("augment", name.format(magnitude))
        made = [np.asarray(part(picture(), rng=np.random.default_rng(seed)), float) for seed in range(150)]
        return np.mean([np.abs(m - image).mean() for m in made])

    distances = [far(m) for m in (0, 3, 8, 15)]
    assert distances == sorted(distances) and distances[-1] > 1.5 * distances[0]


def test_no_operations_give_the_picture_itself_as_a_copy():
    image = picture()
    made = make("augment", "randaugment(operations=0)")(image, rng=np.random.default_rng(0))
    assert made is not image and made.tobytes() == image.tobytes()


def test_flip_crop_with_nothing_to_do_does_nothing():
    image = picture()
    made = make("augment", "flip-crop(smallest=1.0, flip=0.0)")(image, rng=np.random.default_rng(0))
    assert made.tobytes() == image.tobytes()


def test_pixel_parts_compose():
    image, rng = picture(), np.random.default_rng(0)
    for name in ("flip-crop", "randaugment"):
        image = make("augment", name)(image, rng=rng)
    assert image.size == (40, 40) and image.mode == "RGB"


@pytest.mark.parametrize("spec", ["mochi(hardest=0)", "randaugment(magnitude=31)", "flip-crop(smallest=0)"])
def test_options_out_of_their_bounds_are_refused(spec):
    with pytest.raises(PartError):
        make("augment", spec)


class TestBothHalves:
    """m2-mix wants the other half of each column's pair: training supplies it, or says why it cannot."""

    def test_the_chain_is_told(self):
        assert Chain.of("infonce", augment="mochi|m2-mix").mates and not Chain.of("infonce", augment="mochi").mates

    def test_without_halves_it_says_what_is_missing(self):
        enc = block()
        with pytest.raises(PartError, match="m2-mix needs 'mate'"):
            make("augment", "m2-mix")(enc, rng=draws_of(enc))

    def test_training_supplies_them_and_chunks_are_the_whole(self):
        q, k = (torch.nn.functional.normalize(torch.randn(12, 5, dtype=torch.float64), dim=1) for _ in range(2))
        keys = Keys(*(torch.arange(12) for _ in range(3)))
        chain, found = Chain.of("infonce", augment="m2-mix(hardest=4)|positive-extrapolation"), []
        for rows in (5, 12):
            leaves = [x.clone().requires_grad_() for x in (q, k)]
            pairs = Pairing(*leaves, keys, keys, cols={"mate": leaves[0]})
            loss = chain.loss(pairs, seed=3, block_rows=rows)
            loss.backward()
            found.append([loss.detach(), *(x.grad for x in leaves)])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b)

    @pytest.mark.parametrize(("change", "said"), [({}, "both are one column"), ({"strategy": "moco"}, "a queue")])
    def test_collections_and_strategies_it_cannot_serve_are_refused(self, change, said):
        item = torch.arange(40)
        x = Features(np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32))
        y = x if not change else Features(np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32))
        data = TrainData(x, y, Keys(item, item, item), not change)
        with pytest.raises(PartError, match=said):
            fit(Recipe.of({"augment": "m2-mix", "epochs": 1, "batch_size": 8, **change}), data)
