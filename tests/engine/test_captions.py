"""Composed queries that captions taught: what training is told, what a run keeps, and how it is served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import PartError
from tellapart.engine.captions import EACH, told
from tellapart.engine.together import Together, composer_of
from tellapart.recipe import Recipe
from tellapart.run import run
from tellapart.runs import Run
from tellapart.server.service import Service
from tests.engine.test_together import painted, turned

SMALL = Recipe(image="colour-histogram", head="linear-head(dim=16)", epochs=6, batch_size=32, strategy="rtd")
COLOURS, THINGS = ("red", "green", "blue", "yellow"), ("square", "field", "flag", "wall")
ANCHORS = ["".join(chr(97 + int(at)) for at in str(k * 7919)) for k in range(96)]
TEXTS = [f"a {COLOURS[k % 4]} {THINGS[k // 4 % 4]}" for k in range(96)]


def captioned(texts: list[str] = TEXTS) -> Collection:
    return Collection.of(
        {
            "image": [painted(k % 4, k) for k in range(len(texts))],
            "text": texts,
            "split": (["train"] * 6 + ["validation"] + ["test"]) * (len(texts) // 8),
            "group": np.arange(len(texts)),
        }
    )


def test_training_is_told_words_and_what_they_make_of_a_caption():
    words, held = told(TEXTS)
    assert words[0] == "a photo of" and len(set(words)) == len(words)
    assert held["change"].shape == held["changed"].shape == (96, EACH)
    assert ((held["change"] >= 0) == (held["changed"] >= 0)).all() and held["change"].max() == len(words) - 1
    row = int(np.flatnonzero(held["change"][:, 0] >= 0)[0])
    assert set(words[held["change"][row, 0]].split()) & set(TEXTS[held["changed"][row, 0]].split())
    assert held["caption"][0] == held["caption"][16] != held["caption"][1]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captions")
    report = run(captioned(), out=folder / "out", recipe=SMALL, cache=folder / "cache")
    assert any("captions taught" in getattr(block, "text", "") for block in report.blocks)
    return folder / "out"


def test_a_run_on_captions_searches_with_a_picture_and_words(done: Path):
    both, service = Together.open(done), Service(done)
    assert both.composer is not None and both.composer.of_captions
    picture, words = painted(0, 900), "green instead of red"
    z, notes = service.asking.vector(words, picture, [], [])
    np.testing.assert_allclose(z, both.encode({"text": [words], "other_image": [picture]})[0], atol=1e-5)
    assert any("what is to change" in note for note in notes)
    z, notes = service.asking.vector("a red wall", None, [], [])
    np.testing.assert_allclose(z, both.model.encode_query(["a red wall"])[0], atol=1e-5)
    assert not notes and service.asking.as_measured("a red wall", None, [], [])
    assert not service.asking.as_measured(words, picture, [], [])


def test_queries_of_the_run_are_its_captions(done: Path):
    assert composer_of(done, of_captions=False) is None and composer_of(done) is not None
    opened = Run(done)
    expected = opened.model.encode_query(opened.collection.values("text")[:5])
    np.testing.assert_allclose(opened.encode("query", np.arange(5)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("made", "change", "words"),
    [
        (Collection.of({"anchor": ANCHORS, "positive": ANCHORS[::-1]}), {}, "strategy=rtd needs"),
        (turned(48), {}, "changes of a reference"),
        (captioned([f"{'x' * k} {'y' * (k + 1)}" for k in range(24)]), {}, "are another one but for"),
        (captioned(TEXTS[:32]), {"tune": "full", "image": "lite0"}, "tune=head"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(made: Collection, change: dict[str, str], words: str, tmp_path: Path):
    with pytest.raises(PartError, match=words):
        run(made, out=tmp_path / "out", recipe=SMALL.but(**change), cache=tmp_path / "cache")
