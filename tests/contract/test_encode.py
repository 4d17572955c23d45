"""Every check of the encoder contract fails on a part that is wrong in just that way."""

from __future__ import annotations

import functools
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tellapart.contract import encode as contract
from tellapart.core.errors import DataError
from tellapart.core.parts import card_of, cards, make

HEAD = functools.partial(make, "encode", "linear-head")


class Bytes:
    """A right one: a text as counts of its bytes, projected. Each wrong one below changes one thing."""

    modality, dim, fingerprint = "text", 6, "0123456789abcdef"

    def __init__(self, *, path: str = "") -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = nn.Linear(256, 6)
        if path:
            with np.load(Path(path) / "w.npz") as state:
                self.network.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})

    def prepare(self, items):
        if any(not isinstance(i, str) for i in items):
            raise DataError("texts only")
        counts = [np.bincount(np.frombuffer(i.encode(), np.uint8), minlength=256)[:256] for i in items]
        return (torch.from_numpy(np.asarray(counts, np.float32).reshape(-1, 256)).sqrt(),)

    def encode(self, items, *, batch_size: int = 64):
        with torch.no_grad():
            return self.network(*self.prepare(items)).numpy()

    def encode_tokens(self, items, *, batch_size: int = 64):
        self.prepare(items)
        rows = [self.encode([c for c in i] or [""]) for i in items]
        return [z / np.linalg.norm(z, axis=1, keepdims=True) for z in rows]

    def module(self):
        return self.network

    def save(self, folder, state=None):
        np.savez(Path(folder) / "w.npz", **{k: np.array(v) for k, v in state.items()})


class Doubles(Bytes):
    def encode(self, items, **k):
        return super().encode(items).astype(np.float64)


class OtherWidth(Bytes):
    def encode(self, items, **k):
        return super().encode(items)[:, :5]


class NanForEmpty(Bytes):
    def encode(self, items, **k):
        z = super().encode(items)
        z[[not i for i in items]] = np.nan
        return z


class FailsOnNone(Bytes):
    def encode(self, items, **k):
        return super().encode(items)[: len(items) or None].reshape(max(1, len(items)), -1)


class CentresTheBatch(Bytes):
    def encode(self, items, **k):
        z = super().encode(items)
        return z - z.mean(0) if len(z) else z


class DependsOnBatchSize(Bytes):
    def encode(self, items, *, batch_size: int = 64):
        return super().encode(items) + np.float32(batch_size)


class OneForAll(Bytes):
    def encode(self, items, **k):
        return super().encode(["x"] * len(items))


class NewFingerprint(Bytes):
    @property
    def fingerprint(self):
        return uuid.uuid4().hex


class NamedFingerprint(Bytes):
    fingerprint = "my model/v1 is here"


class TakesAnything(Bytes):
    def encode(self, items, **k):
        return super().encode([str(i) for i in items])


class RawErrors(Bytes):
    def encode(self, items, **k):
        return super().encode([i + "" for i in items])


class LongTokens(Bytes):
    def encode_tokens(self, items, **k):
        return [2 * z for z in super().encode_tokens(items)]


class NoTokensForEmpty(Bytes):
    def encode_tokens(self, items, **k):
        return [z[: len(i)] for z, i in zip(super().encode_tokens(items), items, strict=True)]


class PaddedTokens(Bytes):
    def encode_tokens(self, items, *, batch_size: int = 64):
        found = super().encode_tokens(items)
        longest = max([len(z) for z in found], default=0)
        return [np.resize(z, (longest, z.shape[1])) for z in found]


class TokensOfAnything(Bytes):
    def encode_tokens(self, items, **k):
        return super().encode_tokens([str(i) for i in items])


class FrozenModule(Bytes):
    def module(self):
        return self.network.requires_grad_(False)

    def prepare(self, items):
        return (super().prepare(items)[0].requires_grad_(),)


class HalfTrained(Bytes):
    def module(self):
        self.network.register_parameter("spare", nn.Parameter(torch.zeros(3)))
        self.network.register_parameter("other", nn.Parameter(torch.zeros(3)))
        return self.network


class OtherModule(Bytes):
    def module(self):
        return nn.Linear(256, 4)


class SavesTheOldOne(Bytes):
    def save(self, folder, state=None):
        super().save(folder, {k: v.numpy() for k, v in Bytes().network.state_dict().items()})


class TurnsOnSaving(Bytes):
    def save(self, folder, state=None):
        super().save(folder, {k: -v for k, v in state.items()})


class Patches:
    """Mean colours of 6 x 6 parts of a picture. Each wrong one below changes one thing."""

    modality = "image"

    def encode_positions(self, items, *, batch_size: int = 64):
        if any(not isinstance(i, Image.Image) for i in items):
            raise DataError("pictures only")
        x = np.array([np.asarray(i.convert("RGB").resize((6, 6))) for i in items], np.float32).reshape(-1, 6, 6, 3) + 1
        return x / np.linalg.norm(x, axis=-1, keepdims=True)


class LongPositions(Patches):
    def encode_positions(self, items, **k):
        return 2 * super().encode_positions(items)


class FlatPositions(Patches):
    def encode_positions(self, items, **k):
        return super().encode_positions(items).reshape(len(items), -1, 3)


class PositionsOfTheFirst(Patches):
    def encode_positions(self, items, **k):
        return super().encode_positions(items[:1] * len(items))


