"""The protocol of regions: its pictures are what their truth says, its figures those of loops; what it refuses."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tellapart.core.errors import DataError
from tellapart.data.regions import crops
from tellapart.engine.embed import items_of
from tellapart.protocol import regions


def test_pictures_hold_what_they_are_said_to():
    made = regions.scenes(4, 30)
    items = items_of(crops(made.collection), "image", "image")
    for n in (0, 7, 29):
        said = {regions.ATTRIBUTES[a] for a in np.flatnonzero(made.truth[n].any(0))}
        assert set(made.collection.values("attributes")[n]) == said
        assert sorted(made.collection.values("text")[n].split(". ")) == sorted(said)
        for place in range(9):
            cell = Image.open(io.BytesIO(made.cells.values("image")[made.cell[n, place]]))
            assert items.at(9 * n + place).tobytes() == cell.convert("RGB").tobytes()
            assert made.truth[n, place].sum() == (3 if np.asarray(cell).any() else 0)
        assert made.truth[n].any(1).sum() == 4


def test_no_digit_is_in_two_parts():
    made = regions.scenes(4, 40)
    for seed in (0, 1):
        rows = regions.parted(made, seed)
        assert {name: len(r) for name, r in rows.items()} == {"train": 24, "validation": 8, "test": 8}
        used = [set(made.cell[r].ravel()) - {len(made.cells) - 1} for r in rows.values()]
        assert not (used[0] & used[1] or used[0] & used[2] or used[1] & used[2])
    assert not np.array_equal(regions.parted(made, 0)["test"], regions.parted(made, 1)["test"])


def test_figures_are_those_of_loops():
    rng = np.random.default_rng(0)
    scores, truth = rng.normal(size=(5, 9, 4)), rng.random((5, 9, 4)) < 0.15
    truth[:, :, 3] = False
    for epsilon in (0.0, 0.5, 9.0):
        given = right = 0
        for n in range(5):
            for a in range(4):
                if truth[n, :, a].any():
                    best = max(scores[n, :, a])
                    mine = [r for r in range(9) if scores[n, r, a] >= best - epsilon]
                    given, right = given + len(mine), right + sum(truth[n, r, a] for r in mine)
        precision, recall = right / given, right / truth.sum()
        expected = 2 * precision * recall / (precision + recall)
        assert regions.mapping_f1(scores, truth, epsilon) == pytest.approx(expected)
    values = []
    for a in range(3):
        order = sorted(((scores[n, r, a], truth[n, r, a]) for n in range(5) for r in range(9)), reverse=True)
        count = int(truth[:, :, a].sum())
        values.append(sum(right for _, right in order[:count]) / count)
    assert regions.r_precision(scores, truth) == pytest.approx(np.mean(values))


def test_recipes_are_compared_on_one_split(tmp_path, monkeypatch):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path))
    sides = {"image": "colour-histogram"}
    spec = {
        "options": {
            "pictures": 40, "epochs": 1, "batch_size": 8, "epsilons": [0.1, 1.0],
            "baseline": {**sides, "strategy": "two-tower"},
            "variant": {**sides, "strategy": "villa(hidden=4)", "objective": ["infonce", "dcl"]},
            "controls": [{"strategy": "villa(hidden=4, epsilon=2)"}],
        }
    }  # fmt: skip
    found = regions.run(spec, "scenes-2", 0)
    assert list(found) == [
        regions.MAPPING, regions.FINDING, "nDCG@10, caption to picture", "mapping F1 against a random cell",
        "R-Precision, attribute to cell against villa(hidden=4, epsilon=2)",
    ]  # fmt: skip
    assert all(0 <= x <= 1 for pair in found.values() for x in pair)
    assert found == regions.run(spec, "scenes-2", 0)
    for data in ("scenes", "scenes-0", "scenes-10", "digits"):
        with pytest.raises(DataError, match="scenes-1 to scenes-9"):
            regions.run(spec, data, 0)
