"""What a strategy of the trait `fusion` promises beside what every strategy does: one tower, in torch and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from tellapart.core.parts import make
from tellapart.engine.inputs import Features, Inputs

Build = Callable[..., Any]
REFERENCE = "other_image"
TOKENS, DIM = 2, 32


def fused(run: Any) -> Any:
    """A run of changed pictures (`contract.strategy.composed_run`) whose items are two tokens, below one tower."""
    sides = {"query": run.data.query, "document": run.data.document, REFERENCE: run.data.others[REFERENCE]}
    x = {name: side.x.numpy() for name, side in sides.items()}
    x["query"] = np.pad(x["query"], ((0, 0), (0, x["query"].shape[1] % TOKENS)))
    features: dict[str, Inputs] = {name: Features(held) for name, held in x.items()}
    others = {REFERENCE: features[REFERENCE]}
    run.data = replace(run.data, query=features["query"], document=features["document"], others=others)
    head = make("encode", f"joint-tower(dim={DIM}, depth=2, tokens={TOKENS})")
    torch.manual_seed(8)
    towers = {side: head.module(x[side].shape[1]) for side in ("query", "document")}
    towers["document"].share(towers["query"])
    for side, tower in towers.items():
        tower.standardise(torch.from_numpy(x[side]))
    run.towers = nn.ModuleDict({**towers, REFERENCE: towers["document"]})
    return run


def taught(run: Any, strategy: Any, *, rate: float) -> None:
    """Take all steps of a run, twenty drawn rows each."""
    learnt = nn.ModuleDict({"towers": run.towers, "strategy": strategy})
    optimizer = torch.optim.AdamW(learnt.parameters(), lr=rate)
    for step in range(run.steps):
        run.step = step
        found = strategy.step(run, np.random.default_rng(step).permutation(len(run.data))[:20])
        optimizer.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        optimizer.step()
        strategy.after(run)


def check_fusing_learns(build: Build, runs: Callable[..., Any]) -> None:
    """After many steps, reference and words together find their pictures before most others."""
    run = runs()
    strategy = build()
    run.steps = 80
    strategy.begin(run)
    shares = [_found(run, strategy)]
    taught(run, strategy, rate=3e-3)
    shares.append(_found(run, strategy))
    assert shares[1] > max(0.5, shares[0]), f"queries found {shares[0]:.2f} of their pictures, then {shares[1]:.2f}"


def check_fusing_without_torch(build: Build, runs: Callable[..., Any]) -> None:
    """What is kept fuses as the trained tower does; words alone, and a picture alone, are what its entrances give."""
    run = runs()
    strategy = build()
    strategy.begin(run)
    with torch.no_grad():
        for x in strategy.composer.parameters():
            x.add_(0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(x.numel())))
        t, r = (run.data.side(side).x for side in ("query", "document"))
        expected = strategy.composer.eval()(torch.cat([r, t], 1)).numpy()
        alone = {side: run.encode_all(side).numpy() for side in ("query", "document")}
    kept = strategy.composer.saved()
    assert kept.of_features, "a composer of tokens must say that it takes features"
    r, t = r.numpy(), t.numpy()
    assert np.abs(kept(r, t) - expected).max() < 1e-5, "what is kept fuses otherwise than what was trained"
    words, picture = kept(np.full_like(r, np.nan), t), kept(r, np.full_like(t, np.nan))
    assert np.abs(words - alone["query"]).max() < 1e-5, "words without a reference must be what their entrance gives"
    assert np.abs(picture - alone["document"]).max() < 1e-5, "a picture without words must be what is indexed"


def _found(run: Any, strategy: Any) -> float:
    """The share of queries whose nearest picture, of those that training gives, is a right one."""
    kept, there = strategy.composer.saved(), run.data.extra["pictures"][:, 1] >= 0
    t, r = (run.data.side(side).x.numpy() for side in ("query", REFERENCE))
    q = kept(np.where(there[:, None], r, np.float32(np.nan)), t)
    best = (q @ run.encode_all("document").numpy().T).argmax(1)
    return float((run.data.extra["asked"][best] == run.data.extra["asked"]).mean())