class PositionsOfAnything(Patches):
    def encode_positions(self, items, **k):
        return super().encode_positions([i for i in items if i is not None])


class Transposed(Patches):
    def encode_positions(self, items, **k):
        return super().encode_positions(items).transpose(0, 2, 1, 3)


FROZEN = [contract.check_vectors, contract.check_batch_mates, contract.check_tells_items_apart]
FROZEN += [contract.check_fingerprint, contract.check_foreign_items]
TOKENS = [contract.check_tokens, contract.check_tokens_alone, contract.check_tokens_refuse]
POSITIONS = [contract.check_positions, contract.check_positions_in_place]
TRAINABLE = [contract.check_module, contract.check_saved_module]
HEADS = [contract.check_head, contract.check_head_half, contract.check_head_refuses]


class WrappedHead:
    """The linear head with one thing changed."""

    def __init__(self, **options) -> None:
        self.right = HEAD(**options)
        self.dim = self.right.dim

    def module(self, width):
        return self.right.module(width)

    def apply(self, state, x):
        return self.right.apply(state, x)


class NotUnit(WrappedHead):
    def module(self, width):
        module = self.right.module(width)
        module.register_forward_hook(lambda m, i, o: 2 * o)
        return module


class IgnoresDim(WrappedHead):
    def __init__(self, **options) -> None:
        super().__init__()


class ForgetsTheBias(WrappedHead):
    def apply(self, state, x):
        return super().apply({**state, "skip.bias": 0 * state["skip.bias"]}, x)


class AppliesInDoubles(WrappedHead):
    def apply(self, state, x):
        return super().apply(state, x).astype(np.float64)


class DropsInEvaluation(WrappedHead):
    def module(self, width):
        module = self.right.module(width)
        module.register_forward_pre_hook(lambda m, i: (nn.functional.dropout(i[0], 0.5),))
        return module


class StaysHalf(WrappedHead):
    def module(self, width):
        module = self.right.module(width)
        module.register_forward_hook(lambda m, i, o: o.to(i[0].dtype))
        return module


class TakesNan(WrappedHead):
    def apply(self, state, x):
        return super().apply(state, np.nan_to_num(x))


class CutsToFit(WrappedHead):
    def apply(self, state, x):
        return super().apply(state, np.resize(x, (len(x), contract.WIDTH)))


class RawKeyErrors(WrappedHead):
    def apply(self, state, x):
        state["mean"]
        return super().apply(state, x)


@pytest.mark.parametrize("check", FROZEN + TOKENS + TRAINABLE, ids=lambda c: c.__name__)
def test_a_right_encoder_passes(check) -> None:
    check(Bytes)


@pytest.mark.parametrize("check", POSITIONS, ids=lambda c: c.__name__)
def test_right_positions_pass(check) -> None:
    check(Patches)


@pytest.mark.parametrize("check", HEADS, ids=lambda c: c.__name__)
def test_a_right_head_passes(check) -> None:
    check(WrappedHead)


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        (contract.check_vectors, Doubles),
        (contract.check_vectors, OtherWidth),
        (contract.check_vectors, NanForEmpty),
        (contract.check_vectors, FailsOnNone),
        (contract.check_batch_mates, CentresTheBatch),
        (contract.check_batch_mates, DependsOnBatchSize),
        (contract.check_tells_items_apart, OneForAll),
        (contract.check_fingerprint, NewFingerprint),
        (contract.check_fingerprint, NamedFingerprint),
        (contract.check_foreign_items, TakesAnything),
        (contract.check_foreign_items, RawErrors),
        (contract.check_tokens, LongTokens),
        (contract.check_tokens, NoTokensForEmpty),
        (contract.check_tokens_alone, PaddedTokens),
        (contract.check_tokens_refuse, TokensOfAnything),
        (contract.check_positions, LongPositions),
        (contract.check_positions, FlatPositions),
        (contract.check_positions, PositionsOfTheFirst),
        (contract.check_positions, PositionsOfAnything),
        (contract.check_positions_in_place, Transposed),
        (contract.check_module, FrozenModule),
        (contract.check_module, HalfTrained),
        (contract.check_module, OtherModule),
        (contract.check_saved_module, SavesTheOldOne),
        (contract.check_saved_module, TurnsOnSaving),
        (contract.check_head, NotUnit),
        (contract.check_head, IgnoresDim),
        (contract.check_head, ForgetsTheBias),
        (contract.check_head, AppliesInDoubles),
        (contract.check_head, DropsInEvaluation),
        (contract.check_head_half, StaysHalf),
        (contract.check_head_refuses, TakesNan),
        (contract.check_head_refuses, CutsToFit),
        (contract.check_head_refuses, RawKeyErrors),
    ],
    ids=lambda x: x.__name__,
)
def test_a_wrong_part_fails(check, wrong) -> None:
    with pytest.raises(AssertionError):
        check(wrong)


def test_each_trait_has_its_checks_and_every_check_is_used() -> None:
    given = {card.name: set(contract.checks(card)) for card in cards("encode").values()}
    assert given["minilm"] == set(FROZEN + TOKENS + TRAINABLE)
    assert given["lite0"] == set(FROZEN + TOKENS + POSITIONS + TRAINABLE)
    assert given["linear-head"] == given["mlp-head"] == set(HEADS)
    assert contract.checks(card_of("encode", "timm-model")) == []
