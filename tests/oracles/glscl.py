"""Oracle: text-weighted frames, the shared decoder, both scores and the three losses by loops; what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, region_run, small_run
from tellapart.core.errors import PartError

CASES: list[dict] = [
    {},
    {"temperature": 0.5, "queries": 3, "layers": 2, "weight": 1.5, "consistency": 0.4, "beta": 0.3, "diversity": 2.0},
    {"weight": 0.0, "consistency": 0.0, "diversity": 0.0},
]
DIM = 16


def dot(a, b) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def length_one(x) -> list[float]:
    length = math.sqrt(dot(x, x))
    return [value / length for value in x]


def softmax(x: list[float]) -> list[float]:
    e = [math.exp(v - max(x)) for v in x]
    return [v / sum(e) for v in e]


def linear(x, weight, bias) -> list[float]:
    return [dot(row, x) + b for row, b in zip(weight, bias, strict=True)]


def normed(x, weight, bias) -> list[float]:
    mean = sum(x) / len(x)
    spread = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-5)
    return [(v - mean) / spread * w + b for v, w, b in zip(x, weight, bias, strict=True)]


def attention(asked, tokens, state, name: str, heads: int = 8):
    d = DIM
    weight, bias = state[f"{name}.in_proj_weight"], state[f"{name}.in_proj_bias"]
    q = [linear(x, weight[:d], bias[:d]) for x in asked]
    k = [linear(x, weight[d : 2 * d], bias[d : 2 * d]) for x in tokens]
    v = [linear(x, weight[2 * d :], bias[2 * d :]) for x in tokens]
    wide, out = d // heads, []
    for one in q:
        whole = []
        for h in range(heads):
            part = slice(h * wide, (h + 1) * wide)
            share = softmax([dot(one[part], other[part]) / math.sqrt(wide) for other in k])
            whole += [sum(s * x[c] for s, x in zip(share, v, strict=True)) for c in range(part.start, part.stop)]
        out.append(linear(whole, state[f"{name}.out_proj.weight"], state[f"{name}.out_proj.bias"]))
    return out


def plus(a, b):
    return [[x + y for x, y in zip(one, other, strict=True)] for one, other in zip(a, b, strict=True)]


def concepts(state, tokens, layers: int):
    x = state["concept"]
    for layer in range(layers):
        mine = {n.removeprefix(f"decoder.layers.{layer}."): v for n, v in state.items()}

        def norm(rows, name, mine=mine):
            return [normed(row, mine[f"{name}.weight"], mine[f"{name}.bias"]) for row in rows]

        x = norm(plus(x, attention(x, x, mine, "self_attn")), "norm1")
        x = norm(plus(x, attention(x, tokens, mine, "multihead_attn")), "norm2")
        inner = [[max(0.0, v) for v in linear(r, mine["linear1.weight"], mine["linear1.bias"])] for r in x]
        x = norm(plus(x, [linear(r, mine["linear2.weight"], mine["linear2.bias"]) for r in inner]), "norm3")
    return [length_one(row) for row in x]


def global_score(text, frames, temperature: float) -> float:
    share = softmax([dot(text, f) / temperature for f in frames])
    whole = [sum(a * f[c] for a, f in zip(share, frames, strict=True)) for c in range(len(text))]
    return dot(text, length_one(whole))


def infonce(score, group, temperature: float) -> float:
    total, n = 0.0, len(score)
    for i in range(n):
        rest = sum(math.exp(score[i][j] / temperature) for j in range(n) if i == j or group[i] != group[j])
        total -= score[i][i] / temperature - math.log(rest)
    return total / n


def check(build, options: dict) -> None:
    run = region_run(objective="infonce(temperature=0.2)", head=f"linear-head(dim={DIM})")
    part = build(**options)
    part.begin(run)
    rows = np.unique(np.concatenate([batches(run)[0][:5], batches(run)[0][:3] ^ 1]))
    n, group = len(rows), run.data.keys.group[rows].tolist()
    with torch.no_grad():
        region = run.encode("region", np.arange(len(run.data.region)), tower=run.towers["document"]).double().tolist()
        phrase = run.encode("phrase", np.arange(6), tower=run.towers["query"]).double().tolist()
        text = run.encode("query", rows).double().tolist()
    frames = [[region[r] for r in of if r >= 0] for of in run.data.extra["region_of"][rows].tolist()]
    words = [[phrase[s] for s in of if s >= 0] for of in run.data.extra["said_of"][rows].tolist()]
    assert len({len(f) for f in frames}) > 1
    temperature, weight = options.get("temperature", 0.1), options.get("weight", 0.5)
    score = [[global_score(t, f, temperature) for f in frames] for t in text]
    wanted, count = {}, options.get("queries", 8)
    if weight or options.get("consistency", 1.0):
        state = {name: x.double().tolist() for name, x in part.state_dict().items()}
        c, d = ([concepts(state, tokens, options.get("layers", 1)) for tokens in side] for side in (frames, words))
        for i in range(n):
            for j in range(n):
                score[i][j] += weight * sum(dot(d[i][m], c[j][m]) for m in range(count)) / count
        agree = 0.0
        for m in range(count):
            for axis in range(DIM):
                gap = sum(c[i][m][axis] - d[i][m][axis] for i in range(n)) / n
                agree += gap**2 / (count * DIM)
            agree += options.get("beta", 0.005) * (sum(dot(c[i][m], d[i][m]) for i in range(n)) / n - 0.75) ** 2
        wanted["agree"] = options.get("consistency", 1.0) * agree
        differ = 0.0
        for a in range(count):
            for b in range(count):
                if a != b:
                    differ += 2 * max(0.0, 0.1 - 1 + sum(dot(c[i][a], c[i][b]) for i in range(n)) / n)
        wanted["differ"] = options.get("diversity", 0.0001) * differ / (count * (count - 1))
    wanted["query"] = infonce(score, group, 0.2) / 2
    wanted["document"] = infonce([list(column) for column in zip(*score, strict=True)], group, 0.2) / 2
    got = part.step(run, rows)
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        assert math.isclose(got[name].item(), value, rel_tol=2e-4, abs_tol=1e-7), (name, got[name].item(), value)
    check_refusals(build)


def check_refusals(build) -> None:
    with pytest.raises(PartError, match="glscl learns from regions of pictures and from parts of their captions"):
        build().begin(small_run())
    run = region_run()
    run.data = replace(run.data, guide=(torch.zeros(40, 2), torch.zeros(40, 2)))
    with pytest.raises(PartError, match="guide"):
        build().begin(run)
