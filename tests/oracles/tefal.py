"""Oracle: both readers, the sum of what they read, the cosine and the losses by loops; what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract._sounds import with_sound
from tellapart.contract.strategy import batches, region_run, small_run
from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"pooled": 0.0}, {"pooled": 3.0}]
DIM = 8


def dot(a, b) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def linear(x, state, name):
    return [dot(row, x) + b for row, b in zip(state[f"{name}.weight"], state[f"{name}.bias"], strict=True)]


def normed(x, state, name):
    mean = sum(x) / len(x)
    spread = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-5)
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return [(v - mean) / spread * w + b for v, w, b in zip(x, weight, bias, strict=True)]


def reads(query, tokens, state):
    if not tokens:
        return [0.0] * DIM
    q = linear(normed(query, state, "before"), state, "q")
    held = [normed(token, state, "before") for token in tokens]
    grown = [math.exp(dot(q, linear(x, state, "k")) / math.sqrt(DIM)) for x in held]
    values = [linear(x, state, "v") for x in held]
    mixed = [sum(g * v[c] for g, v in zip(grown, values, strict=True)) / sum(grown) for c in range(DIM)]
    y = normed(linear(mixed, state, "out"), state, "between")
    return normed([a + b for a, b in zip(y, linear(y, state, "inner"), strict=True)], state, "after")


def cosine(a, b) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def infonce(score, group, temperature: float) -> float:
    total, n = 0.0, len(score)
    for i in range(n):
        rest = sum(math.exp(score[i][j] / temperature) for j in range(n) if i == j or group[i] != group[j])
        total -= score[i][i] / temperature - math.log(rest)
    return total / n


def both_ways(score, group) -> tuple[float, float]:
    back = [list(column) for column in zip(*score, strict=True)]
    return infonce(score, group, 0.2) / 2, infonce(back, group, 0.2) / 2


def check(build, options: dict) -> None:
    run = with_sound(region_run(objective="infonce(temperature=0.2)", head=f"linear-head(dim={DIM})"))
    part = build(**options)
    part.begin(run)
    noise = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for x in part.readers.parameters():
            x.add_(0.3 * torch.randn(x.shape, generator=noise))
    rows = np.unique(np.concatenate([batches(run)[0][:5], batches(run)[0][:3] ^ 1, [2]]))
    group = run.data.keys.group[rows].tolist()
    with torch.no_grad():
        region = run.encode("region", np.arange(len(run.data.region)), tower=run.towers["document"]).double().tolist()
        text, whole = (run.encode(side, rows).double().tolist() for side in ("query", "document"))
        piece = part.tower(torch.from_numpy(run.data.extra["sound_vectors"])).double().tolist()
    frames = [[region[r] for r in of if r >= 0] for of in run.data.extra["region_of"][rows].tolist()]
    sound = [[piece[s] for s in of if s >= 0] for of in run.data.extra["sound_of"][rows].tolist()]
    assert {0, 1} < {len(s) for s in sound}
    state = {
        name: {key: x.double().tolist() for key, x in reader.state_dict().items()}
        for name, reader in part.readers.items()
    }
    score = [
        [
            cosine(t, [a + b for a, b in zip(reads(t, f, state["frames"]), reads(t, s, state["sound"]), strict=True)])
            for f, s in zip(frames, sound, strict=True)
        ]
        for t in text
    ]
    wanted = dict(zip(("query", "document"), both_ways(score, group), strict=True))
    weight = options.get("pooled", 0.5)
    if weight:
        wanted["pooled"] = weight * sum(both_ways([[dot(t, z) for z in whole] for t in text], group))
    got = part.step(run, rows)
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        assert math.isclose(got[name].item(), value, rel_tol=2e-4, abs_tol=1e-7), (name, got[name].item(), value)
    np.testing.assert_allclose(part.sounds(run.data.extra["sound_vectors"]), piece, atol=1e-6)
    check_refusals(build)


def check_refusals(build) -> None:
    with pytest.raises(PartError, match="tefal reads frames and sound: give pictures with captions and a column"):
        build().begin(small_run())
    run = with_sound(region_run())
    with pytest.raises(PartError, match=r"gives sound vectors of width 256 and pictures of 5"):
        build().begin(run)
    run.data = replace(run.data, guide=(torch.zeros(40, 2), torch.zeros(40, 2)))
    with pytest.raises(PartError, match="guide"):
        build().begin(run)
