"""Oracle: both stages by loops; partners, what is mined, who is nobody's negative, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import STEPS, batches, product_run, small_run
from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"first": 0.0, "depth": 3, "draws": 2, "refresh": 2}, {"first": 0.2, "draws": 0}]


def check(build, options: dict) -> None:
    for temperature in (0.07, 0.4):
        run, part = product_run(objective=f"infonce(temperature={temperature})"), build(**options)
        part.begin(run)
        seen = set()
        for step, rows in enumerate(batches(run)):
            run.step = step
            if step == 5:
                with torch.no_grad():
                    run.towers["query"].map.weight += 0.3
            read = noted(run)
            got = part.step(run, rows)
            del run.encode
            seen.add(tuple(got))
            if run.step < round(options.get("first", 0.5) * STEPS):
                expected = own_pairs(run, rows.tolist(), temperature)
            else:
                expected = pooled(run, part, rows.tolist(), read[0], temperature, options)
            assert got.keys() == expected.keys()
            for name, value in expected.items():
                assert math.isclose(got[name].item(), value, rel_tol=1e-4), (run.step, name, got[name].item(), value)
        assert ("pooled",) in seen and len(seen) == (2 if options.get("first", 0.5) else 1)
    check_partners(build(**options))
    check_without_labels(build(**options))
    check_refusals(build)


def own_pairs(run, rows: list[int], temperature: float) -> dict[str, float]:
    t, v = (run.encode_all(side).double().numpy() for side in ("query", "document"))
    target, group = run.data.keys.target.tolist(), run.data.keys.group.tolist()
    found = {}
    for name, q, k in (("text to picture", t, v), ("picture to text", v, t)):
        losses = []
        for i in rows:
            wrong = 0.0
            for j in rows:
                if j != i and group[j] != group[i] and not (target[j] == target[i] >= 0):
                    wrong += math.exp(float(q[i] @ k[j]) / temperature)
            right = math.exp(float(q[i] @ k[i]) / temperature)
            losses.append(-math.log(right / (right + wrong)))
        found[name] = sum(losses) / len(losses) / 2
    return found


def noted(run) -> list[list[int]]:
    """The rows that each later call of `run.encode` asks for."""
    plain, found = run.encode, []

    def encode(side, rows, **options):
        found.append(rows.tolist())
        return plain(side, rows, **options)

    run.encode = encode
    return found


def pooled(run, part, rows: list[int], read: list[int], temperature: float, options: dict) -> dict[str, float]:
    e, target, group = vectors(run), run.data.keys.target.tolist(), run.data.keys.group.tolist()
    n, draws = len(rows), options.get("draws", 4)
    assert read[:n] == rows and len(read) == n * (2 + draws)
    partner, met = read[n : 2 * n], [read[at : at + draws] for at in range(2 * n, len(read), draws or 1)]
    for i, p in zip(rows, partner, strict=True):
        mates = [j for j in range(len(target)) if target[j] == target[i] >= 0 and j != i]
        assert p in mates if mates else p == i
    columns = [j for j in rows if target[j] >= 0]
    columns += [p for i, p in zip(rows, partner, strict=True) if p != i and target[p] >= 0]
    losses = []
    for at, i in enumerate(rows):
        positives = [math.exp(float(e[i] @ e[j]) / temperature) for j in columns if target[j] == target[i] and j != i]
        wrong = [j for j in columns if target[j] != target[i] and group[j] != group[i] and j != i]
        wrong += hard_of(run, part, i, met[at] if draws else [], options)
        against = sum(math.exp(float(e[i] @ e[j]) / temperature) for j in wrong)
        if target[i] >= 0 and positives:
            losses.append(sum(-math.log(p / (p + against)) for p in positives) / len(positives))
    assert losses and len(losses) < len(rows), "records with a match and without one must be in the batch"
    return {"pooled": sum(losses) / len(losses)}


def hard_of(run, part, i: int, met: list[int], options: dict) -> list[int]:
    """The hard negatives that row i meets at this step: a draw from its list, which is looked at here, none twice."""
    draws, depth, refresh = (options.get(k, d) for k, d in (("draws", 4), ("depth", 20), ("refresh", 50)))
    if not draws:
        assert part.negatives.shape[1] == 0
        return []
    begun = round(options.get("first", 0.5) * STEPS)
    last = begun + (run.step - begun) // refresh * refresh
    assert int(part.mined) == last
    held = [j for j in part.negatives[i].tolist() if j >= 0]
    if last == run.step:
        target, group = run.data.keys.target.tolist(), run.data.keys.group.tolist()
        e, mates = vectors(run), [j for j in range(len(target)) if target[j] == target[i] >= 0]
        able = [j for j in range(len(target)) if target[j] >= 0 and target[j] != target[i] and group[j] != group[i]]
        nearest = sorted(able, key=lambda j: -float(e[i] @ e[j]))[:depth] if len(mates) > 1 else []
        assert sorted(held) == sorted(nearest)
    chosen = met[: min(draws, len(held))]
    assert set(chosen) <= set(held) and len(set(chosen)) == len(chosen)
    return chosen


def vectors(run) -> list[np.ndarray]:
    t, v = (run.encode_all(side).double().numpy() for side in ("query", "document"))
    return [(a + b) / math.sqrt(float((a + b) @ (a + b))) for a, b in zip(t, v, strict=True)]


def check_partners(part) -> None:
    run = product_run()
    part.begin(run)
    target, rows = run.data.keys.target.numpy(), np.arange(len(run.data))
    counts = np.zeros((len(rows), len(rows)))
    run.step = STEPS - 1
    for run.seed in range(200):
        read = noted(run)
        part.step(run, rows)
        del run.encode
        counts[rows, read[0][len(rows) : 2 * len(rows)]] += 1
    for i in rows:
        mates = [j for j in rows if target[j] == target[i] >= 0 and j != i]
        if not mates:
            assert counts[i, i] == 200
            continue
        even = 200 / len(mates)
        assert counts[i, mates].sum() == 200 and all(abs(counts[i, j] - even) < 5 * math.sqrt(even) for j in mates)


def check_without_labels(part) -> None:
    run = small_run()
    part.begin(run)
    run.step = STEPS - 1
    assert set(part.step(run, batches(run)[0])) == {"text to picture", "picture to text"}


def check_refusals(build) -> None:
    with pytest.raises(PartError, match="one column"):
        build().begin(small_run(same_space=True))
    run = product_run()
    run.data = replace(run.data, guide=(torch.zeros(40, 2), torch.zeros(40, 2)))
    with pytest.raises(PartError, match="guide"):
        build().begin(run)
