"""One tower for pictures, words and both: a run by name, what it leaves, searches served without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tellapart.compare import compare
from tellapart.core.collection import Collection
from tellapart.core.composing import Composer
from tellapart.core.errors import DataError, PartError, TellapartError
from tellapart.core.joint import Joint
from tellapart.core.report import Table
from tellapart.data.images import open_image
from tellapart.engine.together import COMPOSER, FOLDER, Together, composer_of
from tellapart.recipe import PLAIN
from tellapart.run import run
from tellapart.runs import Run
from tellapart.server.service import Service
from tests.engine.test_together import COLOURS, painted, turned

SMALL = PLAIN.but(
    strategy="jfe(width=32, words=8, first=0.05)",
    image="colour-histogram",
    epochs=50,
    batch_size=32,
    learning_rate=3e-3,
)
WORDS = "turned half of the way"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("jfe")
    run(turned(320), out=out, recipe=SMALL.but(objective="infonce(temperature=0.1)"), cache=out / "cache")
    return out


def test_words_and_a_picture_find_what_comes_out(done: Path) -> None:
    report = json.loads((done / "report.json").read_text())
    table = next(b for b in report["blocks"] if b.get("title") == "A reference and a change in words")
    assert [row[0] for row in table["rows"]][-1] == "reference and words"
    assert any("a picture is one token" in block.get("text", "") for block in report["blocks"])
    # Pictures of one colour differ in a pixel, and are each other's wrong answers: right is the colour that comes out.
    opened, held = Run(done), Collection.open(done / "corpus")
    rows = [i for i in opened.rows("test") if opened.collection.values("other_image")[i] is not None]
    found = Service(done).index.search(opened.encode("query", np.asarray(rows)), 2).ids[:, 0]
    pictures = [open_image(held.item(i)["image"]) for i in found.tolist()]
    colour = [int(np.abs(COLOURS - picture.getpixel((11, 11))).sum(1).argmin()) for picture in pictures]
    right = np.asarray(colour) == np.asarray(opened.collection.values("answer"))[rows]
    assert right.mean() > 0.5, right.mean()


def test_the_same_tower_stands_on_both_sides_and_in_the_index(done: Path) -> None:
    both, picture = Together.open(done), painted(1, 77)
    composer = both.composer
    assert isinstance(composer, Joint) and composer.words_alone
    np.testing.assert_allclose(
        both.encode({"other_image": [picture]}), both.model.encode_document([picture]), atol=1e-5
    )
    np.testing.assert_allclose(both.encode({"text": [WORDS]}), both.model.encode_query([WORDS]), atol=1e-5)
    heads = both.model.heads
    trunk = [name for name in heads["query"].state if name.startswith("trunk.")]
    assert trunk and all((heads["query"].state[n] == heads["document"].state[n]).all() for n in trunk)
    assert all((composer.state[n] == heads["query"].state[n]).all() for n in trunk)
    opened = Run(done)
    row = next(i for i, x in enumerate(opened.collection.values("other_image")) if x is not None)
    known = {
        "text": [opened.collection.values("text")[row]],
        "other_image": [opened.collection.values("other_image")[row]],
    }
    np.testing.assert_allclose(opened.vectors["query"][row], both.encode(known)[0], atol=1e-5)
    with pytest.raises(DataError, match="list of items"):
        both.encode({"text": WORDS})


def test_searches_are_served(done: Path) -> None:
    service, both, picture = Service(done), Together.open(done), painted(0, 900)
    z, notes = service.asking.vector(WORDS, picture, [], [])
    np.testing.assert_allclose(z, both.encode({"text": [WORDS], "other_image": [picture]})[0], atol=1e-5)
    assert any("what is to change" in note for note in notes)
    item = service.collection.ids[3]
    held = service.collection.item(item)["image"]
    z, _ = service.asking.vector(WORDS, None, [item], [])
    np.testing.assert_allclose(z, both.encode({"text": [WORDS], "other_image": [held]})[0], atol=1e-5)
    z, _ = service.asking.vector(WORDS, picture, [item], [])
    mean = both.encode({"text": [WORDS] * 2, "other_image": [picture, held]}).mean(0)
    np.testing.assert_allclose(z, mean / np.linalg.norm(mean), atol=1e-5)
    assert item not in [result.id for result in service.search(WORDS, like=[item], k=5).results]
    # Rows without a reference taught what words alone mean.
    assert not service.search(WORDS).notes and not service.search(image=picture).notes
    assert service.asking.as_measured(WORDS, None, [], []) and service.asking.as_measured(WORDS, picture, [], [])
    cut = service.search("a word and another " * 20).notes
    assert any("cut after 8 tokens" in note for note in cut)


def test_searching_needs_no_torch(done: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from tellapart.server.service import Service\n"
        f"found = Service({str(done)!r}).search({WORDS!r}, {painted(0, 900)!r}, k=3).results\n"
        "print(len(found), 'torch' in sys.modules and sys.modules['torch'] is not None)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.stdout.split() == ["3", "False"], said.stderr


def test_pairs_without_references_are_trained_and_compared(tmp_path: Path) -> None:
    two = Collection(turned(80).table.drop_columns(["other_image"]))
    out = tmp_path / "out"
    # A run before it in the same folder has trained the plain recipe on one vector an item; so does this one.
    plain = SMALL.but(epochs=1, strategy="two-tower")
    run(two, out=out, recipe=plain, cache=tmp_path / "cache")
    run(two, out=out, recipe=SMALL.but(epochs=1), cache=tmp_path / "cache")
    assert composer_of(out) is None and len(Service(out).search(WORDS, painted(0, 1), k=3).results) == 3
    base = SMALL.but(strategy="combiner", epochs=1)
    tries = [f"strategy={SMALL.strategy}"]
    report = compare(turned(80), tries=tries, base=base, seeds=2, out=tmp_path / "compared", cache=tmp_path / "cache")
    rows = next(b for b in report.blocks if isinstance(b, Table)).rows
    assert [row[0] for row in rows] == ["base", *tries]


def test_what_does_not_fit_is_refused_in_words(tmp_path: Path) -> None:
    made = turned(80)
    for change, said in (
        ({"tune": "full", "image": "small-cnn"}, "tune=head"),
        ({"head": "mlp-head"}, "would be idle"),
        ({"augment": "feature-noise"}, "reads tokens"),
        ({"index": "muvera"}, "index"),
    ):
        with pytest.raises(PartError, match=said):
            run(made, out=tmp_path / "out", recipe=SMALL.but(**change), cache=tmp_path / "cache")
    texts = Collection(made.table.rename_columns({"text": "anchor", "image": "picture", "other_image": "other"}))
    texts = texts.with_column("positive", [f"said {k}" for k in range(80)])
    with pytest.raises(PartError, match="pictures and words"):
        run(texts, out=tmp_path / "out", recipe=SMALL, cache=tmp_path / "cache")


def test_damaged_towers_are_refused_in_words(done: Path, tmp_path: Path) -> None:
    composer = composer_of(done)
    assert isinstance(composer, Joint)
    with pytest.raises(PartError, match="no tower of tokens"):
        Joint("joint", {"x": np.ones(1)})
    with pytest.raises(PartError, match="not finite"):
        Joint("joint", {**composer.state, "x": np.asarray([np.nan])})
    with pytest.raises(PartError, match="not known here"):
        Composer("joint", dict(composer.state))
    r, t = np.ones((2, composer.state["reference.mean"].size)), np.ones((2, 8 * 384))
    with pytest.raises(DataError, match="array of shape"):
        composer(r, t[:, 1:])
    with pytest.raises(DataError, match="as many references"):
        composer(r[:1], t)
    with pytest.raises(DataError, match="nothing is known of item 1"):
        composer(np.where([[1], [0]], r, np.nan), np.where([[1], [0]], t, np.nan))
    less = {name: x for name, x in composer.state.items() if name != "trunk.layers.0.wide.weight"}
    with pytest.raises(PartError, match="make no tower"):
        Joint("joint", less)(r, t)
    place = tmp_path / FOLDER
    place.mkdir()
    for file in (done / FOLDER).iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    held = bytearray((place / COMPOSER).read_bytes())
    held[-1] ^= 1
    (place / COMPOSER).write_bytes(bytes(held))
    with pytest.raises(TellapartError, match="hash differs"):
        composer_of(tmp_path)
