"""Circuits by sparse codes: which heads, layers or groups of numbers of an encoder tell a concept from its opposite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.needs import require
from tellapart.core.parts import part
from tellapart.core.report import Example, Examples, Figure, Report, Table, Text

_FEWEST, _STEPS, _RATE, _DRAWS = 20, 150, 1e-2, 200


@part(
    paper="O'Neill and Bui: Sparse Autoencoders Enable Scalable and Reliable Circuit Identification in Language "
    "Models, 2024",
    place="audit",
    system="sae-circuit",
    traits=("document", "labels", "asks"),
    needs=("torch",),
    aliases=("discrete-sae",),
)
def sae_circuit(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    by: str = "label",
    concept: str = "",
    groups: Annotated[int, Field(ge=2, le=4096)] = 16,
    latents: Annotated[int, Field(ge=2, le=4096)] = 32,
    sparsity: Annotated[float, Field(ge=0, le=100)] = 0.02,
    examples: Annotated[int, Field(ge=4, le=2000)] = 200,
) -> Report:
    """Units of an encoder by how many codes they have that only items of a concept use.

    Formula: for unit u (a head, a layer, a run of numbers) with activations a_u [n, w], one sparse autoencoder for all,
        h = relu(E a + b),   loss = |a - D h|^2 / w + sparsity * mean h,
    trained on items of the concept and the others alike; the code of an item at u is the number of its largest latent.
        score(u) = sum over codes that items of the concept use and no other item does, of how many items use them,
                   as a share of the concept's items;
    the paper counts the codes; counting what uses them is the same for sets of 5 to 10 examples and does not grow with
    rare codes for larger ones. `chance` is the mean score after the concept was dealt out at random, 200 times; units
    above the 95% quantile of the largest score of a deal are named. Items of the others are drawn, as many as there are
    of the concept. Intervals are over the concept's items, for the autoencoder and the others as they are.

    Use it to see where an encoder tells something apart, before units are cut out or a probe is put on them.

    Args:
        vectors: `units` [n, u, w] activations by head or layer; without it `document` [n, d], cut into `groups` runs.
        by: the column; concept: the value asked about, "" is the most frequent. examples: of each kind at most.

    Raises `DataError` for rows that do not match, a value that no item or every item has.
    """
    n = len(collection)
    if by not in collection.columns:
        raise DataError(f"there is no column {by!r}; there are {', '.join(collection.columns)}")
    a = _units(vectors, n, groups)
    codes, names = collection.codes(by)
    words = [str(name) for name in names]
    if concept and concept not in words:
        raise DataError(f"no item has {concept!r} in {by!r}; there are {', '.join(words[:12])}")
    number = words.index(concept) if concept else int(np.bincount(codes[codes >= 0]).argmax())
    rng = np.random.default_rng(seed)
    mine, others = (rng.permutation(np.flatnonzero(m))[:examples] for m in (codes == number, codes != number))
    if min(len(mine), len(others)) < 4:
        raise DataError(f"{len(mine)} items with {words[number]!r} and {len(others)} others: give at least 4 of each")
    others = others[: len(mine)]
    rows = np.concatenate([mine, others])
    inside = np.arange(len(rows)) < len(mine)
    report = Report("Circuit", facts={"seed": seed, "concept": words[number], "units": a.shape[1], "items": len(rows)})
    if len(mine) < _FEWEST:
        report.add(Text(f"cannot tell: {len(mine)} items of the concept, and at least {_FEWEST} are needed", "verdict"))
    said = _codes(a[rows], latents, sparsity, seed)
    uses = _only(said, inside, latents)
    score = uses[inside].mean(axis=0)
    dealt = np.array(
        [_only(said, m, latents)[m].mean(axis=0) for m in (rng.permutation(inside) for _ in range(_DRAWS))]
    )
    limit = float(np.quantile(dealt.max(axis=1), 0.95))
    order = np.argsort(-score, kind="stable")
    table = []
    for u in order.tolist():
        low, high = redraw.interval(redraw.mean(uses[inside, u]), np.arange(len(mine)), seed=seed)
        note = "" if low is not None else "too few items for an interval"
        figure = Figure(f"unit {u}", float(score[u]), low, high, len(mine), note=note)
        table.append([u, figure, float(dealt[:, u].mean()), "in the circuit" if score[u] > limit else ""])
    top = table[0][1]
    report.add(Figure("units in the circuit", float((score > limit).sum()), count=a.shape[1], note="a count"))
    report.add(Figure("score of the first unit", top.value, top.low, top.high, top.count, note=top.note))
    report.add(Figure("chance", limit, count=_DRAWS, note="95% quantile of the largest score by chance"))
    report.add(Table("Units", ["unit", "score", "by chance", ""], table))
    first = int(order[0])
    shown = [
        Example([str(collection.ids[rows[i]])], f"code {said[i, first]} of unit {first}") for i in range(len(mine))
    ]
    return report.add(Examples("Items of the concept, by the code of the first unit", shown[:12]))


def _units(vectors: Mapping[str, Any], n: int, groups: int) -> np.ndarray:
    """[n, u, w] activations, each unit with mean 0 and a mean square of 1."""
    a = np.asarray(vectors.get("units", vectors.get("document", ())), dtype=np.float64)
    if len(a) != n or a.ndim not in (2, 3) or not np.isfinite(a).all():
        raise DataError(
            f"give `document` [n, d] or `units` [n, u, w], finite, for each of the {n} items, not {a.shape}"
        )
    if a.ndim == 2:
        wide = max(1, a.shape[1] // groups)
        a = a[:, : a.shape[1] // wide * wide].reshape(n, -1, wide)
    a = a - a.mean(axis=0)
    return np.asarray(a / np.maximum(np.sqrt((a**2).mean(axis=(0, 2), keepdims=True)), 1e-12))


def _codes(a: np.ndarray, latents: int, sparsity: float, seed: int) -> np.ndarray:
    """[n, u] which latent is largest."""
    torch = require("torch", "sae-circuit")
    n, units, wide = a.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encode, decode = torch.nn.Linear(wide, latents), torch.nn.Linear(latents, wide, bias=False)
        x = torch.from_numpy(a.reshape(-1, wide).astype(np.float32))
        optimiser = torch.optim.Adam([*encode.parameters(), *decode.parameters()], lr=_RATE)
        for _ in range(_STEPS):
            some = x[torch.randint(len(x), (min(len(x), 256),))]
            h = torch.relu(encode(some))
            loss = ((some - decode(h)) ** 2).mean() + sparsity * h.mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            return np.asarray(encode(x).argmax(1).numpy().reshape(n, units))


def _only(said: np.ndarray, inside: np.ndarray, latents: int) -> np.ndarray:
    """[n, u] whether an item's code at a unit is used by items of the concept alone."""
    out = np.zeros(said.shape)
    for u in range(said.shape[1]):
        here = np.bincount(said[inside, u], minlength=latents) > 0
        there = np.bincount(said[~inside, u], minlength=latents) > 0
        out[:, u] = (here & ~there)[said[:, u]]
    return out
