"""Tuned encoders: trained below the head, resumed to the same bits, saved, and served as they were trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import PartError
from tellapart.engine import export
from tellapart.engine.fit import Fitted, fit, untrained
from tellapart.engine.keep import keep
from tellapart.engine.model import Model
from tellapart.engine.prepare import features, train_data
from tellapart.engine.trial import trial
from tellapart.recipe import Recipe

TEXT = Recipe(tune="lora", head="linear-head(dim=16)", epochs=2, batch_size=8, learning_rate=1e-3)
PICTURE = "small-cnn(width=8, side=16)"
BOTH = TEXT.but(tune="full", image=PICTURE, text="minilm(max_tokens=8)", epochs=1)
THINGS = ("cat", "red car", "old house", "boat", "pear", "green hat")
PLACES = ("on a hill", "by the sea", "at night", "in the long snow of a late winter")


@pytest.fixture(scope="module")
def texts() -> Collection:
    """24 pairs of short texts of different lengths."""
    made = [(f"a {thing} {place}", f"{place}: {thing}") for thing in THINGS for place in PLACES]
    columns = {"anchor": [a for a, _ in made], "positive": [p for _, p in made]}
    return Collection.of({**columns, "split": ["train"] * 16 + ["validation"] * 4 + ["test"] * 4})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """16 tiny pictures in files, with a text each."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(16):
        x = np.random.default_rng(i).integers(0, 256, size=(24, 20, 3), dtype=np.uint8)
        Image.fromarray(x).save(folder / f"{i}.png")
    columns = {"text": [f"colour {i}" for i in range(16)], "image": [f"{i}.png" for i in range(16)]}
    return Collection.of({**columns, "split": ["train"] * 10 + ["test"] * 6}, root=folder)


def same_bits(a: Fitted, b: Fitted) -> bool:
    return all(np.array_equal(a.state[s][k], b.state[s][k]) for s in a.state for k in a.state[s])


def changed(a: Fitted, b: Fitted) -> set[str]:
    return {k for s in a.state for k in a.state[s] if not np.array_equal(a.state[s][k], b.state[s][k])}


def test_a_stopped_lora_run_goes_on_to_the_same_bits(texts: Collection, resumed: Callable[..., Fitted]) -> None:
    recipe = TEXT.but(batch_size=4)
    data = train_data(texts.take(np.arange(8)), {}, recipe)
    whole, before = fit(recipe, data), untrained(recipe, data)
    moved = changed(whole, before)
    assert moved and all(name.startswith("1.") or name.endswith((".up", ".down")) for name in moved)
    assert any(name.endswith(".up") for name in moved)
    assert whole.towers["query"][0] is whole.towers["document"][0]
    assert whole.towers["query"][1] is not whole.towers["document"][1]
    again = resumed(recipe, data, stop=3, checkpoint_seconds=1e9)
    assert same_bits(whole, again) and whole.history == again.history


def test_a_tuned_text_model_is_saved_merged_and_exported(texts: Collection, tmp_path: Path) -> None:
    vectors = features(texts, TEXT, cache=tmp_path / "cache")
    outcome = trial(texts, vectors, TEXT, seed=0)
    assert outcome.fitted is not None and len(outcome.values["anchor-to-positive R@1"]) == 4
    model = keep(texts.sides(), TEXT, outcome.fitted, tmp_path / "model")
    rows = np.arange(len(texts))
    for side, encode in (("query", model.encode_query), ("document", model.encode_document)):
        column = {"query": "anchor", "document": "positive"}[side]
        np.testing.assert_allclose(encode(texts.values(column)), outcome.encode(side, rows), atol=1e-5)
    tuned = features(texts, TEXT, cache=tmp_path / "cache", encoders=model.encoders)
    assert np.abs(tuned["query"] - vectors["query"]).max() > 1e-4
    assert sorted(p.name for p in (tmp_path / "model").iterdir() if p.is_dir()) == ["text"]
    assert export.sentence_transformers(model, tmp_path / "export", side="query") > 0.9999


def test_both_encoders_are_tuned_whole(pictures: Collection, tmp_path: Path) -> None:
    vectors = features(pictures, BOTH, cache=tmp_path / "cache")
    augmented = BOTH.but(augment="flip-crop")
    outcome, other = (trial(pictures, vectors, recipe, seed=0) for recipe in (BOTH, augmented))
    assert outcome.fitted is not None and other.fitted is not None
    assert not same_bits(outcome.fitted, other.fitted)
    before = untrained(BOTH, train_data(pictures.take(np.arange(10)), vectors, BOTH))
    moved = changed(outcome.fitted, before)
    assert {"0.network.stem.weight", "0.network.embeddings.word_embeddings.weight", "1.skip.weight"} <= moved
    model = keep(pictures.sides(), BOTH, outcome.fitted, tmp_path / "model")
    again = Model.load(tmp_path / "model")
    files = [pictures.root / name for name in pictures.values("image")]
    z = model.encode(files, "image")
    np.testing.assert_array_equal(again.encode(files, "image"), z)
    side = "document" if pictures.sides().document.modality == "image" else "query"
    np.testing.assert_allclose(z, outcome.encode(side, np.arange(16)), atol=1e-5)


def test_what_cannot_be_tuned_is_said_before_training(pictures: Collection, tmp_path: Path) -> None:
    with pytest.raises(PartError, match="strategy=two-tower"):
        TEXT.but(strategy="cca")
    for recipe, words in (
        (BOTH.but(image="hog"), "hog cannot be tuned; use image=lite0"),
        (BOTH.but(tune="lora"), "small-cnn has no attention.*tune=full"),
    ):
        with pytest.raises(PartError, match=words):
            features(pictures, recipe, cache=tmp_path)
        with pytest.raises(PartError, match=words):
            train_data(pictures, {}, recipe)
    assert not list(tmp_path.iterdir())
