"""What every augmentation promises, as checks that run on any of them, shipped or one's own."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tellapart.contract._blocks import block, bound, draws_of, rows_of, same_state, snapshot, weighted_rows
from tellapart.contract._draws import global_draws
from tellapart.core.draws import RowDraws
from tellapart.core.encoded import Encoded
from tellapart.core.maths import unit
from tellapart.core.parts import Card

Build = Callable[..., Any]
KINDS = ("features", "pixels", "words")
PRESERVED = ("label", "position", "pairing")
CONTRARY = "contrary"
UNIT = 1e-4
WORDS = ("a small red lamp on a wooden table", "lamp", "Größe: 5 € – naïve café", "日本語の文", "")


def checks(card: Card) -> list[Callable[[Build], None]]:
    """The checks that apply by traits.

    One of `features`, `pixels`, `words` says what is changed; one or more of `label`, `position`, `pairing` what is
    preserved: what an item is, where things are in it, and which item of the other side it belongs to; `contrary`
    instead of these, that what comes out is not what the item is, for strategies that want just that. Of those on
    features, `replaces` says that own columns may be positives and may stand for columns that were there; `mates` that
    each column's other half is wanted, as `cols["mate"]`.
    """
    by_kind: dict[str, list[Callable[[Card, Build], None]]] = {
        "features": [
            check_columns_kept, check_unit_length, check_own_weights, check_feature_chunks, check_feature_gradient,
            check_feature_half, check_feature_draws,
        ],
        "pixels": [check_picture, check_picture_draws, check_small_pictures],
        "words": [check_text, check_text_draws],
    }  # fmt: skip
    kinds = [check for kind in KINDS if kind in card.traits for check in by_kind[kind]]
    return [bound(check, card) for check in [check_traits, *kinds]]


def check_traits(card: Card, build: Build) -> None:
    """It says what it changes and what it preserves."""
    assert sum(kind in card.traits for kind in KINDS) == 1, f"{card.name} must carry one of {', '.join(KINDS)}"
    kept = [p for p in PRESERVED if p in card.traits]
    said = f"{card.name} must carry what it preserves: {', '.join(PRESERVED)}, or {CONTRARY}"
    assert bool(kept) != (CONTRARY in card.traits), said


def check_columns_kept(card: Card, build: Build) -> None:
    """What was there stays: common columns, relation of all old columns, the number of rows, guide and teacher.

    Of a part that `replaces`, old columns may cease to be something to a row, and the weights of the others may change.
    """
    for enc in _inputs(card):
        made = build()(enc, rng=draws_of(enc))
        old = enc.rel.shape[1]
        assert made.q.shape == enc.q.shape and made.k.shape == enc.k.shape, f"{card.name} changes the number of vectors"
        pos, neg = made.rel.pos[:, :old], made.rel.neg[:, :old]
        if "replaces" in card.traits:
            assert not ((pos > 0) & (enc.rel.pos == 0)).any(), f"{card.name} makes a positive of what was none"
            assert not ((neg > 0) & (enc.rel.neg == 0)).any(), f"{card.name} makes a negative of what was none"
        else:
            same = torch.equal(pos, enc.rel.pos) and torch.equal(neg, enc.rel.neg)
            assert same, f"{card.name} changes the relation of columns that were there"
        assert enc.own is None or torch.equal(made.own[:, : enc.own.shape[1]], enc.own), (
            f"{card.name} changes own columns that were there"
        )
        assert made.rows.keys() >= enc.rows.keys(), f"{card.name} loses what travels with the rows"
        assert made.cols.keys() >= enc.cols.keys(), f"{card.name} loses what travels with the columns"


def check_unit_length(card: Card, build: Build) -> None:
    """Vectors are finite and of length 1, also in rows that have no negative."""
    for enc in (*_inputs(card), _without_negatives(_weighted(card))):
        made = build()(enc, rng=draws_of(enc))
        for name in ("q", "k", "own"):
            x = getattr(made, name)
            if x is not None:
                off = (x.norm(dim=-1) - 1).abs()
                assert (off < UNIT).all(), f"{card.name} gives {name} vectors whose length is off by {off.max():.3g}"


def check_own_weights(card: Card, build: Build) -> None:
    """Added columns have sound weights: negatives only, unless it `replaces`, and none where the row has no negative.

    A row has a positive after it if and only if it had one before.
    """
    for enc in (*_inputs(card), _without_negatives(_weighted(card))):
        made = build()(enc, rng=draws_of(enc))
        assert made.rel.problems() is None, f"{card.name}: {made.rel.problems()}"
        added = slice(enc.rel.shape[1], None)
        assert "replaces" in card.traits or (made.rel.pos[:, added] == 0).all(), f"{card.name} adds positives"
        assert torch.equal(made.rel.positives.has, enc.rel.positives.has), f"{card.name} changes which rows learn"
        none = (enc.rel.neg == 0).all(1)
        assert (made.rel.neg[none, added] == 0).all(), f"{card.name} adds negatives to a row that has none"


def check_feature_chunks(card: Card, build: Build) -> None:
    """A row comes out the same whichever rows stand beside it; columns that weigh nothing may be fewer."""
    enc, part = _weighted(card), build()
    draws = draws_of(enc)
    whole = part(enc, rng=draws)
    for size in (1, 3):
        for rows in torch.arange(len(enc.q)).split(size):
            made = part(rows_of(enc, rows), rng=RowDraws(draws.seed, draws.keys[rows]))
            expected, width = rows_of(whole, rows), made.rel.shape[1]
            spare = torch.cat([expected.rel.pos[:, width:], expected.rel.neg[:, width:]])
            pairs = [(made.q, expected.q), (made.k, expected.k), (spare, torch.zeros_like(spare))]
            pairs += [(made.rel.pos, expected.rel.pos[:, :width]), (made.rel.neg, expected.rel.neg[:, :width])]
            if made.own is not None:
                pairs.append((made.own, expected.own[:, : made.own.shape[1]]))
            assert all(_near(a, b) for a, b in pairs), f"{card.name} in chunks of {size} rows differs"


def check_feature_gradient(card: Card, build: Build) -> None:
    """The rows go on learning; nothing that was added or moved gives a gradient that is not finite."""
    enc = _weighted(card)
    q, k = enc.q.clone().requires_grad_(), enc.k.clone().requires_grad_()
    given = replace(enc, q=q, k=k)
    made = build()(given, rng=draws_of(enc))
    assert given.sim.requires_grad, f"{card.name} computes the scores of its input without their gradient"
    grads = torch.autograd.grad((made.sim * torch.arange(made.sim.shape[1])).sum(), (q, k), allow_unused=True)
    assert grads[0] is not None and grads[0].abs().sum() > 0, f"{card.name} takes the gradient from the rows"
    assert all(g is None or g.isfinite().all() for g in grads), f"{card.name} gives a gradient that is not finite"


def check_feature_half(card: Card, build: Build) -> None:
    """Half precision vectors are taken, and come out finite and of about length 1."""
    wide = _weighted(card, dtype=torch.float32)
    for dtype in (torch.float16, torch.bfloat16):
        enc = replace(wide, q=wide.q.to(dtype), k=wide.k.to(dtype), own=wide.own.to(dtype))
        made = build()(enc, rng=draws_of(enc))
        for x in (made.q, made.own):
            assert ((x.float().norm(dim=-1) - 1).abs() < 0.02).all(), f"{card.name} spoils {dtype} vectors"


def check_feature_draws(card: Card, build: Build) -> None:
    """The draws decide: equal ones give the same bits, others something else; no input or global state changes."""
    enc, part = _weighted(card), build()
    before, state = snapshot(enc), torch.get_rng_state()
    first, second = part(enc, rng=draws_of(enc)), part(enc, rng=draws_of(enc))
    assert torch.equal(state, torch.get_rng_state()), f"{card.name} draws from the global generator"
    assert same_state(before, snapshot(enc)), f"{card.name} changes its input"
    assert same_state(snapshot(first), snapshot(second)), f"{card.name} gives something else when called again"
    assert not same_state(snapshot(first), snapshot(part(enc, rng=draws_of(enc, seed=4)))), (
        f"{card.name} does not look at its draws"
    )


def check_picture(card: Card, build: Build) -> None:
    """Gives a picture of the same size and mode, and leaves the one it was given as it was."""
    part = build()
    for image in (_picture("RGB"), _picture("L"), _picture("RGB", size=(31, 17))):
        before = image.tobytes()
        for seed in range(30):
            made = part(image, rng=np.random.default_rng(seed))
            assert isinstance(made, Image.Image), f"{card.name} gives {type(made).__name__}, not a picture"
            assert made is not image, f"{card.name} gives back the very picture it was given"
            assert made.size == image.size, f"{card.name} gives size {made.size} for {image.size}"
            assert made.mode == image.mode, f"{card.name} gives mode {made.mode} for {image.mode}"
        assert image.tobytes() == before, f"{card.name} changes its input"


def check_picture_draws(card: Card, build: Build) -> None:
    """The generator decides: equal ones give the same picture, others not always; no global state is used."""
    part, image = build(), _picture("RGB")
    states = random.getstate(), global_draws(), torch.get_rng_state()
    made = [part(image, rng=np.random.default_rng(seed)).tobytes() for seed in range(20)]
    again = [part(image, rng=np.random.default_rng(seed)).tobytes() for seed in range(20)]
    assert made == again, f"{card.name} gives another picture when called again"
    assert len(set(made)) > 1, f"{card.name} does not look at its generator"
    assert states[0] == random.getstate(), f"{card.name} draws from Python's global generator"
    assert states[1] == global_draws(), f"{card.name} draws from numpy's global generator"
    assert torch.equal(states[2], torch.get_rng_state()), f"{card.name} draws from torch's global generator"


def check_small_pictures(card: Card, build: Build) -> None:
    """The smallest pictures and those of one colour are no trouble."""
    part = build()
    for image in (_picture("RGB", size=(1, 1)), _picture("RGB", size=(2, 1)), Image.new("RGB", (8, 8), (7, 7, 7))):
        for seed in range(30):
            made = part(image, rng=np.random.default_rng(seed))
            assert made.size == image.size, f"{card.name} gives size {made.size} for {image.size}"


def check_text(card: Card, build: Build) -> None:
    """Gives text, and something where there was something."""
    part = build()
    for text in WORDS:
        for seed in range(20):
            made = part(text, rng=np.random.default_rng(seed))
            assert isinstance(made, str), f"{card.name} gives {type(made).__name__}, not text"
            assert made.strip() or not text, f"{card.name} leaves nothing of {text!r}"


def check_text_draws(card: Card, build: Build) -> None:
    """The generator decides: equal ones give the same text, others not always."""
    part = build()
    made = [part(WORDS[0], rng=np.random.default_rng(seed)) for seed in range(20)]
    assert made == [part(WORDS[0], rng=np.random.default_rng(seed)) for seed in range(20)], (
        f"{card.name} gives another text when called again"
    )
    assert len(set(made)) > 1, f"{card.name} does not look at its generator"


def _inputs(card: Card) -> tuple[Encoded, ...]:
    return _given(card, block()), _weighted(card), _given(card, block(own=0))


def _weighted(card: Card, *, dtype: torch.dtype = torch.float64) -> Encoded:
    return _given(card, weighted_rows(dtype=dtype))


def _given(card: Card, enc: Encoded) -> Encoded:
    """The block with what the card's traits ask for."""
    if "mates" not in card.traits:
        return enc
    mates = torch.linspace(-2, 2, enc.k.numel()).view_as(enc.k).sin().to(enc.k.dtype)
    return replace(enc, cols={**enc.cols, "mate": unit(enc.k + mates).to(enc.k.dtype)})


def _without_negatives(enc: Encoded) -> Encoded:
    neg = enc.rel.neg.clone()
    neg[:2] = 0.0
    neg[2, 1:] = 0.0
    return enc.with_relation(replace(enc.rel, neg=neg))


def _picture(mode: str, size: tuple[int, int] = (24, 24)) -> Image.Image:
    """Colours that differ everywhere, so that no operation leaves all as it was."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(5).integers(0, 40, (height, width))
    bands = [x * 180 // max(width - 1, 1) + noise, y * 180 // max(height - 1, 1) + noise, 200 - noise * 2 + 0 * x]
    return Image.fromarray(np.stack(bands, -1).astype(np.uint8)).convert(mode)


def _near(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=1e-9)
