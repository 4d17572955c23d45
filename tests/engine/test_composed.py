"""Composed queries: the gallery, what training is told, figures without the reference, and what is kept for serving."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.composing import Composer
from tellapart.core.errors import DataError, PartError, TellapartError
from tellapart.core.report import Table
from tellapart.data.composed import gallery, picture_codes
from tellapart.data.identity import curate
from tellapart.data.triplets import mined
from tellapart.engine.composed import figures, told
from tellapart.engine.evaluate import Relevant
from tellapart.engine.together import COMPOSER, FILE, FOLDER, Together, composer_of
from tellapart.recipe import Recipe
from tellapart.run import run
from tellapart.runs import Run
from tellapart.server.service import Service
from tests.engine.test_together import painted, turned

SMALL = Recipe(image="colour-histogram", head="linear-head(dim=16)", epochs=8, batch_size=32, strategy="combiner")


def rows() -> Collection:
    """Five rows over four pictures: two answers of one question, a repeated reference, one without."""
    a, b, c, d = (painted(i, i) for i in range(4))
    return Collection.of(
        {
            "id": list("vwxyz"),
            "other_image": [a, a, b, None, a],
            "text": ["Red", "red ", "red", "a red one", "blue"],
            "image": [b, c, c, d, c],
            "title": ["B", "C", "C again", "D", "C too"],
            "reference_title": ["A", "A", "B", None, "A"],
            "split": ["train"] * 5,
        }
    )


def test_the_gallery_holds_every_picture_once() -> None:
    pairs, pictures = gallery(rows())
    assert pictures.ids.tolist() == ["v", "w", "y", "v reference"]
    assert pictures.values("title") == ["B", "C", "D", "A"] and pictures.values("text") == [None] * 4
    assert pairs.values("document_id") == ["v", "w", "w", "y", "w"]
    assert pairs.values("reference_id") == ["v reference"] * 2 + ["v", None, "v reference"]
    asked = pairs.values("query_id")
    assert asked[0] == asked[1] and len(set(asked)) == 4
    assert pictures.values("target")[0] == pictures.values("target")[1] != pictures.values("target")[2]
    same = picture_codes(pairs)
    assert (picture_codes(rows()) == same).all() and same[3, 1] == -1 and same[2, 1] == same[0, 0]


def test_a_reference_that_cannot_be_opened_is_a_problem() -> None:
    wrong = rows().with_column("other_image", [painted(0, 0), b"no picture", painted(1, 1), None, painted(0, 0)])
    pairs, _ = gallery(wrong)
    assert pairs.ids.tolist() == ["v", "x", "y", "z"] and "the reference" in pairs.problems["reason"][0].as_py()
    with pytest.raises(DataError, match="no reference picture"):
        gallery(rows().take(np.asarray([0])).with_column("other_image", [b"no picture"]))


def test_training_is_told_all_right_pictures_of_a_question() -> None:
    held = told(rows().with_column("group", np.arange(5)))
    assert held["asked"].tolist() == [0, 0, 1, 2, 3]
    assert sorted(held["answers"][0].tolist()) == sorted({*held["pictures"][:2, 0].tolist()})
    assert held["answers"][1].tolist() == [held["pictures"][2, 0], -1]
    assert held["picture_group"][held["pictures"][0, 1]] == -1


def test_words_alone_make_nothing_right_beside_references() -> None:
    made = gallery(curate(rows()))[0]
    assert made.values("target")[0] == made.values("target")[1] != made.values("target")[2]


def test_the_reference_is_no_answer_and_is_counted() -> None:
    z = np.eye(4, dtype=np.float32)
    q = np.asarray([[0.9, 0.4, 0.1, 0], [0.1, 0.9, 0, 0.4], [0, 0, 0.3, 0.9]], np.float32)
    found = figures(q, z, Relevant.of([[1], [3], [2]]), np.asarray([0, -1, 3]))
    assert found["R@1"].tolist() == [1, 0, 1]
    assert found["the reference itself comes first"][[0, 2]].tolist() == [1, 1]
    assert np.isnan(found["the reference itself comes first"][1])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("composed")
    report = run(turned(160), out=folder / "out", recipe=SMALL, cache=folder / "cache")
    table = next(b for b in report.blocks if isinstance(b, Table) and b.title == "A reference and a change in words")
    assert [row[0] for row in table.rows] == ["reference alone", "words alone", "sum of both", "reference and words"]
    return folder / "out"


def test_a_run_keeps_what_composes(done: Path) -> None:
    both = Together.open(done)
    assert both.joins == "composer" and not both.others and both.composer is not None
    words, picture = ["turned half of the way"], [painted(0, 900)]
    q = both.encode({"text": words, "other_image": picture})
    expected = both.composer(both.model.encode_document(picture), both.model.encode_query(words))
    np.testing.assert_allclose(q, expected, atol=1e-6)
    np.testing.assert_allclose(both.encode({"text": words}), both.model.encode_query(words), atol=1e-6)
    np.testing.assert_allclose(both.encode({"other_image": picture}), both.model.encode_document(picture), atol=1e-6)
    with pytest.raises(DataError, match="knows no side"):
        both.encode({"image": picture})
    opened = Run(done)
    known = np.flatnonzero(opened.collection["other_image"].is_valid().to_numpy())[:4]
    held = {name: opened.collection.take(known).values(name) for name in ("text", "other_image")}
    np.testing.assert_allclose(opened.encode("query", known), both.encode(held), atol=1e-5)


def test_composing_needs_no_torch(done: Path) -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nimport numpy as np\n"
        "from tellapart.engine.together import Together, composer_of\n"
        f"made = composer_of({str(done)!r})\n"
        "assert made(np.eye(16, dtype='f4'), np.eye(16, dtype='f4')[::-1]).shape == (16, 16)\n"
        f"print(Together.open({str(done)!r}).encode({{'text': ['turned backwards by one']}}).shape)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert out.returncode == 0 and "(1, 16)" in out.stdout, out.stderr


def test_damaged_files_are_refused_in_words(done: Path, tmp_path: Path) -> None:
    place = tmp_path / FOLDER
    place.mkdir()
    for name in (FILE, COMPOSER):
        (place / name).write_bytes((done / FOLDER / name).read_bytes())
    assert composer_of(tmp_path) is not None
    held = bytearray((place / COMPOSER).read_bytes())
    held[-1] ^= 1
    (place / COMPOSER).write_bytes(bytes(held))
    with pytest.raises(TellapartError, match="hash differs"):
        composer_of(tmp_path)
    (place / COMPOSER).unlink()
    with pytest.raises(TellapartError, match="missing"):
        composer_of(tmp_path)
    told = json.loads((place / FILE).read_text())
    del told["composer"]
    (place / FILE).write_text(json.dumps(told))
    with pytest.raises(TellapartError, match="how the sides are joined"):
        composer_of(tmp_path)


def test_unfit_tensors_and_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PartError, match="not known here"):
        Composer("other", {})
    with pytest.raises(PartError, match="not finite"):
        Composer("gated", {"x": np.asarray([np.nan])})
    with pytest.raises(PartError, match="make no composer"):
        Composer("gated", {})(np.eye(2), np.eye(2))
    two = Collection(turned().table.drop_columns(["other_image"]))
    with pytest.raises(PartError, match="other_image"):
        run(two, out=tmp_path / "out", recipe=SMALL, cache=tmp_path / "cache")


def test_words_change_a_picture_in_a_search(done: Path) -> None:
    service, both = Service(done), Together.open(done)
    picture, words = painted(0, 900), "turned half of the way"
    z, notes = service.asking.vector(words, picture, [], [])
    np.testing.assert_allclose(z, both.encode({"text": [words], "other_image": [picture]})[0], atol=1e-5)
    assert any("what is to change" in note for note in notes)
    item = service.collection.ids[3]
    z, _ = service.asking.vector(words, None, [item], [])
    assert both.composer is not None
    expected = both.composer(service.stored([item]), both.model.encode_query([words]))[0]
    np.testing.assert_allclose(z, expected, atol=1e-5)
    found = service.search(words, like=[item], k=5)
    assert len(found.results) == 5 and item not in [result.id for result in found.results]
    assert service.asking.as_measured(words, picture, [], []) and not service.asking.as_measured(words, None, [], [])
    measured = service.search(words, picture, k=5)
    assert all(result.probability is not None for result in [*measured.results, *measured.closest])
    assert "nothing to change" in service.search(words).notes[0]
    assert not service.search(image=picture).notes


def test_triplets_are_mined_of_captions() -> None:
    rng = np.random.default_rng(3)
    colours = ["red", "green", "blue", "yellow"]
    made = Collection.of(
        {
            "image": [painted(k % 4, k) for k in range(40)],
            "text": [f"a {colours[k % 4]} square" for k in range(40)],
            "split": ["train"] * 30 + ["test"] * 10,
        }
    )
    z = np.eye(4)[np.arange(40) % 4] + 0.9 + 0.05 * rng.normal(size=(40, 4))
    found = mined(made, z, between=(0.4, 0.99), each=3)
    texts = dict(zip(made.values("image"), made.values("text"), strict=True))
    parts = dict(zip(made.values("image"), made.values("split"), strict=True))
    assert len(found) == 120 and len(set(found.ids)) == 120
    for said, one, other in zip(*(found.values(name) for name in ("text", "other_image", "image")), strict=True):
        assert said == f"instead of {texts[one]}, {texts[other]}" and texts[one] != texts[other]
        assert parts[one] == parts[other]
    assert min(found.values("cosine")) >= 0.4 and max(found.values("cosine")) <= 0.99
    silent = Collection(made.table.drop_columns(["text"]))
    told = mined(silent, z, captions=lambda pictures: [texts[p].upper() for p in pictures], between=(0.4, 0.99))
    assert told.values("text")[0].startswith("instead of A ")
    with pytest.raises(DataError, match="captions="):
        mined(silent, z)
    with pytest.raises(DataError, match="no two pictures"):
        mined(made, z, between=(-1.0, -0.9))
    with pytest.raises(DataError, match=r"two \{\}"):
        mined(made, z, template="{}")
    assert len(gallery(found)[1]) == 40
