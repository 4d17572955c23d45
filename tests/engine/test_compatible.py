"""What cannot work together, or would change nothing, is refused before training and in words."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.compare import compare
from tellapart.contract.strategy import small_run
from tellapart.core.collection import Collection
from tellapart.core.errors import PartError
from tellapart.core.parts import FOLDERS_VARIABLE, cards
from tellapart.engine.compatible import check_together
from tellapart.engine.fit import fit
from tellapart.recipe import CLOSED_FORM, PLAIN, Recipe
from tellapart.run import run

WORDS = Collection.of({"id": ["a", "b"], "anchor": ["x", "y"], "positive": ["u", "v"]})
PICTURES = Collection.of({"id": ["a", "b"], "image": ["a.png", "b.png"], "text": ["u", "v"]})
LABELLED = Collection.of({"id": ["a", "b"], "image": ["a.png", "b.png"], "label": ["u", "v"]})


@pytest.mark.parametrize(
    ("collection", "recipe", "words"),
    [
        (
            PICTURES,
            PLAIN.but(augment="randaugment(magnitude=3)|mochi"),
            r"randaugment\(magnitude=3\) alters pixels, and with",
        ),
        (WORDS, PLAIN.but(augment="flip-crop"), "alters images, and there are none"),
        (LABELLED, PLAIN.but(augment="mask-words"), "alters texts, and there are none"),
        (PICTURES, PLAIN.but(augment="swap-words"), "would learn as right ones: use strategy=negclip"),
        (LABELLED, PLAIN.but(strategy="meow"), "give a graph whose nodes have labels"),
        (LABELLED, PLAIN.but(augment="m2-mix"), "mixes the two halves of a pair"),
        (PICTURES, Recipe(tune="none"), "compares the vectors of one encoder"),
        (PICTURES, PLAIN.but(tune="full"), "joined cannot be tuned"),
        (
            PICTURES,
            PLAIN.but(rank="cosine-adapter|rerank"),
            "maxsim reads pairs of texts, and here texts are asked for images",
        ),
        (PICTURES, PLAIN.but(rank="uni-encoder"), "uni-encoder reads pairs of texts"),
        (LABELLED, Recipe(tune="none", rank="anncur"), "here images are asked for images"),
        (WORDS, PLAIN.but(rank="rerank(scorer='mine')"), "there is no scorer 'mine'"),
        (WORDS, PLAIN.but(rank="rerank(scorer='cross-encoder:away')"), "cross-encoder:away names no folder"),
    ],
)
def test_recipes_that_make_no_sense_here(collection, recipe, words):
    with pytest.raises(PartError, match=words):
        check_together(collection, recipe)


@pytest.mark.parametrize("collection", [WORDS, PICTURES, LABELLED])
def test_plain_recipes_pass(collection):
    for recipe in (PLAIN, CLOSED_FORM, PLAIN.but(augment="mochi", relate="gist-embed", sample="tas")):
        check_together(collection, recipe)
    check_together(LABELLED, Recipe(image="small-cnn", tune="full", augment="flip-crop"))


def test_a_scorer_that_cannot_read_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr("tellapart.engine.prepare.embed", lambda *_, **__: pytest.fail("embedded before"))
    items = Collection.of({"id": [f"i{n:02d}" for n in range(40)], "image": [b"no picture"] * 40,
                           "text": [f"word {n}" for n in range(40)], "group": list(range(40))})  # fmt: skip
    changed = PLAIN.but(rank="rerank")
    with pytest.raises(PartError, match="maxsim reads pairs of texts"):
        run(items, out=tmp_path / "run", recipe=changed, cache=tmp_path)
    with pytest.raises(PartError, match=r"rank=rerank: .*maxsim reads pairs of texts"):
        compare(items, tries=["rank=rerank"], seeds=1, out=tmp_path / "compared", cache=tmp_path)
    assert not (tmp_path / "run" / "index").exists()


@pytest.mark.parametrize("change", ["objective=dcl", "relate=gist-embed", "sample=tas", "augment=mochi"])
def test_what_a_solution_in_closed_form_would_ignore_is_refused(change):
    with pytest.raises(PartError, match=f"cca has no training steps, so {change} would change nothing"):
        CLOSED_FORM.changed_by(change)


OWN_LOSS = """
import torch
from tellapart.core.parts import part


@part(paper="(test)", place="train", needs=("torch",))
class Lonely(torch.nn.Module):
    def begin(self, run):
        pass

    def step(self, run, batch):
        return {"own": 1 - (run.encode("query", batch) * run.encode("document", batch)).sum(1).mean()}

    def after(self, run):
        pass
"""


@pytest.mark.parametrize("change", [{"objective": "dcl"}, {"relate": "drop-random"}, {"augment": "feature-noise"}])
def test_parts_that_a_strategy_never_asks_for_are_refused_at_its_first_step(change, tmp_path, monkeypatch):
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "lonely.py").write_text(OWN_LOSS)
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    small = {"epochs": 1, "batch_size": 16, "head": "linear-head(dim=4)"}
    ((field, value),) = change.items()
    with pytest.raises(PartError, match=f"strategy=lonely makes no use of {field}={value}"):
        fit(Recipe(strategy="lonely", **small, **change), small_run().data)
    for recipe in (Recipe(strategy="lonely", **small), Recipe(**small, **change)):
        assert fit(recipe, small_run().data).history


def test_a_comparison_names_the_variant_before_it_trains_any(tmp_path):
    rng = np.random.default_rng(0)
    words = [" ".join(rng.choice(["red", "blue", "old", "new", "cat", "dog", "car"], 4)) + f" {i}" for i in range(60)]
    pairs = Collection.of({"id": [f"{i}" for i in range(60)], "anchor": words, "positive": words[::-1]})
    with pytest.raises(PartError, match=r"^augment=flip-crop: augment=flip-crop alters images"):
        compare(pairs, tries=["objective=dcl", "augment=flip-crop"], out=tmp_path / "out", cache=tmp_path / "cache")
    assert not (tmp_path / "out").exists()


def test_the_parts_named_here_still_have_the_traits_that_decide():
    traits = {name: card.traits for name, card in cards("augment").items()}
    assert "pixels" in traits["flip-crop"] and "words" in traits["mask-words"] and "mates" in traits["m2-mix"]
