"""Oracle: losses of every stage by loops over items, pseudo-labels, batches of a label, and what is refused."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import STEPS, batches, small_run, staged_run
from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"clusters": 2}]
TEMPERATURE = 0.2


def check(build, options: dict) -> None:
    for same_space in (False, True):
        _training(build, options, same_space)
    _rounds(build)
    _refused(build)


def _training(build, options, same_space):
    """Towers that move between steps; each loss is computed from labels that are followed apart."""
    run = staged_run(objective=f"infonce(temperature={TEMPERATURE})", same_space=same_space, batch_size=10)
    part = build(**options)
    part.begin(run)
    count = min(options.get("clusters", 10), 3)  # forty items, four a label of two stages
    optimizer = torch.optim.AdamW(run.towers.parameters(), lr=0.1, weight_decay=0.5)
    labels, idle = [()] * 40, 0
    for rows in batches(run):
        stage, parts = run.step * 3 // STEPS, [slice(0, 3), slice(3, 6), slice(6, 9)]
        before = {name: x.clone() for name, x in run.towers.state_dict().items()}
        earlier = int(run.towers["document"].stage)
        z = run.encode_all("document")[:, parts[earlier]]
        losses = part.step(run, rows)
        assert int(run.towers["document"].stage) == int(run.towers["query"].stage) == stage
        if earlier < stage:
            found = _new_clusters(part.labels.tolist(), labels, count)
            assert len(set(found)) == count
            assert _nearest_to_own(z, found), "no clusters of the last stage's vectors"
            labels = [(*old, new) for old, new in zip(labels, found, strict=True)]
        chosen = rows if stage == 0 else part._own(run, stage)
        assert stage == 0 or len(chosen) == 10
        sides = ["query"] if same_space else ["query", "document"]
        assert list(losses) == sides
        vectors = {side: run.encode(side, chosen)[:, parts[stage]].tolist() for side in ("query", "document")}
        keys = list(zip(run.data.keys.group[chosen].tolist(), run.data.keys.target[chosen].tolist(), strict=True))
        for side in sides:
            own, other = vectors[side], vectors["document" if side == "query" else "query"]
            values = []
            for i, v in enumerate(own):
                s = [sum(a * b for a, b in zip(v, w, strict=True)) * (stage + 1) for w in other]
                right = [j for j in range(len(own)) if keys[j][1] == keys[i][1] and not (same_space and i == j)]
                wrong = [j for j in range(len(own)) if keys[j][1] != keys[i][1] and keys[j][0] != keys[i][0]]
                within = [j for j in wrong if labels[chosen[j]] == labels[chosen[i]]]
                idle += len(wrong) - len(within)
                rest = sum(math.exp(s[j] / TEMPERATURE) for j in within)
                if right:
                    values.append(sum(math.log(1 + rest / math.exp(s[p] / TEMPERATURE)) for p in right) / len(right))
            expected = sum(values) / max(len(values), 1) / len(sides)
            assert math.isclose(losses[side].item(), expected, rel_tol=1e-3, abs_tol=1e-6), (options, run.step, side)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        part.after(run)
        for name, x in run.towers.state_dict().items():
            if name.endswith("weight"):
                frozen = f"blocks.{stage}." not in name
                assert torch.equal(x, before[name]) == frozen, (run.step, name, "decay moves a frozen stage")
        run.step += 1
    assert idle > 0, "a case in which nothing is left out shows nothing"


def _new_clusters(codes, labels, count):
    """The cluster that the last stage adds to each item's series; earlier digits must be as they were."""
    for code, old in zip(codes, labels, strict=True):
        digits, rest = [], code // count
        for _ in old:
            digits.append(rest % count)
            rest //= count
        assert rest == 0 and tuple(digits[::-1]) == old, "an earlier stage's clusters are lost"
    return [code % count for code in codes]


def _nearest_to_own(z, found):
    """k-means is at rest: every vector is nearest to the mean of its own cluster."""
    z = torch.nn.functional.normalize(z, dim=1)
    means = torch.stack([z[[i for i, c in enumerate(found) if c == own]].mean(0) for own in sorted(set(found))])
    return torch.cdist(z, means).argmin(1).tolist() == found


def _rounds(build):
    """In a round every item comes once at most, and items of a label stand together."""
    run = staged_run(n=64, batch_size=8)
    run.steps, run.step = 48, 16
    part = build(clusters=4)
    part.begin(run)
    part.labels.copy_(torch.arange(64) // 8)
    for turn in range(2):
        seen: Counter = Counter()
        for run.step in range(16 + 8 * turn, 24 + 8 * turn):
            rows = part._own(run, 1)
            seen.update(rows.tolist())
            assert len({int(part.labels[row]) for row in rows}) == 1, "eight items a label fill a batch of eight"
        assert set(seen.values()) == {1} and len(seen) == 64
    run.step = 16
    one = part._own(run, 1).tolist()
    run.step = 24
    assert one != part._own(run, 1).tolist()


def _refused(build):
    with pytest.raises(PartError, match="set head=staged-head"):
        build().begin(small_run())
    for changes, words in (
        ({"epochs": 2}, "2 epochs are too few for 3 stages"),
        ({"average": 0.5}, "reaches back before the last"),
        ({"sample": "no-duplicates"}, "leave sample=no-duplicates"),
    ):
        with pytest.raises(PartError, match=words):
            build().begin(staged_run(**changes))
    with pytest.raises(PartError, match="at least 16 items"):
        build().begin(staged_run(n=12))
    run = staged_run()
    part = build()
    part.begin(run)
    run.steps = 2
    with pytest.raises(PartError, match="2 steps are too few"):
        part.step(run, np.arange(10))
