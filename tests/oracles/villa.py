"""Oracle: scores, loss and mapping by loops over regions and attributes, then a step of stage 2; what is refused."""

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
    {"temperature": 0.5, "epsilon": 0.6, "hidden": 5, "mapping": 0.26, "regions": 2},
    {"epsilon": 1.2, "regions": 3, "width": 4},
]


def score(part, run, region: int, attribute: int) -> float:
    """The cosine of an attribute's head of a region with the attribute."""
    x = run.data.extra["region_vectors"].astype(np.float64)
    spread = np.sqrt(((x - x.mean(0)) ** 2).mean(0))
    x = (x - x.mean(0)) / np.where(spread == 0, 1, spread)
    f = x[region]
    if part.width < len(f):
        axes = part._axes.double().numpy()
        largest = np.linalg.svd(x, compute_uv=False)[: part.width] ** 2
        assert np.allclose(np.sort((x @ axes).T @ (x @ axes), None)[-part.width :], np.sort(largest), rtol=1e-3)
        assert np.allclose(axes.T @ axes, np.eye(part.width), atol=1e-4)
        f = f @ axes
    w = {name: p.detach().double().numpy()[attribute] for name, p in part.named_parameters()}
    h = [max(0.0, sum(f[i] * w["first"][i, j] for i in range(len(f))) + w["first_bias"][j]) for j in range(part.hidden)]
    u = run.data.extra["attribute_vectors"][attribute].astype(np.float64)
    y = [sum(h[j] * w["second"][j, t] for j in range(len(h))) + w["second_bias"][t] for t in range(len(u))]
    return float(np.dot(y, u) / math.sqrt(np.dot(y, y)) / math.sqrt(np.dot(u, u)))


def check(build, options: dict) -> None:
    run = region_run(objective="infonce(temperature=0.2)")
    part = build(**options)
    part.begin(run)
    rows = np.unique(np.concatenate([batches(run)[0], batches(run)[0][:3] ^ 1]))
    temperature, epsilon = options.get("temperature", 0.07), options.get("epsilon", 0.2)
    of, said = run.data.extra["region_of"].tolist(), run.data.extra["phrase_of"].tolist()
    group = run.data.keys.group.tolist()

    def has(i: int, a: int) -> bool:
        return said[i][a] >= 0

    def lacks(i: int, a: int) -> bool:
        return not any(has(j, a) for j in range(len(said)) if group[j] == group[i])

    s = {(r, a): score(part, run, r, a) for i in range(len(said)) for r in of[i] if r >= 0 for a in range(3)}
    best = {(i, a): max(s[r, a] for r in of[i] if r >= 0) for i in range(len(said)) for a in range(3)}
    losses = []
    for i in rows.tolist():
        for a in range(3):
            if has(i, a):
                lead = math.exp(best[i, a] / temperature)
                others = sum(math.exp(best[j, a] / temperature) for j in rows.tolist() if lacks(j, a))
                losses.append(-math.log(lead / (lead + others)))
    got = part.step(run, rows)
    assert list(got) == ["query", "document", "mapping"]
    assert math.isclose(got["mapping"].item(), sum(losses) / len(losses), rel_tol=1e-4), (got, losses)
    if temperature > 0.2:
        check_gradient(part, got["mapping"], run, rows)
    assert not part.assigned.any()
    switch = round(options.get("mapping", 0.5) * 8)
    for run.step in range(8):
        assert ("mapping" in part.step(run, rows)) == (run.step < switch)
        part.after(run)
    several = 0
    for i in range(len(said)):
        for a in range(3):
            wanted = {r for r in of[i] if r >= 0 and has(i, a) and s[r, a] > best[i, a] - epsilon}
            several += len(wanted) > 1
            assert wanted == {r for r in of[i] if r >= 0 and part.assigned[r, a]}, (i, a)
    assert several, "a case in which no attribute has two regions does not show what epsilon does"
    check_regions(part, run, np.arange(len(said)), options.get("regions", 4))
    check_refusals(build)


def check_gradient(part, loss: torch.Tensor, run, rows: np.ndarray) -> None:
    """The gradient of one weight of a head, against a difference."""
    (got,) = torch.autograd.grad(loss, [part.second])
    at = np.unravel_index(int(got.abs().argmax()), got.shape)
    values = []
    for step in (1e-2, -1e-2):
        with torch.no_grad():
            part.second[at] += step
            values.append(part.step(run, rows)["mapping"].item())
            part.second[at] -= step
    assert math.isclose((values[0] - values[1]) / 2e-2, got[at].item(), rel_tol=0.02)


def check_regions(part, run, rows: np.ndarray, drawn: int) -> None:
    """The losses over regions, where each picture has as many as are drawn or one, so that the draw decides nothing."""
    of, said = run.data.extra["region_of"], run.data.extra["phrase_of"]
    group = run.data.keys.group.tolist()
    mapped = {i: [r for r in of[i] if r >= 0 and part.assigned[r].any()] for i in rows.tolist()}
    some = np.asarray([i for i, r in mapped.items() if len(r) in (0, 1, drawn)])
    entries = []  # query, document, what may not be told apart: text, place of the group, own number
    z = {side: run.encode_all(side).double() for side in ("query", "document")}
    with torch.no_grad():
        phrases = run.encode("phrase", np.arange(len(run.data.phrase)), tower=run.towers["query"]).double()
        regions = run.encode("region", np.arange(len(run.data.region)), tower=run.towers["document"]).double()
    for i in some.tolist():
        for turn in range(drawn):
            if not mapped[i]:
                entries.append((z["query"][i], z["document"][i], ("picture", group[i]), ("picture", group[i]), (-1, i)))
                continue
            r = mapped[i][turn % len(mapped[i])]
            held = [said[i][a] for a in range(3) if part.assigned[r, a]]
            mean = sum(phrases[p] for p in held)
            place = of[i].tolist().index(r)
            entries.append((mean / mean.norm(), regions[r], sorted(held), (group[i], place), (r, 0)))
    expected = {"region_text": [], "region": []}
    for name, (one, other) in {"region_text": (0, 1), "region": (1, 0)}.items():
        for a in entries:
            positives = [float(a[one] @ b[other]) / 0.2 for b in entries if b[4] == a[4]]
            negatives = [
                float(a[one] @ b[other]) / 0.2 for b in entries if b[4] != a[4] and b[2] != a[2] and b[3] != a[3]
            ]
            rest = sum(map(math.exp, negatives))
            values = [-math.log(math.exp(p) / (math.exp(p) + rest)) for p in positives]
            expected[name].append(sum(values) / len(values))
    got = part.step(run, some)
    assert len(some) > 3 and any(not m for m in mapped.values())
    for name, values in expected.items():
        assert math.isclose(got[name].item(), sum(values) / len(values) / 2, rel_tol=1e-4), (name, got, values)


def check_refusals(build) -> None:
    with pytest.raises(PartError, match="learns from regions"):
        build().begin(small_run())
    run = region_run()
    run.data = replace(run.data, guide=(torch.zeros(40, 2), torch.zeros(40, 2)))
    with pytest.raises(PartError, match="guide"):
        build().begin(run)
