"""Pseudo tokens: a vector in place of a word, optimised until a frozen text tower says what it should."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.core.errors import DataError
from tellapart.core.maths import unit

PLACE, WORDS = "*", ("cat", "dog")


def invert(
    encoder: Any, stages: Sequence[Sequence[Any]], targets: np.ndarray, *, template: str, steps: int, rate: float,
    seed: int, batch: int = 64,
) -> np.ndarray:  # fmt: skip
    """[n, d] float32 unit vectors of `template` with its `*` optimised, for each target, to lie at that target.

        v_i = argmin 1 - cos(tower(template with v_i), target_i)   by `steps` of AdamW at `rate`

    Nothing but the v_i is trained. They begin at the mean of all words' vectors, a tenth of their spread around it.

    Args:
        encoder: a trainable encoder of texts: `module()`, whose words go through one table, and `prepare(texts)`.
        stages: what comes behind it, each stage dense layers (`weight`, `bias`, `relu`) and then unit length.
        targets: [n, d]. template: with one `*`, where a word would stand.

    Raises `DataError` for a template without one place for a word.
    """
    if template.count(PLACE) != 1:
        raise DataError(f"the template must have one {PLACE} where the word would stand, not {template!r}")
    module = encoder.module().eval()
    inputs = [encoder.prepare([template.replace(PLACE, word)]) for word in WORDS]
    if inputs[0][0].shape != inputs[1][0].shape or (here := (inputs[0][0] != inputs[1][0])[0]).sum() != 1:
        raise DataError(f"the encoder does not read {WORDS[0]!r} and {WORDS[1]!r} in {template!r} as one word")
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    table = _table(module)
    layers = [
        [(torch.from_numpy(np.asarray(a.weight)), torch.from_numpy(np.asarray(a.bias)), a.relu) for a in stage]
        for stage in stages
    ]
    words = torch.Generator().manual_seed(seed)
    middle, spread = table.weight.mean(0), table.weight.std(0)
    found = []
    for rows in np.array_split(np.arange(len(targets)), -(-len(targets) // batch)):
        goal = unit(torch.from_numpy(np.asarray(targets[rows], np.float32)))
        start = middle + 0.1 * spread * torch.randn(len(rows), len(middle), generator=words)
        v = start.clone().requires_grad_(True)
        fed = [x.expand(len(rows), *x.shape[1:]) for x in inputs[0]]

        def place(_: nn.Module, __: Any, out: Tensor, v: Tensor = v) -> Tensor:
            return torch.where(here[:, None], v[:, None], out)

        optimiser = torch.optim.AdamW([v], lr=rate)
        handle = table.register_forward_hook(place)
        try:
            for _ in range(steps):
                optimiser.zero_grad()
                (1 - (_head(module(*fed), layers) * goal).sum(1)).sum().backward()
                optimiser.step()
            with torch.no_grad():
                found.append(_head(module(*fed), layers).numpy())
        finally:
            handle.remove()
    return np.concatenate(found)


def _table(module: nn.Module) -> nn.Embedding:
    own = getattr(module, "get_input_embeddings", None)
    table = own() if own else next((m for m in module.modules() if isinstance(m, nn.Embedding)), None)
    if not isinstance(table, nn.Embedding):
        raise DataError("the text encoder has no table of words, so none can be replaced")
    return table


def _head(x: Tensor, stages: Sequence[Sequence[tuple[Tensor, Tensor, bool]]]) -> Tensor:
    for stage in stages:
        for weight, bias, relu in stage:
            x = nn.functional.linear(x, weight, bias)
            x = torch.relu(x) if relu else x
        x = unit(x)
    return unit(x)
