"""Both losses by loops over pictures and captions, with alternatives as they were drawn; what is none; refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, contrary_run, small_run
from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"neighbours": 0}, {"neighbours": 7}]
T = 0.3


def check(build, options: dict) -> None:
    run = contrary_run(objective=f"infonce(temperature={T})")
    part, count = build(**options), options.get("neighbours", 3)
    part.begin(run)
    alike = nearest_by_loops(run, count)
    seen, unchanged = set(), 0
    for rows in batches(run)[:5]:
        asked: list[np.ndarray] = []
        encode = run.encode

        def noted(side, batch, asked=asked, encode=encode, **more):
            asked.append(batch)
            return encode(side, batch, **more)

        run.encode = noted
        got = part.step(run, rows)
        run.encode = encode
        whole = asked[0].tolist()
        assert whole[: len(rows)] == rows.tolist()
        others = whole[len(rows) :]
        assert len(others) == (len(rows) if count else 0)
        for row, other in zip(rows.tolist(), others, strict=False):
            assert other in alike[row]
            seen.add((row, alike[row].index(other)))
        wanted, same = expected(run, whole)
        unchanged += same
        for name, value in wanted.items():
            assert abs(got[name].item() - value) < 1e-4, (name, got[name].item(), value)
        run.step += 1
    assert unchanged > 0
    if count:
        assert len({place for _, place in seen}) == count
    with pytest.raises(PartError, match="swap-words"):
        build(**options).begin(small_run())
    with pytest.raises(PartError, match="pairs"):
        build(**options).begin(small_run(same_space=True))
    with pytest.raises(PartError, match="both_ways"):
        build(**options).begin(contrary_run(both_ways=False))
    guided = contrary_run()
    guided.data = replace(guided.data, guide=(torch.zeros(40, 2), torch.zeros(40, 2)))
    with pytest.raises(PartError, match="guide"):
        build(**options).begin(guided)


def nearest_by_loops(run, count):
    """The so many pictures (documents) nearest to each by cosine."""
    x = run.data.document.batch(np.arange(40), seed=None).double().numpy()
    cosine = [[float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)) for b in x] for a in x]
    return [sorted((j for j in range(40) if j != i), key=lambda j, i=i: -cosine[i][j])[:count] for i in range(40)]


def expected(run, rows):
    """Both losses, and how many wrong captions are captions of the batch."""
    at = np.array(rows)
    with torch.no_grad():
        q = run.encode("document", at).double().tolist()
        k = run.encode("query", at, altered=False).double().tolist()
        w = run.encode("query", at).double().tolist()
    plain = run.data.query.batch(at, seed=None).tolist()
    moved = run.data.query.batch(at, seed=run.draw("query")).tolist()
    group, n = [row // 2 for row in rows], len(rows)

    def dot(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / T

    pictures, captions, same = 0.0, 0.0, 0
    for i in range(n):
        right = [j for j in range(n) if rows[j] == rows[i]]
        others = [j for j in range(n) if group[j] != group[i]]
        wrong = []
        for j in range(n):
            holders = [m for m in range(n) if plain[m] == moved[j]]
            same += bool(holders)
            if moved[j] != plain[j] and all(m in others for m in holders):
                wrong.append(j)
        noise = [dot(q[i], k[j]) for j in others] + [dot(q[i], w[j]) for j in wrong]
        back = [dot(k[i], q[j]) for j in others]
        pictures += several([dot(q[i], k[j]) for j in right], noise) / n
        captions += several([dot(k[i], q[j]) for j in right], back) / n
    return {"pictures": pictures / 2, "captions": captions / 2}, same


def several(right, wrong):
    """InfoNCE of a row with several positives: the mean over them, each against the negatives alone."""
    return sum(math.log(sum(math.exp(s) for s in [r, *wrong])) - r for r in right) / len(right)
