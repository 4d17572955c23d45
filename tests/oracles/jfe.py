"""Oracle: the tower by loops over tokens, and the losses of both stages with rows that have a reference or none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import composed_run, fused_run
from tellapart.core.errors import PartError
from tests.oracles.joint_tower import entered, through

CASES: list[dict] = [{}, {"first": 0.75}, {"first": 0.0}]
TEMPERATURE = 0.3
ROWS = np.asarray([0, 1, 2, 3, 5, 8, 9, 10, 17, 30, 31])
STEPS, TOKENS, DEPTH = 8, 2, 2


def planted(**recipe):
    """One question has two right pictures, and a wrong picture is a duplicate of a right one."""
    run = fused_run(objective=f"infonce(temperature={TEMPERATURE})", **recipe)
    extra = dict(run.data.extra)
    answers = np.stack([extra["answers"][:, 0], np.full(len(extra["answers"]), -1)], 1)
    answers[extra["asked"][0], 1] = extra["pictures"][5, 0]
    group = extra["picture_group"].copy()
    group[extra["pictures"][8, 0]] = int(run.data.keys.group[2])
    # Two rows without a reference are one question, and two others hold one picture.
    asked, pictures = extra["asked"].copy(), extra["pictures"].copy()
    asked[31] = asked[17]
    answers[asked[17], 1] = pictures[31, 0]
    pictures[10, 0] = pictures[3, 0]
    told = {"answers": answers, "picture_group": group, "asked": asked, "pictures": pictures}
    run.data = replace(run.data, extra={**extra, **told})
    run.steps = STEPS
    return run


def one_row(q: np.ndarray, k: list, right: list[bool], wrong: list[bool]) -> float | None:
    scores = [sum(float(a) * float(b) for a, b in zip(q, other, strict=True)) / TEMPERATURE for other in k]
    rest = sum(math.exp(s) for s, held in zip(scores, wrong, strict=True) if held)
    losses = [-s + math.log(math.exp(s) + rest) for s, held in zip(scores, right, strict=True) if held]
    return sum(losses) / len(losses) if losses else None


def mean(values: list[float | None]) -> float:
    held = [v for v in values if v is not None]
    return sum(held) / len(held)


def alone_of(run) -> list[bool]:
    return [bool(run.data.extra["pictures"][row, 1] < 0) for row in ROWS]


def vectors(run, state) -> tuple[list, list]:
    """(questions, pictures) of the rows."""
    words, cells, held = (run.data.side(side).x.numpy() for side in ("query", "document", "other_image"))
    z = [through(state, entered(state, "reference.", cells[row], TOKENS), DEPTH) for row in ROWS]
    q = []
    for row, plain in zip(ROWS, alone_of(run), strict=True):
        tokens = [] if plain else entered(state, "reference.", held[row], TOKENS)
        q.append(through(state, [*tokens, *entered(state, "change.", words[row], TOKENS)], DEPTH))
    return q, z


def expected(run, q: list, z: list, step: int, first: float, *, both_ways: bool) -> dict[str, float]:
    extra, group, alone = run.data.extra, run.data.keys.group.tolist(), alone_of(run)
    there, back, ignored = [], [], 0
    for i, row in enumerate(ROWS):
        right = [extra["pictures"][other, 0] in extra["answers"][extra["asked"][row]] for other in ROWS]
        same = [extra["picture_group"][extra["pictures"][other, 0]] in (group[row],) for other in ROWS]
        ignored += sum(same)
        wrong = [not r and not s for r, s in zip(right, same, strict=True)]
        if alone[i] or step >= round(first * STEPS):
            there.append(one_row(q[i], z, right, wrong))
        if alone[i]:
            mine = [
                extra["asked"][row] == extra["asked"][other] or extra["pictures"][row, 0] == extra["pictures"][other, 0]
                for other in ROWS
            ]
            twins = [group[row] == group[other] for other in ROWS]
            right = [m and a for m, a in zip(mine, alone, strict=True)]
            wrong = [a and not m and not t for a, m, t in zip(alone, mine, twins, strict=True)]
            back.append(one_row(z[i], q, right, wrong))
    assert ignored and 1 < sum(alone) < len(ROWS)
    if not both_ways:
        return {"query": mean(there)}
    return {"query": mean(there) / 2, "document": mean(back) / 2}


def check(build, options: dict) -> None:
    first = options.get("first", 0.2)
    for both_ways in (True, False):
        run = planted(both_ways=both_ways)
        part = build(**options)
        part.begin(run)
        with torch.no_grad():
            for x in part.composer.parameters():
                x.add_(0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(x.numel())))
        state = part.composer.saved().state
        assert not any(".trunk." in name for name in state), "the one tower is kept once"
        q, z = vectors(run, state)
        for step in (0, 5, 7):
            run.step = step
            got = part.step(run, ROWS)
            wanted = expected(run, q, z, step, first, both_ways=both_ways)
            assert list(got) == list(wanted)
            for name, value in wanted.items():
                assert math.isclose(got[name].item(), value, rel_tol=2e-4), (name, step, both_ways)
    check_rows_that_all_refer(build, options)
    check_pairs(build, options)
    check_refusals(build)


def check_rows_that_all_refer(build, options: dict) -> None:
    """Then there is no first stage, and no words of their own."""
    run = planted()
    pictures = run.data.extra["pictures"].copy()
    pictures[:, 1] = np.maximum(pictures[:, 1], pictures[:, 1].max())
    run.data = replace(run.data, extra={**run.data.extra, "pictures": pictures})
    part = build(**options)
    part.begin(run)
    assert list(part.step(run, ROWS)) == ["query"] and not part.composer.saved().words_alone


def check_pairs(build, options: dict) -> None:
    """Without references it is the symmetric loss of pairs, in both stages."""
    run = planted()
    run.data = replace(run.data, others={}, extra={})
    part = build(**options)
    part.begin(run)
    with torch.no_grad():
        got = part.step(run, ROWS)
        q, z = (run.encode(side, ROWS).numpy() for side in ("query", "document"))
    keys = run.data.keys
    right = [[bool(keys.target[a] == keys.target[b]) for b in ROWS] for a in ROWS]
    wrong = [[not r and bool(keys.group[a] != keys.group[b]) for r, b in zip(row, ROWS, strict=True)]
             for row, a in zip(right, ROWS, strict=True)]  # fmt: skip
    for name, asking, asked in (("query", q, z), ("document", z, q)):
        values = [one_row(x, list(asked), r, w) for x, r, w in zip(asking, right, wrong, strict=True)]
        assert math.isclose(got[name].item(), mean(values) / 2, rel_tol=2e-4)


def check_refusals(build) -> None:
    with pytest.raises(PartError, match="one tower of tokens"):
        build().begin(composed_run())
    run = fused_run()
    run.data = replace(run.data, guide=(torch.zeros(40, 2), torch.zeros(40, 2)))
    with pytest.raises(PartError, match="guide"):
        build().begin(run)
