"""Several sides as one query: the arithmetic, the figures of a run, and what it leaves for use from Python."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.compare import compare
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError, TellapartError
from tellapart.core.report import Table
from tellapart.engine.fit import fit
from tellapart.engine.prepare import features, train_data
from tellapart.engine.sided import figures, vectors_of
from tellapart.engine.together import FILE, FOLDER, Together, joined
from tellapart.recipe import Recipe
from tellapart.run import run

SMALL = Recipe(image="colour-histogram", head="linear-head(dim=16)", epochs=20, batch_size=32, strategy="symile")
COLOURS = np.asarray([(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)])


def painted(colour: int, number: int) -> bytes:
    out = io.BytesIO()
    picture = Image.new("RGB", (12, 12), tuple(int(v) for v in COLOURS[colour]))
    picture.putpixel((number % 12, number // 12 % 12), (number % 251, number // 251, 7))
    picture.save(out, format="PNG")
    return out.getvalue()


def turned(n: int = 160) -> Collection:
    """A colour, words for how far it is turned, and the colour that comes out; the words are missing now and then."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(4, size=n), rng.integers(4, size=n)
    said = ["not at all", "a quarter of the way", "half of the way", "backwards by one"]
    return Collection.of(
        {
            "image": [painted((i + j) % 4, k) for k, (i, j) in enumerate(zip(a, b, strict=True))],
            "text": [f"turned {said[j]}" for j in b],
            "other_image": [None if k % 9 == 0 else painted(i, k + 500) for k, i in enumerate(a)],
            "answer": (a + b) % 4,
            "split": (["train"] * 6 + ["validation"] + ["test"]) * (n // 8),
            "group": np.arange(n),
        }
    )


def test_a_side_that_is_not_known_leaves_the_score_of_the_others() -> None:
    rng = np.random.default_rng(1)
    a, b, c = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(3, 5, 8)))
    unknown = np.full((5, 8), np.nan)
    np.testing.assert_allclose(joined([a, unknown], "product"), a, atol=1e-6)
    np.testing.assert_allclose(joined([unknown, a], "sum"), a, atol=1e-6)
    order = [sum(a[0, j] * b[0, j] * c[i, j] for j in range(8)) for i in range(5)]
    assert (np.argsort(joined([a, b], "product")[0] @ c.T) == np.argsort(order)).all()
    both = joined([a, b], "sum")[0] @ c.T
    assert (np.argsort(both) == np.argsort(a[0] @ c.T + b[0] @ c.T)).all()
    assert joined([a] * 40, "product").dtype == np.float32 and np.isfinite(joined([a] * 40, "product")).all()
    with pytest.raises(DataError, match="nothing is known of item 0"):
        joined([unknown], "product")
    with pytest.raises(DataError, match="one shape"):
        joined([a, b[:3]], "sum")


def test_what_only_two_sides_tell_is_found_with_both(tmp_path: Path) -> None:
    made = turned(480)
    vectors = features(made, SMALL, cache=tmp_path)
    train = np.flatnonzero(np.asarray(made.values("split")) == "train")
    right = {}
    for strategy in ("symile", "pairwise"):
        recipe = SMALL.but(strategy=strategy, objective="infonce(temperature=0.2)")
        fitted = fit(recipe, train_data(made.take(train), {k: x[train] for k, x in vectors.items()}, recipe), seed=0)
        test = np.flatnonzero(np.asarray(made.values("split")) == "test")
        z = vectors_of(made, vectors, fitted, test)
        missing = np.asarray([v is None for v in made.values("other_image")])[test]
        assert (np.isnan(z["other_image"]).any(1) == missing).all()
        q = joined([z["query"][~missing], z["other_image"][~missing]], fitted.strategy.joins)
        answer = np.asarray(made.values("answer"))[test]
        right[strategy] = (answer[(q @ z["document"].T).argmax(1)] == answer[~missing]).mean()
        assert set(figures(made, vectors, fitted)) == {"text", "image", "other_image"}
    assert right["symile"] > 0.8 and right["pairwise"] < 0.6, right


def test_a_run_leaves_towers_that_python_searches_with(tmp_path: Path) -> None:
    report = run(turned(), out=tmp_path / "out", recipe=SMALL.but(epochs=3), cache=tmp_path / "cache")
    table = next(b for b in report.blocks if isinstance(b, Table) and b.title == "All other sides known")
    assert [row[0] for row in table.rows] == ["text", "image", "other_image"]
    both = Together.open(tmp_path / "out")
    assert both.joins == "product" and set(both.others) == {"other_image"}
    known = {"text": ["turned half of the way"] * 2, "other_image": [painted(0, 1), painted(1, 2)]}
    q = both.encode(known)
    parts = [both.model.encode_query(known["text"]), both.others["other_image"].encode_document(known["other_image"])]
    product = parts[0] * parts[1]
    np.testing.assert_allclose(q, product / np.linalg.norm(product, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(both.encode({"text": known["text"]}), parts[0], atol=1e-6)
    with pytest.raises(DataError, match="knows no side 'picture'"):
        both.encode({"picture": ["x"]})
    with pytest.raises(DataError, match="at least one"):
        both.encode({})
    file = tmp_path / "out" / FOLDER / FILE
    file.write_text(json.dumps({"format": 1, "joins": "product", "sides": ["../model"]}))
    with pytest.raises(TellapartError, match="no name of a column"):
        Together.open(tmp_path / "out")
    file.write_text("{}")
    with pytest.raises(TellapartError, match="cannot be read"):
        Together.open(tmp_path / "out")
    with pytest.raises(TellapartError, match="holds no further sides"):
        Together.open(tmp_path)


def test_compare_gives_each_recipe_the_columns_it_learns_from(tmp_path: Path) -> None:
    tries = ["strategy=symile", "strategy=pairwise"]
    base = SMALL.but(strategy="two-tower", epochs=1)
    report = compare(turned(), tries=tries, base=base, seeds=2, out=tmp_path / "out", cache=tmp_path / "cache")
    rows = next(b for b in report.blocks if isinstance(b, Table)).rows
    assert [row[0] for row in rows] == ["base", *tries]


def test_data_of_two_sides_are_refused_in_words(tmp_path: Path) -> None:
    made = turned()
    two = Collection(made.table.drop_columns(["other_image"]))
    with pytest.raises(PartError, match="further column"):
        run(two, out=tmp_path / "out", recipe=SMALL, cache=tmp_path / "cache")
