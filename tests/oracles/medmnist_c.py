"""Drops counted in loops where what the encoder sees is known, and the ratios to the reference from the table."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tellapart.core.collection import Collection
from tellapart.core.corruptions import REGISTRY
from tellapart.core.errors import DataError
from tellapart.core.report import Picture, Table

CASES: list[dict] = [{}, {"source": "scan", "but": "dirt", "items": 50, "k": 2}]
N = 80


def pictures():
    """A disc of one colour of many on white, somewhere."""
    rng, made = np.random.default_rng(4), []
    for _ in range(N):
        image, (x, y) = Image.new("RGB", (32, 32), "white"), rng.integers(0, 12, 2)
        ImageDraw.Draw(image).ellipse((x, y, x + 18, y + 18), fill=tuple(int(v) for v in rng.integers(20, 230, 3)))
        made.append(image)
    return made


def hues(items):
    """Shares of red and green in what the middle of each picture has of ink: cast moves them, blur does not."""
    found = []
    for image in items:
        ink = 255 - np.asarray(image.convert("RGB"), float).mean(axis=(0, 1))
        found.append([*(ink / max(ink.sum(), 1e-9) - 1 / 3), 0.3])
    return np.array(found)


def check(build, options):
    given = pictures()
    collection = Collection.of({"id": [f"p{i:02d}" for i in range(N)], "image": [b""] * N})
    x = hues(given)
    vectors = {"image": x, "pictures": given, "image-encoder": hues}
    report = build(**options)(vectors, collection, seed=5)
    names = [n for n, c in REGISTRY.items() if "source" not in options or ("scan" in c.sources and c.family != "dirt")]
    found = {f.figure.name: f for f in report.findings()}
    assert list(found) == [f"drop under {name}" for name in names]
    rows = sorted(int(i[1:]) for i in found[f"drop under {names[0]}"].ids)
    assert len(rows) == options.get("items", 60)
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    severity = 1 + np.random.default_rng(5).permutation(len(rows)) % 5
    wrong = {}
    for c, name in enumerate(names):
        wrong[name] = []
        for place, row in enumerate(rows):
            s = 1 + (severity[place] - 1 + c) % 5
            damaged = hues([REGISTRY[name].at(given[row], int(s), np.random.default_rng([5, c, row]))])[0]
            damaged = damaged / np.linalg.norm(damaged)
            above = sum(float(damaged @ z[j]) > float(damaged @ z[row]) + 1e-6 for j in range(N) if j != row)
            wrong[name].append(above >= options.get("k", 10))
        assert found[f"drop under {name}"].figure.value == pytest.approx(np.mean(wrong[name]))
    assert np.mean(wrong["blur"]) < 0.2 < np.mean(wrong["cast"])
    assert found["drop under cast"].p < 1e-3 and "cast" in found["drop under cast"].examples[0].why
    table = next(b for b in report.blocks if isinstance(b, Table))
    assert [row[0] for row in table.rows] == names
    ratios, beyond = [], []
    reference_clean = float(table.note.split("reference ")[1].split(";")[0])
    for row in table.rows:
        error, reference, be, rbe = row[7:]
        assert error == pytest.approx(np.mean(wrong[row[0]]))
        if reference > 0:
            assert be == pytest.approx(error / reference)
            ratios.append(be)
        if rbe is not None:
            assert rbe == pytest.approx(error / (reference - reference_clean), rel=0.05)
            beyond.append(rbe)
    assert report.figure("BE").value == pytest.approx(np.mean(ratios))
    assert report.figure("rBE").value == pytest.approx(np.mean(beyond))
    assert report.figure("error, clean").value == 0
    assert next(b for b in report.blocks if isinstance(b, Picture)).svg.startswith("<svg")
    with pytest.raises(DataError, match="leave out fewer"):
        build(source="web", but="digital|dirt")(vectors, collection, seed=0)
    check_labels(build)


def check_labels(build):
    """Classes told by brightness: what darkens a picture makes it one of the other class, and blur changes nothing."""
    rng = np.random.default_rng(0)
    y = np.arange(N) % 2
    given = [Image.new("RGB", (24, 24), (int(v),) * 3) for v in np.where(y, 200, 90) + rng.integers(-12, 13, N)]

    def light(items):
        return np.array([[np.asarray(image, float).mean() / 255, 0.5] for image in items])

    held = Collection.of({"id": [f"p{i:02d}" for i in range(N)], "label": [("dim", "light")[v] for v in y]})
    vectors = {"image": light(given), "pictures": given, "image-encoder": light}
    report = build(but="digital|noise|dirt|motion")(vectors, held, seed=1)
    drop = {f.figure.name: f for f in report.findings()}
    assert "label told" in report.facts["asked"]
    assert drop["drop under blur"].figure.value == 0 and drop["drop under dark"].figure.value > 0.3
    assert "dim" in drop["drop under dark"].examples[0].why
