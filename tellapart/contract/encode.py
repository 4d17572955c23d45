"""What every encoder and head promises. A check takes a factory of the ready part and raises AssertionError.

Traits: `frozen` (items -> vectors in numpy), `trainable` (`module()` in torch), `head` (vectors -> vectors, trained in
torch and applied in numpy), `tokens` (several vectors an item too: `encode_tokens`; of pictures `cells`), `positions`
(a map of vectors of the whole picture: `encode_positions`), `remote` (its weights come from the hub, so nothing can be
run here).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.core.errors import TellapartError
from tellapart.core.parts import Card

Build = Callable[..., Any]
Check = Callable[[Build], None]

CLOSE, COSINE = 1e-5, 0.9999
TEXTS = ("a yellow fruit", "", "two grey cats asleep on a red sofa", "猫", "cat " * 400, "A yellow fruit")
WIDTH = 24


def items(modality: str) -> list[Any]:
    """Items of unlike sizes, among them an empty text, a picture of a single pixel and a window of two steps."""
    if modality == "text":
        return list(TEXTS)
    rng = np.random.default_rng(0)
    if modality == "series":
        sizes = [(3, 57), (1, 100), (6, 128), (3, 300), (3, 2), (2, 40)]
        return [rng.normal(size=size).astype(np.float32).cumsum(1) for size in sizes]
    from PIL import Image

    sizes = [(31, 57), (64, 64), (1, 1), (300, 120), (40, 40)]
    return [Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in sizes]


def check_vectors(build: Build) -> None:
    """[n, dim] float32, finite, for any items and for none."""
    part = build()
    given = items(part.modality)
    z = part.encode(given)
    assert isinstance(z, np.ndarray) and z.shape == (len(given), part.dim), (
        f"vectors must be [{len(given)}, {part.dim}], they are {z.shape}"
    )
    assert z.dtype == np.float32, f"vectors must be float32, they are {z.dtype}"
    assert np.isfinite(z).all(), "vectors must be finite, those of an empty text and of one pixel too"
    none = part.encode([])
    assert none.shape == (0, part.dim), f"no items must give [0, {part.dim}], they give {none.shape}"


def check_batch_mates(build: Build) -> None:
    """An item's vector does not depend on what is encoded with it, on the order or on the batch size."""
    part = build()
    given = items(part.modality)
    z = part.encode(given)
    size = max(1.0, float(np.abs(z).max()))
    alone = np.concatenate([part.encode([item]) for item in given])
    assert np.abs(alone - z).max() <= CLOSE * size, "a vector changes with the items that are encoded beside it"
    turned = part.encode(given[::-1], batch_size=2)[::-1]
    assert np.abs(turned - z).max() <= CLOSE * size, "a vector changes with the order or the size of the batch"


def check_tells_items_apart(build: Build) -> None:
    """Unlike items have unlike vectors."""
    part = build()
    z = part.encode(items(part.modality)[:4])
    gaps = np.abs(z[:, None] - z[None]).max(-1)[~np.eye(len(z), dtype=bool)]
    assert gaps.min() > 1e-4, "two unlike items have one vector"


def check_fingerprint(build: Build) -> None:
    """The fingerprint is a text that is equal for equal parts and fit for a file's name."""
    first, second = build().fingerprint, build().fingerprint
    assert isinstance(first, str) and first == second, f"the fingerprint changes: {first!r}, then {second!r}"
    assert len(first) >= 16 and first.isalnum(), f"the fingerprint {first!r} is no hash of 16 letters or more"


def check_foreign_items(build: Build) -> None:
    """An item of another kind is refused in words."""
    part = build()
    for wrong in (None, 7):
        try:
            part.encode([*items(part.modality)[:1], wrong])
        except TellapartError:
            continue
        except Exception as error:
            raise AssertionError(f"{wrong!r} among the items must be refused in words, not by {error!r}") from error
        raise AssertionError(f"{wrong!r} among the items must be refused, not encoded")


