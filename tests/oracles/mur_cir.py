"""Oracle: shaking, its weight and both losses by loops; the noise is told apart by planted draws."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from tests.oracles.combiner import ROWS, TEMPERATURE, check_refusals, combined, moved, planted, unit, vectors

SHAKING = "tellapart.parts.strategy._jittered"
CASES: list[dict] = [{}, {"decay": 3.0, "strength": 2.5, "length": 2.0, "hidden": 5}, {"decay": 0.0, "strength": 0.0}]


def noise(rows: int, width: int) -> np.ndarray:
    return np.random.default_rng(4).normal(size=(rows, 2 * width))


def shaken(z: np.ndarray, draws: np.ndarray, length: float, strength: float) -> tuple[list[np.ndarray], float]:
    """(unit vectors, the deviation of all numbers before), by loops."""
    found, numbers = [], []
    for vector, drawn in zip(z, draws, strict=True):
        x = [length * float(v) for v in vector]
        d = len(x)
        mean = sum(x) / d
        squares = sum((v - mean) ** 2 for v in x)
        deviation, flat = math.sqrt(squares / (d - 1)), math.sqrt(squares / d + 1e-5)
        made = []
        for at, v in enumerate(x):
            alpha = 1 + strength * deviation * drawn[at]
            beta = mean + strength * deviation * drawn[d + at]
            made.append(alpha * (v - mean) / flat + beta)
        numbers += made
        found.append(unit(np.asarray(made)))
    middle = sum(numbers) / len(numbers)
    return found, math.sqrt(sum((v - middle) ** 2 for v in numbers) / (len(numbers) - 1))


def softmax_loss(run, answers, group, queries, documents) -> float:
    extra, losses = run.data.extra, []
    for i, row in enumerate(ROWS):
        right = {int(a) for a in answers[extra["asked"][row]] if a >= 0}
        positives, rest = [], 0.0
        for j, other in enumerate(ROWS):
            picture = int(extra["pictures"][other, 0])
            score = sum(float(a) * float(b) for a, b in zip(queries[i], documents[j], strict=True)) / TEMPERATURE
            if picture in right:
                positives.append(score)
            elif group[picture] < 0 or group[picture] != int(run.data.keys.group[row]):
                rest += math.exp(score)
        losses.append(sum(-math.log(math.exp(s) / (math.exp(s) + rest)) for s in positives) / len(positives))
    return sum(losses) / len(losses)


def check(build, options: dict) -> None:
    decay, strength, length = (options.get(n, usual) for n, usual in (("decay", 1), ("strength", 1), ("length", 4)))
    run, answers, group = planted()
    part = build(**options)
    part.begin(run)
    moved(part)
    run.step, run.steps = 6, 24
    state = {name: x.double().detach().numpy() for name, x in part.composer.state_dict().items()}
    texts, targets, references = vectors(run, ROWS)
    draws = noise(len(ROWS), targets.shape[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[SHAKING], "normal", lambda its, width: torch.from_numpy(draws).float())
        got = part.step(run, ROWS)
    there = run.data.extra["pictures"][ROWS, 1] >= 0
    queries = [combined(state, r, t) if has else t for r, t, has in zip(references, texts, there, strict=True)]
    about, spread = shaken(targets, draws, length, strength)
    share = math.exp(-decay * 6 / 24)
    coarse = share * 0.5 * (math.exp(-spread) * softmax_loss(run, answers, group, queries, about) + spread)
    fine = (1 - share) * softmax_loss(run, answers, group, queries, targets)
    assert math.isclose(got["coarse"].item(), coarse, rel_tol=1e-4)
    assert math.isclose(got["fine"].item(), fine, rel_tol=1e-4, abs_tol=1e-9)
    check_refusals(build)
