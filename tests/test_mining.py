"""Mining a run: a guide and a cross-encoder have their say, and what was looked for approximately says so."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tellapart
from tellapart.core.errors import DataError, PartError
from tellapart.mining import mine_run
from tellapart.recipe import Recipe
from tellapart.runs import Run

FRUIT = ["lemon", "pear", "plum", "apple", "fig", "peach", "cherry", "grape", "melon", "quince"]
TOOLS = ["hammer", "saw", "drill", "chisel", "plane", "file", "wrench", "level", "clamp", "vise"]
LOOKS = (("a ripe {}", "one more {} please"), ("the old {} on the table", "my neighbour's {}"))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mined")
    rows = [",".join(look.format(word) for look in pair) for word in FRUIT + TOOLS for pair in LOOKS]
    (folder / "things.csv").write_text("anchor,positive\n" + "\n".join(rows))
    tellapart.run(folder / "things.csv", out=folder / "run", recipe=Recipe(epochs=1, head="linear-head(dim=16)"))
    return folder / "run"


def test_a_guide_drops_what_it_finds_nearer_than_the_weakest_positive(done):
    plain, guided = mine_run(done, depth=30), mine_run(done, depth=30, guide="minilm")
    assert plain.table["guide"].null_count == len(plain.table)
    run = Run(done)
    rows = run.rows("train")
    q, k = (np.asarray(run.features[side])[rows] for side in ("query", "document"))
    q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, k))
    told = [row for row in guided.table.to_pylist() if row["guide"] is not None]
    assert told
    for row in told[:50]:
        assert row["guide"] == pytest.approx(float(q[row["query"]] @ k[row["document"]]), abs=1e-5)
    itself = mine_run(done, depth=30, guide=str(done))
    assert all(abs(r["guide"] - r["score"]) < 1e-5 for r in itself.table.to_pylist() if r["guide"] is not None)
    with pytest.raises(PartError, match="lite0 encodes images, not texts"):
        mine_run(done, guide="lite0")


def test_a_cross_encoder_is_asked_about_the_kept_few(done, tmp_path):
    library, folder = pytest.importorskip("sentence_transformers"), tmp_path / "cross"
    _cross_encoder(folder)
    found = mine_run(done, depth=30, keep=3, check=str(folder))
    asked = [row for row in found.table.to_pylist() if row["check"] is not None]
    assert asked and {row["rule"] for row in asked} <= {"kept", "check"}
    anchor, positive = (found.items.values(name) for name in ("anchor", "positive"))
    pairs = [(anchor[row["query"]], positive[row["document"]]) for row in asked[:20]]
    expected = library.CrossEncoder(str(folder)).predict(pairs, show_progress_bar=False)
    np.testing.assert_allclose([row["check"] for row in asked[:20]], expected, atol=1e-5)
    with pytest.raises(PartError, match="cannot be loaded"):
        mine_run(done, check=str(tmp_path / "nowhere"))


def test_an_approximate_search_is_said(done):
    found = mine_run(done, depth=5, index="hnsw")
    assert 0 < found.through.recall <= 1 and "Looked for through hnsw" in str(found.report().blocks)
    assert "recall" not in mine_run(done, depth=5).report().facts


def test_every_candidate_can_be_written_with_its_reasons(done, tmp_path):
    found = mine_run(done, depth=7, guide="minilm")
    for name in ("all.parquet", "all.jsonl"):
        assert found.write_reasons(tmp_path / name) == len(found.table)
    rows = pq.read_table(tmp_path / "all.parquet").to_pylist()
    told = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert rows == told
    ids = found.items.ids
    for row, mined in zip(rows, found.table.to_pylist(), strict=True):
        assert row == mined | {"query": ids[mined["query"]], "document": ids[mined["document"]]}
    with pytest.raises(DataError, match=r"all.csv: pairs are written as .parquet or .jsonl"):
        found.write_reasons(tmp_path / "all.csv")


def test_another_collection_is_mined_whole_with_the_model_of_a_run(done, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("anchor,positive\na grey cat,the cat sleeps\na red car,cars are fast\ntwo dogs,the dog barks\n")
    before = (done / "borderline.json").read_bytes() if (done / "borderline.json").is_file() else b""
    found = mine_run(done, other, depth=3)
    assert len(found.items) == 3 and len(found.table) == 9
    model = Run(done).model
    q, k = model.encode_query(found.items.values("anchor")), model.encode_document(found.items.values("positive"))
    for row in found.table.to_pylist():
        assert row["score"] == pytest.approx(float(q[row["query"]] @ k[row["document"]]), abs=1e-5)
    assert before == ((done / "borderline.json").read_bytes() if before else b"")


def test_a_collection_that_the_model_does_not_read_is_refused(done, tmp_path):
    for name in ("x", "y"):
        Image.new("RGB", (9, 9), "red" if name == "x" else "blue").save(tmp_path / f"{name}.png")
    pictures = tmp_path / "pictures.csv"
    pictures.write_text("image,text\nx.png,a red square\ny.png,a blue square\n")
    with pytest.raises(DataError, match="goes from text to text, and this collection from text to image"):
        mine_run(done, pictures)
    nothing = tmp_path / "nothing.csv"
    nothing.write_text("image,text\n,words alone\n,no picture\n")
    with pytest.raises(DataError, match="empty image"):
        mine_run(done, nothing)


def _cross_encoder(folder):
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from tellapart.parts.encode._bert_folder import packaged_folder

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(str(packaged_folder()))
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(tokenizer), num_labels=1, **small)
    BertForSequenceClassification(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
