"""Oracle: the fusion by loops over tokens and heads, and the loss with the references of the batch as negatives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.contract.strategy import composed_run
from tellapart.core.errors import PartError
from tests.oracles.combiner import ROWS, TEMPERATURE, check_refusals, moved, planted, unit, vectors

CASES: list[dict] = [{}, {"weight": 0.0}, {"weight": 2.5, "width": 6, "layers": 1, "heads": 3}]


def dense(state, name: str, x: np.ndarray) -> np.ndarray:
    return np.asarray(
        [float(np.dot(row, x)) + b for row, b in zip(state[f"{name}.weight"], state[f"{name}.bias"], strict=True)]
    )


def normed(state, name: str, x: np.ndarray) -> np.ndarray:
    mean = sum(x) / len(x)
    spread = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-5)
    return np.asarray(
        [(v - mean) / spread * w + b for v, w, b in zip(x, state[f"{name}.weight"], state[f"{name}.bias"], strict=True)]
    )


def attended(state, name: str, asking: list, asked: list, heads: int) -> list:
    q, k, v = (
        [dense(state, f"{name}.{part}", x) for x in tokens]
        for part, tokens in zip("qkv", (asking, asked, asked), strict=True)
    )
    size, found = len(q[0]) // heads, []
    for one in q:
        whole = []
        for head in range(heads):
            at = slice(head * size, (head + 1) * size)
            scores = [math.exp(float(np.dot(one[at], other[at])) / math.sqrt(size)) for other in k]
            whole.extend(sum(s / sum(scores) * other[at] for s, other in zip(scores, v, strict=True)))
        found.append(dense(state, f"{name}.out", np.asarray(whole)))
    return found


def fused(state, r: np.ndarray, t: np.ndarray, layers: int, heads: int) -> np.ndarray:
    x = [dense(state, "enter", v * math.sqrt(len(v))) + state["kinds"][at] for at, v in enumerate((r, t))]
    for layer in range(layers):
        name = f"layers.{layer}"
        y = [normed(state, f"{name}.norm1", v) for v in x]
        x = [v + m for v, m in zip(x, attended(state, f"{name}.attention", y, y, heads), strict=True)]
        y = [np.maximum(dense(state, f"{name}.wide", normed(state, f"{name}.norm2", v)), 0) for v in x]
        x = [v + dense(state, f"{name}.narrow", m) for v, m in zip(x, y, strict=True)]
    pooled = attended(state, "pool", [state["asking"][0]], [normed(state, "norm", v) for v in x], heads)[0]
    return unit(r + dense(state, "leave", pooled))


def check(build, options: dict) -> None:
    run, answers, group = planted()
    part = build(**options)
    part.begin(run)
    moved(part)
    got = part.step(run, ROWS)["query"].item()
    state = {name: x.detach().double().numpy() for name, x in part.composer.state_dict().items()}
    layers, heads, weight = (options.get(name, usual) for name, usual in (("layers", 2), ("heads", 4), ("weight", 1.0)))
    texts, targets, references = vectors(run, ROWS)
    extra, losses, spared = run.data.extra, [], 0
    for i, row in enumerate(ROWS):
        alone = extra["pictures"][row, 1] < 0
        q = texts[i] if alone else fused(state, references[i], texts[i], layers, heads)
        right = {int(a) for a in answers[extra["asked"][row]] if a >= 0}
        positives, rest = [], 0.0
        for j, other in enumerate(ROWS):
            target, own = (int(number) for number in extra["pictures"][other])
            score = float(np.dot(q, targets[j])) / TEMPERATURE
            if target in right:
                positives.append(score)
            elif group[target] < 0 or group[target] != int(run.data.keys.group[row]):
                rest += math.exp(score)
            if own < 0:
                spared += 1
            elif own not in right:
                rest += weight * math.exp(float(np.dot(q, references[j])) / TEMPERATURE)
        losses.append(sum(-math.log(math.exp(s) / (math.exp(s) + rest)) for s in positives) / len(positives))
    assert spared
    assert math.isclose(got, sum(losses) / len(losses), rel_tol=2e-4)
    check_refusals(build)
    with pytest.raises(PartError, match="heads"):
        build(width=10, heads=4).begin(composed_run())
