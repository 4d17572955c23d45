"""Oracle: combination and loss by loops, with several right answers, duplicates and rows without a reference."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import composed_run, small_run
from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"hidden": 3}]
TEMPERATURE = 0.2
ROWS = np.asarray([0, 1, 2, 3, 5, 8, 9, 10, 17, 30])


def unit(x: np.ndarray) -> np.ndarray:
    return x / math.sqrt(sum(float(v) ** 2 for v in x))


def combined(state: dict[str, np.ndarray], r: np.ndarray, t: np.ndarray) -> np.ndarray:
    both = [*r, *t]
    hidden = [
        max(0.0, sum(w * v for w, v in zip(row, both, strict=True)) + b)
        for row, b in zip(state["hidden.weight"], state["hidden.bias"], strict=True)
    ]
    gate = 1 / (
        1 + math.exp(-sum(w * h for w, h in zip(state["gate.weight"][0], hidden, strict=True)) - state["gate.bias"][0])
    )
    rest = [
        sum(w * h for w, h in zip(row, hidden, strict=True)) + b
        for row, b in zip(state["out.weight"], state["out.bias"], strict=True)
    ]
    return unit(np.asarray([gate * a + (1 - gate) * b + c for a, b, c in zip(r, t, rest, strict=True)]))


def planted():
    """A run in which one question has two right pictures, and one wrong picture is a duplicate of a right one."""
    run = composed_run(objective=f"infonce(temperature={TEMPERATURE})")
    extra = dict(run.data.extra)
    answers = np.stack([extra["answers"][:, 0], np.full(len(extra["answers"]), -1)], 1)
    answers[extra["asked"][0], 1] = extra["pictures"][5, 0]
    group = extra["picture_group"].copy()
    group[extra["pictures"][8, 0]] = int(run.data.keys.group[2])
    run.data = replace(run.data, extra={**extra, "answers": answers, "picture_group": group})
    return run, answers, group


def moved(part) -> None:
    with torch.no_grad():
        for x in part.composer.parameters():
            x.add_(0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(x.numel())))


def vectors(run, rows):
    towers = {name: run.towers[name].double() for name in ("query", "document")}
    with torch.no_grad():
        texts = towers["query"](run.data.query.x[rows].double()).numpy()
        targets = towers["document"](run.data.document.x[rows].double()).numpy()
        references = towers["document"](run.data.others["other_image"].x[rows].double()).numpy()
    for tower in towers.values():
        tower.float()
    return texts, targets, references


def check(build, options: dict) -> None:
    run, answers, group = planted()
    part = build(**options)
    part.begin(run)
    moved(part)
    assert part.composer.hidden.weight.shape[0] == options.get("hidden", 512)
    got = part.step(run, ROWS)
    assert list(got) == ["query"]
    state = {name: x.double().numpy() for name, x in part.composer.state_dict().items()}
    texts, targets, references = vectors(run, ROWS)
    extra, losses, ignored, twice = run.data.extra, [], 0, 0
    for i, row in enumerate(ROWS):
        alone = extra["pictures"][row, 1] < 0
        q = texts[i] if alone else combined(state, references[i], texts[i])
        right = {int(a) for a in answers[extra["asked"][row]] if a >= 0}
        positives, negatives = [], []
        for j, other in enumerate(ROWS):
            picture = int(extra["pictures"][other, 0])
            score = sum(float(a) * float(b) for a, b in zip(q, targets[j], strict=True)) / TEMPERATURE
            if picture in right:
                positives.append(score)
            elif group[picture] >= 0 and group[picture] == int(run.data.keys.group[row]):
                ignored += 1
            else:
                negatives.append(score)
        twice += len(positives) > 1
        rest = sum(math.exp(s) for s in negatives)
        losses.append(sum(-math.log(math.exp(s) / (math.exp(s) + rest)) for s in positives) / len(positives))
    assert ignored and twice and (extra["pictures"][ROWS, 1] < 0).any()
    assert math.isclose(got["query"].item(), sum(losses) / len(losses), rel_tol=1e-4)
    check_beginning(build)
    check_refusals(build)


def check_beginning(build) -> None:
    """Before the first step the query is the sum of both, brought to length 1."""
    run = composed_run()
    part = build()
    part.begin(run)
    r, t = run.encode_all("document").detach(), run.encode_all("query").detach()
    torch.testing.assert_close(part.composer(r, t), torch.nn.functional.normalize(r + t, dim=1))


def check_refusals(build) -> None:
    with pytest.raises(PartError, match="reference picture"):
        build().begin(small_run())
    run = composed_run()
    run.data = replace(run.data, guide=(torch.zeros(40, 2), torch.zeros(40, 2)))
    with pytest.raises(PartError, match="guide"):
        build().begin(run)