def check_tokens(build: Build) -> None:
    """`encode_tokens` gives each item a matrix [t >= 1, d] float32 of unit rows, and none for no items."""
    part = build()
    given = items(part.modality)
    found = part.encode_tokens(given)
    assert isinstance(found, list) and len(found) == len(given), f"{len(given)} items must give as many matrices"
    width = {rows.shape[1:] for rows in found}
    assert len(width) == 1 and all(rows.ndim == 2 and len(rows) for rows in found), "each item must give [t >= 1, d]"
    assert all(rows.dtype == np.float32 for rows in found), "token vectors must be float32"
    length = np.linalg.norm(np.concatenate(found), axis=1)
    assert np.abs(length - 1).max() <= CLOSE, "token vectors must have unit length"
    assert part.encode_tokens([]) == [], "no items must give an empty list"


def check_tokens_alone(build: Build) -> None:
    """An item's token vectors do not depend on what is encoded with it, on the order or on the batch size."""
    part = build()
    given = items(part.modality)
    found = part.encode_tokens(given)
    turned = part.encode_tokens(given[::-1], batch_size=2)[::-1]
    alone = [part.encode_tokens([item])[0] for item in given]
    for others in (turned, alone):
        same = all(a.shape == b.shape and np.abs(a - b).max() <= CLOSE for a, b in zip(found, others, strict=True))
        assert same, "token vectors change with the items that are encoded beside them"


def check_tokens_refuse(build: Build) -> None:
    """An item of another kind is refused in words, for its tokens too."""
    part = build()
    must_refuse_none(part.encode_tokens, items(part.modality))


def must_refuse_none(encode: Callable[[list[Any]], Any], given: list[Any]) -> None:
    """Assert that None among the items raises an error meant for people."""
    try:
        encode([*given[:1], None])
    except TellapartError:
        return
    except Exception as error:
        raise AssertionError(f"None among the items must be refused in words, not by {error!r}") from error
    raise AssertionError("None among the items must be refused, not encoded")


def check_positions(build: Build) -> None:
    """`encode_positions` gives [n, h, w, d] float32 of unit rows, items on their own as beside others."""
    part = build()
    given = items(part.modality)
    found = part.encode_positions(given)
    assert isinstance(found, np.ndarray) and found.ndim == 4 and len(found) == len(given), "must give [n, h, w, d]"
    assert found.dtype == np.float32, "vectors of positions must be float32"
    assert np.abs(np.linalg.norm(found, axis=-1) - 1).max() <= CLOSE, "vectors of positions must have unit length"
    alone = np.concatenate([part.encode_positions([item]) for item in given[::-1]])[::-1]
    assert np.abs(alone - found).max() <= CLOSE, "positions change with the items that are encoded beside them"
    assert part.encode_positions([]).shape == (0, *found.shape[1:]), "no items must give an empty array"
    must_refuse_none(part.encode_positions, given)


def check_positions_in_place(build: Build) -> None:
    """What is changed in one corner of a picture, edges included, changes most the positions that lie there."""
    from PIL import Image

    plain = np.random.default_rng(1).integers(100, 130, (64, 96, 3), dtype=np.uint8)
    changed = plain.copy()
    changed[:12, 80:] = (255, 0, 0)
    one, other = build().encode_positions([Image.fromarray(plain), Image.fromarray(changed)])
    moved = ((one - other) ** 2).sum(-1)
    row, column = np.unravel_index(moved.argmax(), moved.shape)
    assert row < moved.shape[0] / 3 and column >= moved.shape[1] * 2 / 3, "a position does not show its own place"


