"""Blocks of rows equal the whole; gradient caching equals one pass."""

from __future__ import annotations

import pytest
import torch

from tellapart.core.encoded import Encoded
from tellapart.core.parts import cards
from tellapart.core.relation import Keys, Relation
from tellapart.engine.memory import Chain, GradCache, Pairing


def plain(enc: Encoded) -> torch.Tensor:
    """A rowwise objective of the test's own."""
    logits = (enc.sim / 0.1).exp()
    positive = (logits * enc.rel.pos).sum(1)
    return (1 + (logits * enc.rel.neg).sum(1)).log() - (1e-9 + positive).log()


def drop_close(enc: Encoded, *, rng: object) -> Relation:
    return enc.rel.without_negatives(enc.sim > 0.4)


def jitter(enc: Encoded, *, rng) -> Encoded:
    mixed = enc.k[rng.integers(len(enc.k), 3)] + rng.uniform(3, stream=1)[..., None]
    own = torch.nn.functional.normalize(mixed, dim=-1)
    return enc.with_own(own.detach(), torch.zeros(own.shape[:2]), torch.ones(own.shape[:2]))


def pairing(n: int = 37, d: int = 8, *, seed: int = 0, own: bool = False) -> Pairing:
    g = torch.Generator().manual_seed(seed)
    q = torch.nn.functional.normalize(torch.randn(n, d, generator=g, dtype=torch.float64), dim=1).requires_grad_()
    k = torch.nn.functional.normalize(torch.randn(n, d, generator=g, dtype=torch.float64), dim=1).requires_grad_()
    target = torch.randint(0, n - 5, (n,), generator=g)
    target[3] = -1
    keys = Keys(torch.arange(n), torch.arange(n) // 2, target)
    held = {"own": k[torch.randint(0, n, (n, 2), generator=g)].detach().requires_grad_(), "own_neg": torch.ones(n, 2)}
    teacher = torch.rand(n, n + (2 if own else 0), generator=g, dtype=torch.float64)
    guide = torch.nn.functional.normalize(torch.randn(n, 4, generator=g), dim=1)
    extras = {"rows": {"teacher": teacher, "guide_q": guide}, "cols": {"guide_k": guide.flip(0), "mate": k.roll(1, 0)}}
    return Pairing(q, k, keys, keys, **extras, **(held if own else {}))


def gradients(chain: Chain, block_rows: int | None, *, own: bool = False, n: int = 37) -> tuple[torch.Tensor, ...]:
    pairs = pairing(n, own=own)
    loss = chain.loss(pairs, seed=5, block_rows=block_rows) * 1.7
    leaves = [pairs.q, pairs.k, *([pairs.own] if own else [])]
    return loss.detach(), *torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("block_rows", [1, 5, 36])
@pytest.mark.parametrize("own", [False, True])
def test_blocks_equal_the_whole(block_rows: int, own: bool) -> None:
    chain = Chain(plain, augment=(jitter,), relate=(drop_close,))
    for whole, blocks in zip(gradients(chain, 37, own=own), gradients(chain, block_rows, own=own), strict=True):
        torch.testing.assert_close(blocks, whole, rtol=1e-10, atol=1e-12)


def test_a_loss_that_looks_at_its_block_is_caught() -> None:
    def leaky(enc: Encoded) -> torch.Tensor:
        return plain(enc) * enc.q.shape[0]

    whole, blocks = gradients(Chain(leaky), 37), gradients(Chain(leaky), 5)
    assert not torch.allclose(whole[1], blocks[1])


ROWWISE = [name for name, card in cards("objective").items() if "rowwise" in card.traits]
RELATES = ["", *(name for name, card in cards("relate").items() if "rowwise" in card.traits)]
AUGMENTS = ["", *(name for name, card in cards("augment").items() if "features" in card.traits)]


@pytest.mark.parametrize("relate", RELATES)
@pytest.mark.parametrize("augment", AUGMENTS)
@pytest.mark.parametrize("objective", ROWWISE)
def test_every_chain_of_parts_is_equal_by_blocks(objective: str, relate: str, augment: str) -> None:
    if "teacher" in cards()[objective].traits and augment:
        pytest.skip("a teacher knows no synthetic columns")
    chain = Chain.of(objective, relate=relate, augment=augment)
    for own in (False, True):
        at_once, in_three = (gradients(chain, rows, own=own, n=20) for rows in (20, 7))
        for whole, blocks in zip(at_once, in_three, strict=True):
            torch.testing.assert_close(blocks, whole, rtol=1e-6, atol=1e-9)


def test_rows_without_a_positive_are_left_out_of_the_mean() -> None:
    pairs = pairing()
    has = Relation.of_keys(pairs.row_keys, pairs.col_keys).pos.sum(1) > 0
    assert not has.all()
    values = plain(pairs.encoded())
    torch.testing.assert_close(Chain(plain).loss(pairs, seed=0), values[has].mean())


@pytest.mark.parametrize("rows", [3, 8, 20])
def test_gradient_caching_replays_dropout(rows: int) -> None:
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Dropout(0.5), torch.nn.Linear(16, 4)).double()
    x = torch.randn(20, 6, dtype=torch.float64)

    def loss(z: torch.Tensor) -> torch.Tensor:
        return (z @ z.T).logsumexp(1).sum()

    torch.manual_seed(1)
    cache = GradCache(rows)
    z = cache.encode(encoder, x)
    loss(z).backward()
    cache.replay()
    cached = [p.grad.clone() for p in encoder.parameters()]
    encoder.zero_grad()
    torch.manual_seed(1)
    z_again = torch.cat([encoder(part) for part in x.split(rows)])
    torch.testing.assert_close(z_again, z)
    loss(z_again).backward()
    for p, grad in zip(encoder.parameters(), cached, strict=True):
        torch.testing.assert_close(grad, p.grad)
