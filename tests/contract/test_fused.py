"""Strategies of one tower that break their promise, each of which a check sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tellapart.contract._fused import check_fusing_learns, check_fusing_without_torch
from tellapart.contract.strategy import fused_run
from tellapart.core.joint import Joint
from tellapart.core.parts import make


def wrong(kept: Any = None, step: Any = None) -> Any:
    """A build of jfe whose kept composer, or whose step, is another."""

    def build(**options: Any) -> Any:
        part = make("strategy", "jfe", **options)
        begin = part.begin

        def begun(run: Any) -> None:
            begin(run)
            if kept is not None:
                saved = part.composer.saved
                part.composer.saved = lambda: kept(saved())

        part.begin = begun
        if step is not None:
            part.step = step
        return part

    return build


def test_what_is_kept_is_what_was_trained() -> None:
    check_fusing_without_torch(wrong(), fused_run)

    def less(composer: Joint) -> Joint:
        return replace(composer, state={**composer.state, "trunk.end": composer.state["trunk.end"] * 0})

    class OfVectors(Joint):
        of_features = False

    class Deaf(Joint):
        def __call__(self, reference: Any, change: Any) -> Any:
            z = super().__call__(reference, change)
            return -z if bool((reference != reference).all()) else z

    with pytest.raises(AssertionError, match="fuses otherwise"):
        check_fusing_without_torch(wrong(less), fused_run)
    with pytest.raises(AssertionError, match="takes features"):
        check_fusing_without_torch(wrong(lambda c: OfVectors(c.kind, c.state)), fused_run)
    with pytest.raises(AssertionError, match="words without a reference"):
        check_fusing_without_torch(wrong(lambda c: Deaf(c.kind, c.state)), fused_run)


def test_a_tower_that_does_not_learn_is_seen() -> None:
    def idle(run: Any, rows: Any) -> dict[str, torch.Tensor]:
        return {"query": run.encode("document", rows).sum() * 0}

    with pytest.raises(AssertionError, match="found"):
        check_fusing_learns(wrong(step=idle), fused_run)