def check_module(build: Build) -> None:
    """`module()(*prepare(items))` is [n, dim], and every parameter gets a gradient."""
    import torch

    part = build()
    given = items(part.modality)[:3]
    module = part.module()
    z = module(*part.prepare(given))
    assert isinstance(z, torch.Tensor) and z.shape == (3, part.dim), f"the module must give [3, {part.dim}]"
    (z * torch.linspace(-1, 1, part.dim)).sum().backward()
    without = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    trained = [p for p in module.parameters() if p.grad is not None]
    assert trained, "no parameter of the module gets a gradient"
    assert len(without) <= len(trained) // 4, f"parameters without a gradient: {', '.join(without[:5])}"


def check_saved_module(build: Build) -> None:
    """A trained state that is saved encodes as the module did (cosine above 0.9999)."""
    import torch

    part = build()
    given = items(part.modality)
    module = part.module().eval()
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * p.abs().mean() * torch.randn(p.shape, generator=draw))
        y = module(*part.prepare(given)).numpy()
    with tempfile.TemporaryDirectory() as folder:
        part.save(folder, {name: x.numpy() for name, x in module.state_dict().items()})
        z = build(path=folder).encode(given)
    length = np.linalg.norm(y, axis=1) * np.linalg.norm(z, axis=1)
    cosine = (y * z).sum(1) / np.maximum(length, 1e-12)
    assert cosine.min() > COSINE, f"a saved state has other vectors than its module: cosine {cosine.min():.5f}"


def check_head(build: Build) -> None:
    """The numpy form equals the module in evaluation, in float32 at unit length, and has the width asked for."""
    import torch

    part = build(dim=11)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = part.module(WIDTH)
        x = 2 + 3 * torch.rand(9, WIDTH)
        module.standardise(x)
        with torch.no_grad():
            for p in module.parameters():
                p.add_(0.1 * torch.randn_like(p))
    module.eval()
    y = module(x)
    assert y.dtype == torch.float32 and tuple(y.shape) == (9, 11), (
        f"the module must give [9, 11] float32, not {y.shape}"
    )
    length = y.norm(dim=1)
    assert torch.allclose(length, torch.ones(9), atol=CLOSE), "vectors of a head must have unit length"
    z = part.apply({name: t.numpy() for name, t in module.state_dict().items()}, x.numpy())
    assert z.dtype == np.float32, f"vectors must be float32, they are {z.dtype}"
    gap = np.abs(z - y.detach().numpy()).max()
    assert gap <= CLOSE, f"the numpy form differs from the module by {gap:.2g}"


def check_head_half(build: Build) -> None:
    """Half precision goes in, float32 comes out."""
    import torch

    part = build()
    module = part.module(WIDTH).eval()
    assert module(torch.rand(2, WIDTH).bfloat16()).dtype == torch.float32, "a head gives float32 whatever it is given"


def check_head_refuses(build: Build) -> None:
    """Vectors of another width, NaN, and the tensors of something else are refused in words."""
    part = build()
    state = {name: t.numpy() for name, t in part.module(WIDTH).state_dict().items()}
    good = np.ones((2, WIDTH), np.float32)
    for what, tensors, x in (
        ("another width", state, good[:, :-1]),
        ("NaN", state, good * np.nan),
        ("foreign tensors", {"x": good}, good),
    ):
        try:
            part.apply(tensors, x)
        except TellapartError:
            continue
        except Exception as error:
            raise AssertionError(f"{what} must be refused in words, not by {error!r}") from error
        raise AssertionError(f"{what} must be refused")


def checks(card: Card) -> list[Check]:
    """The checks that hold for a card."""
    if "remote" in card.traits:
        return []
    found: list[Check] = []
    if "frozen" in card.traits:
        found += [check_vectors, check_batch_mates, check_tells_items_apart, check_fingerprint, check_foreign_items]
    if {"tokens", "cells"} & set(card.traits):
        found += [check_tokens, check_tokens_alone, check_tokens_refuse]
    if "positions" in card.traits:
        found += [check_positions, check_positions_in_place]
    if "trainable" in card.traits:
        found += [check_module, check_saved_module]
    if "head" in card.traits:
        found += [check_head, check_head_half, check_head_refuses]
    return found
