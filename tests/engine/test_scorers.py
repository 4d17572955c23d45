"""Scorers by spec, what they refuse, and a chain that asks them on a run's own collection."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.scoring import Scoring
from tellapart.engine import scorers
from tellapart.engine.reorder import Bank, Chain, open_chain
from tellapart.engine.scorers import Reading, check_scorers, offer, open_scorer
from tellapart.engine.trial import fit_chain, reordered
from tellapart.recipe import Recipe

WORDS = ("red", "blue", "green", "small", "large", "round", "old", "new")


@pytest.fixture
def common():
    """A scorer of texts that is no cosine: how many words they share, less how many they do not."""

    def score(queries, documents):
        pairs = [(set(q.split()), set(d.split())) for q, d in zip(queries, documents, strict=True)]
        return [len(a & b) - 0.1 * len(a ^ b) for a, b in pairs]

    offer("common-words", score)
    yield score
    scorers._offered.pop("common-words")


def collection(n=60):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 3, replace=False)) + f" {i}" for i in range(n)]
    split = ["train"] * 30 + ["validation"] * 15 + ["test"] * 15
    columns = {"id": [f"i{i:02d}" for i in range(n)], "anchor": [t + " thing" for t in texts], "positive": texts}
    return Collection.of(columns | {"split": split})


def encode(side, rows):
    z = np.random.default_rng(1).normal(size=(60, 8))[rows]
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


def test_maxsim_is_the_mean_of_the_best_cosines():
    score = open_scorer("maxsim")
    queries = ["a red fruit", "a red fruit", "the engine of a car"]
    documents = ["an apple", "a motor in a vehicle", "a motor in a vehicle"]
    tokens = {t: score.encoder.encode_tokens([t])[0] for t in (*queries, *documents)}
    expected = []
    for q, d in zip(queries, documents, strict=True):
        best = [max(float(a @ b) for b in tokens[d]) for a in tokens[q]]
        expected.append(sum(best) / len(best))
    assert score(queries, documents) == pytest.approx(expected, abs=1e-5)
    assert score(queries[::-1], documents[::-1]) == pytest.approx(expected[::-1], abs=1e-5)


def test_maxsim_forgets_what_is_too_much(monkeypatch):
    monkeypatch.setattr(scorers, "NUMBERS_KEPT", 3000)
    score = scorers.Maxsim("minilm")
    first = score(["one"], ["two"])
    score(["three four five six"], ["seven eight nine ten"])
    assert score._numbers <= 6000 and len(score._tokens) == 2
    assert score(["one"], ["two"]) == pytest.approx(first)


@pytest.mark.parametrize(
    ("spec", "said"),
    [("cross", "there is no scorer"), ("cross-encoder:nowhere", "no folder"), ("maxsim:lite0", "for each token")],
)
def test_what_is_no_scorer_is_refused(spec, said):
    with pytest.raises(PartError, match=said):
        open_scorer(spec)


def test_names_that_cannot_be_offered():
    for name in ("maxsim", "os.system", ""):
        with pytest.raises(PartError, match="cannot name"):
            offer(name, len)
    with pytest.raises(PartError, match="no function"):
        offer("mine", 3)


def test_a_scorer_that_gives_something_else_is_refused():
    rows, ids = np.zeros(2, int), np.array(["a", "b"])
    for wrong, said in ((lambda q, d: [1.0], "shape"), (lambda q, d: [1.0, np.nan], "finite")):
        with pytest.raises(PartError, match=said):
            Scoring(str, str, wrong)(rows, ids)


def test_pictures_are_refused_but_for_a_function_of_ones_own(common):
    pictures = Collection.of({"id": ["a"], "text": ["x"], "image": ["a.png"]}).sides()
    with pytest.raises(PartError, match="reads pairs of texts"):
        check_scorers("rerank", pictures)
    check_scorers("rerank(scorer='common-words')", pictures)
    check_scorers("dbnorm", pictures)


@pytest.mark.parametrize(
    "spec", ["anncur(scorer='common-words', calls=12, anchors=8)", "rerank(scorer='common-words')"]
)
def test_a_chain_reads_the_items_of_a_run(common, tmp_path, spec):
    made = collection()
    chain = fit_chain(made, encode, spec)
    chain.save(tmp_path / "rank")
    again = open_chain(tmp_path)
    rows = np.arange(45, 60)
    found = []
    for one in (chain, again):
        reading = Reading.of(made, rows, "query", "document")
        found.append(one.search(encode("query", rows), encode("document", np.arange(60)), made.ids, reading=reading))
    assert np.array_equal(found[0].ids, found[1].ids) and found[0].calls == found[1].calls > 0
    top = found[0].ids[:, 0]
    exact = [common([made.item(made.ids[r])["anchor"]] * 60, made.values("positive")) for r in rows]
    best = np.mean([e[made.row_of[t]] >= max(e) - 1e-9 for e, t in zip(exact, top, strict=True)])
    assert best == 1.0 if spec.startswith("rerank") else best >= 0.3
    assert found[0].calls == 15 * (60 if spec.startswith("rerank") else 12)
    given = reordered(made, encode, spec, part="test")
    assert given.found.shape == (15, 15) and (np.sort(given.found, 1) == np.arange(15)).all()


def test_a_query_of_one_column_does_not_find_itself(common):
    made = collection().table.drop(["anchor"]).rename_columns(["id", "text", "split"])
    made = Collection(made).with_column("label", [f"l{i % 3}" for i in range(60)])
    given = reordered(made, encode, "anncur(scorer='common-words', calls=10, anchors=6)", part="test")
    assert not (given.found == np.arange(15)[:, None]).any() and ((given.found >= 0).sum(1) == 14).all()


def test_without_items_it_says_so(common):
    z, ids = encode("query", np.arange(20)), np.array([f"{i}" for i in range(20)])
    bank = Bank(z, z, ids, np.zeros((0, 2), int))
    with pytest.raises(DataError, match="the items themselves"):
        Chain("anncur(scorer='common-words')").fit(bank)
    with pytest.raises(DataError, match="the items themselves"):
        Chain("rerank(scorer='common-words')").fit(bank).search(z, z, ids)


def test_what_cuts_off_and_what_brings_in_exclude_each_other():
    with pytest.raises(PartError, match="has not judged"):
        Chain("cosine-adapter|anncur")
    Recipe(rank="cosine-adapter|rerank").check()
