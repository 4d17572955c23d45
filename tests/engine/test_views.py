"""Altered copies of texts above a frozen encoder: made once, by the words alone, and one of them drawn in each step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Features, Views
from tellapart.engine.memory import Chain
from tellapart.engine.prepare import VIEWS, features, train_data, word_chain
from tellapart.engine.session import Run
from tellapart.engine.towers import build
from tellapart.recipe import Recipe

SMALL = Recipe(head="linear-head(dim=8)", epochs=2, batch_size=4, augment="mask-words(share=0.5)")
SIDES = ("query", "document")


def pairs(order: range = range(8)) -> Collection:
    texts = {side: [f"the {side} number {n} of all these words" for n in order] for side in ("anchor", "positive")}
    return Collection.of({"id": [f"p{n}" for n in order], **texts, "split": ["train"] * len(order)})


def test_copies_are_those_of_the_parts_whatever_the_order_of_the_items(tmp_path: Path) -> None:
    found = features(pairs(), SMALL, cache=tmp_path)
    assert set(found) == {*SIDES, *(f"{side} view {v}" for side in SIDES for v in range(VIEWS))}
    turned = features(pairs(range(7, -1, -1)), SMALL, cache=tmp_path)
    for name, x in found.items():
        np.testing.assert_allclose(x[::-1], turned[name], atol=1e-6)
    plain = features(pairs(), SMALL.but(augment=""), cache=tmp_path)
    assert set(plain) == set(SIDES)
    np.testing.assert_array_equal(plain["query"], found["query"])
    views = np.stack([found[f"query view {v}"] for v in range(VIEWS)])
    assert (np.abs(views - found["query"]).max(2) > 1e-3).mean() > 0.8
    assert np.abs(views[0] - views[1]).max() > 1e-3


def test_only_word_parts_above_a_frozen_encoder_make_copies() -> None:
    assert word_chain(SMALL.but(augment="randaugment|mask-words|mochi")) == "mask-words"
    assert word_chain(SMALL.but(augment="soda(share=0.3)|mask-words")) == "soda(share=0.3)|mask-words"
    assert word_chain(SMALL.but(augment="mochi")) == word_chain(SMALL.but(tune="lora")) == ""


def test_a_step_draws_one_copy_and_nothing_else_does(tmp_path: Path) -> None:
    vectors = features(pairs(), SMALL, cache=tmp_path)
    data = train_data(pairs(), vectors, SMALL)
    assert isinstance(data.query, Views) and isinstance(data.document, Views)
    rows = np.arange(8)
    torch.testing.assert_close(data.query.batch(rows, seed=None), torch.from_numpy(np.array(vectors["query"])))
    seen = set()
    for seed in range(40):
        made = data.query.batch(rows, seed=seed)
        assert torch.equal(made, data.query.batch(rows, seed=seed))
        assert torch.equal(made[3:5], data.query.batch(rows[3:5], seed=seed)), "a draw depends on the batch"
        for row in rows:
            fits = [v for v in range(VIEWS) if np.array_equal(made[row].numpy(), vectors[f"query view {v}"][row])]
            assert fits
            seen.add((int(row), fits[0]))
    assert len(seen) > 8 * VIEWS * 0.8, "some copies are never drawn"
    run = Run(SMALL, data, build(SMALL, data), Chain.of(SMALL.objective), 0, torch.device("cpu"))
    as_it_is = run.towers["query"](data.query.x)
    torch.testing.assert_close(run.encode("query", rows, altered=False), as_it_is)
    torch.testing.assert_close(run.encode_all("query"), as_it_is)
    assert (run.encode("query", rows) - as_it_is).abs().max() > 1e-3


def test_training_depends_on_the_copies(tmp_path: Path) -> None:
    data = train_data(pairs(), features(pairs(), SMALL, cache=tmp_path), SMALL)
    bare = SMALL.but(augment="")
    plain = train_data(pairs(), features(pairs(), bare, cache=tmp_path), bare)
    assert data.fingerprint() != plain.fingerprint() and type(plain.query) is Features
    for strategy in ("two-tower", "cocosoda"):
        a, b = (fit(r.but(strategy=strategy), d) for r, d in ((SMALL, data), (bare, plain)))
        assert any(not np.array_equal(x, b.state["query"][name]) for name, x in a.state["query"].items())


def test_words_of_pictures_are_refused(tmp_path: Path) -> None:
    pictures = Collection.of({"image": [b"no matter"] * 4, "label": ["a", "a", "b", "b"]})
    with pytest.raises(PartError, match=r"mask-words.*alters texts, and there are none"):
        features(pictures, SMALL, cache=tmp_path)


def test_what_is_no_copy_is_refused() -> None:
    x = np.ones((4, 3), np.float32)
    for views in (np.ones((4, 2, 5)), np.ones((3, 2, 3)), np.ones((4, 0, 3)), np.full((4, 2, 3), np.nan)):
        with pytest.raises(DataError, match="altered copies"):
            Views(x, views)


def test_source_text_is_altered_by_its_kinds() -> None:
    soda = make("augment", "soda", share=1.0)
    made = {soda("x = f(3, [y])", rng=np.random.default_rng(seed)) for seed in range(40)}
    assert any("number" in text for text in made) and any("[MASK]" in text for text in made)
