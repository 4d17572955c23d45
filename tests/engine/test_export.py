"""Exports: other programs get the same vectors, and an export that does not is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from tellapart.core.aligning import state_of
from tellapart.core.collection import Side, Sides
from tellapart.core.errors import PartError, TellapartError
from tellapart.core.parts import make
from tellapart.engine import export
from tellapart.engine.model import Head, Model

TEXT_IMAGE = Sides(Side("text", "text"), Side("image", "image"))
TEXT_TEXT = Sides(Side("anchor", "text"), Side("positive", "text"))
TEXTS = ["a cat", "", "Some longer words, about nothing in particular", "no end " * 200]


def head(spec: str, width: int, seed: int = 0) -> Head:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = make("encode", spec).module(width)
        module.standardise(0.1 * torch.randn(64, width) + 0.05)
    return Head(spec, {k: v.numpy() for k, v in module.state_dict().items()})


@pytest.fixture(scope="module")
def model() -> Model:
    heads = {"query": head("mlp-head(dim=24, hidden=16)", 384), "document": head("linear-head(dim=24)", 1280)}
    return Model(TEXT_IMAGE, {"text": "minilm", "image": "lite0"}, heads)


@pytest.mark.parametrize("spec", ["linear-head(dim=24)", "mlp-head(dim=24, hidden=16)", ""])
def test_sentence_transformers_loads_the_same_vectors(tmp_path: Path, spec: str) -> None:
    from sentence_transformers import SentenceTransformer

    shared = {side: head(spec, 384) for side in ("query", "document")} if spec else {}
    model = Model(TEXT_TEXT, {"text": "minilm(max_tokens=32)"}, shared)
    cosine = export.sentence_transformers(model, tmp_path / "out", side="query")
    assert 0.9999 < cosine <= 1.0001
    loaded = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    given = loaded.encode(TEXTS, show_progress_bar=False)
    assert float((given * model.encode_query(TEXTS)).sum(1).min()) > 0.9999
    assert loaded.max_seq_length == 32
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    assert not [f for f in tmp_path.rglob("*") if f.suffix in (".bin", ".pt", ".pkl", ".pth")]


def test_the_text_side_of_a_cross_modal_model_is_found(model: Model, tmp_path: Path) -> None:
    assert export.sentence_transformers(model, tmp_path / "out") > 0.9999
    with pytest.raises(PartError, match="no document of this model takes texts"):
        export.sentence_transformers(model, tmp_path / "other", side="document")


def test_two_text_heads_must_be_told_apart(tmp_path: Path) -> None:
    heads = {"query": head("linear-head(dim=8)", 384), "document": head("linear-head(dim=8)", 384, seed=1)}
    with pytest.raises(PartError, match="say which"):
        export.sentence_transformers(Model(TEXT_TEXT, {"text": "minilm"}, heads), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_onnx_files_give_the_same_vectors(model: Model, tmp_path: Path) -> None:
    differences = export.onnx(model, tmp_path / "out")
    assert set(differences) == {"query", "document"}
    assert max(differences.values()) < 1e-4
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    assert facts["query"]["largest_difference"] == differences["query"]

    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    found = tokenizer.encode_batch(TEXTS)
    session = onnxruntime.InferenceSession(tmp_path / "out" / "query.onnx", providers=["CPUExecutionProvider"])
    feed = {"tokens": np.asarray([f.ids for f in found]), "mask": np.asarray([f.attention_mask for f in found])}
    np.testing.assert_allclose(session.run(["vector"], feed)[0], model.encode_query(TEXTS), atol=1e-5)

    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (224, 224, 3), dtype=np.uint8))
    session = onnxruntime.InferenceSession(tmp_path / "out" / "document.onnx", providers=["CPUExecutionProvider"])
    pixels = make("encode", "lite0").pixels(image)[None]
    np.testing.assert_allclose(session.run(None, {"pixels": pixels})[0], model.encode_document([image]), atol=1e-5)


def test_an_export_that_differs_is_refused_and_leaves_nothing(model: Model, tmp_path: Path, monkeypatch) -> None:
    real = Model.layers

    def bent(self, side):
        first, *rest = real(self, side)
        return [type(first)(first.weight + 0.05, first.bias, first.relu), *rest]

    monkeypatch.setattr(Model, "layers", bent)
    with pytest.raises(TellapartError, match="are off by"):
        export.onnx(model, tmp_path / "a")
    with pytest.raises(TellapartError, match="cosine"):
        export.sentence_transformers(model, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(model: Model, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(TellapartError, match="not empty"):
        export.onnx(model, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_an_encoder_without_a_graph_is_named(tmp_path: Path) -> None:
    sides = Sides(Side("image", "image"), Side("image", "image"), "label")
    with pytest.raises(PartError, match="small-cnn has no ONNX graph"):
        export.onnx(Model(sides, {"image": "small-cnn"}), tmp_path / "out")


def test_a_map_is_exported_behind_the_head(model: Model, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    rng, spec = np.random.default_rng(0), "xbt(epochs=1, hidden=4)"
    part = make("align", spec).fit(rng.normal(size=(40, 24)), rng.normal(size=(40, 7)))
    mapped = Model(model.sides, model.specs, model.heads, aligned=Head(spec, state_of(part)))
    assert max(export.onnx(mapped, tmp_path / "onnx").values()) < 1e-4
    assert export.sentence_transformers(mapped, tmp_path / "st") > 0.9999
    loaded = SentenceTransformer(str(tmp_path / "st"), device="cpu")
    given = loaded.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(given, mapped.encode_query(TEXTS), atol=1e-4)
