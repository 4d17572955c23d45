"""Models: what is saved is what is loaded, without torch; what is damaged or hostile is refused in words."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tellapart.core.aligning import state_of
from tellapart.core.collection import Side, Sides
from tellapart.core.errors import DataError, PartError, TellapartError
from tellapart.core.parts import make
from tellapart.engine.model import Head, Model

TEXT_IMAGE = Sides(Side("text", "text"), Side("image", "image"))
TEXT_TEXT = Sides(Side("anchor", "text"), Side("positive", "text"))
SAME = Sides(Side("text", "text"), Side("text", "text"), "label")
WORDS = ["a yellow fruit", "two cats on a red sofa", ""]


def head(spec: str, width: int, seed: int = 0) -> Head:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = make("encode", spec).module(width)
        module.standardise(torch.rand(32, width))
    return Head(spec, {k: v.numpy() for k, v in module.state_dict().items()})


@pytest.fixture(scope="module")
def model() -> Model:
    heads = {"query": head("mlp-head(dim=16, hidden=8)", 384), "document": head("linear-head(dim=16)", 1280)}
    return Model(TEXT_IMAGE, {"text": "minilm", "image": "lite0"}, heads, recipe={"objective": "infonce", "epochs": 3})


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)) for _ in range(3)]


def test_both_sides_give_unit_vectors_of_one_width(model: Model) -> None:
    q, d = model.encode_query(WORDS), model.encode_document(pictures())
    for z in (q, d):
        assert z.shape == (3, 16)
        assert z.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.similarity(q, d), q @ d.T, atol=1e-6)
    assert model.modalities == ("text", "image")
    np.testing.assert_array_equal(model.encode(WORDS, "text"), q)
    np.testing.assert_array_equal(model.encode(pictures(), modality="image"), d)


def test_features_projected_are_items_encoded(model: Model) -> None:
    features = make("encode", "minilm").encode(WORDS)
    np.testing.assert_allclose(model.project("query", features), model.encode_query(WORDS), atol=1e-6)


def test_pictures_as_paths_bytes_and_images_are_the_same(model: Model, tmp_path: Path) -> None:
    image = pictures()[0]
    image.save(tmp_path / "a.png")
    raw = io.BytesIO()
    image.save(raw, "png")
    z = model.encode_document([image, tmp_path / "a.png", str(tmp_path / "a.png"), raw.getvalue()])
    np.testing.assert_allclose(z, z[:1].repeat(4, 0), atol=1e-6)
    with pytest.raises(DataError, match="picture 1"):
        model.encode_document([image, b"no picture"])


def test_saved_and_loaded_is_the_same(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.encode_query(WORDS), model.encode_query(WORDS))
    np.testing.assert_array_equal(loaded.encode_document(pictures()), model.encode_document(pictures()))
    assert (loaded.sides, loaded.dim, loaded.recipe) == (model.sides, 16, model.recipe)
    card = (tmp_path / "model" / "README.md").read_text()
    for piece in ("| objective | `infonce` |", "MiniLM, NeurIPS 2020", "EfficientNet, ICML 2019", "LiT"):
        assert piece in card
    assert not [f for f in (tmp_path / "model").rglob("*") if f.suffix in (".pt", ".pkl", ".bin", ".pth")]


def test_loads_and_runs_without_torch(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    model.encode_document(pictures()[:1])
    script = f"""
        import sys
        sys.modules["torch"] = None
        from PIL import Image
        from tellapart.engine.model import Model
        model = Model.load({str(tmp_path / "model")!r})
        q, d = model.encode_query(["a cat"]), model.encode_document([Image.new("RGB", (9, 9))])
        assert model.similarity(q, d).shape == (1, 1)
        assert not {{"transformers", "sentence_transformers", "sklearn"}} & set(sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_one_column_shares_a_head(tmp_path: Path) -> None:
    model = Model(SAME, {"text": "minilm"}, {"query": head("linear-head(dim=8)", 384)})
    np.testing.assert_array_equal(model.encode_query(WORDS), model.encode_document(WORDS))
    model.save(tmp_path)
    assert not (tmp_path / "document.safetensors").exists()
    np.testing.assert_array_equal(Model.load(tmp_path).encode(WORDS), model.encode(WORDS))


def test_two_heads_over_one_modality_must_be_told_apart() -> None:
    heads = {"query": head("linear-head(dim=8)", 384), "document": head("linear-head(dim=8)", 384, seed=1)}
    model = Model(TEXT_TEXT, {"text": "minilm"}, heads)
    assert not np.allclose(model.encode_query(WORDS), model.encode_document(WORDS))
    with pytest.raises(PartError, match="encode_query or encode_document"):
        model.encode(WORDS)


def test_without_heads_the_encoders_own_vectors_are_used() -> None:
    model = Model(TEXT_TEXT, {"text": "minilm"})
    np.testing.assert_allclose(model.encode(WORDS), make("encode", "minilm").encode(WORDS), atol=1e-6)
    assert model.dim == 384


def test_a_tuned_text_encoder_travels_in_the_folder(tmp_path: Path) -> None:
    encoder = make("encode", "minilm")
    bias = "encoder.layer.5.output.LayerNorm.bias"
    encoder.save(tmp_path / "tuned", {bias: np.linspace(-1, 1, 384, dtype=np.float32)})
    model = Model(TEXT_TEXT, {"text": f"minilm(path={str(tmp_path / 'tuned')!r}, max_tokens=64)"})
    before = model.encode(WORDS)
    assert not np.allclose(before, encoder.encode(WORDS), atol=1e-2)
    model.save(tmp_path / "model")
    (tmp_path / "tuned").rename(tmp_path / "gone")
    (tmp_path / "model").rename(tmp_path / "moved")
    loaded = Model.load(tmp_path / "moved")
    np.testing.assert_array_equal(loaded.encode(WORDS), before)
    assert str(tmp_path) not in (tmp_path / "moved" / "model.json").read_text()


def test_pieces_that_do_not_fit_are_refused() -> None:
    with pytest.raises(PartError, match="no encoder of them is given"):
        Model(TEXT_IMAGE, {"text": "minilm"})
    with pytest.raises(PartError, match="no frozen encoder"):
        Model(TEXT_TEXT, {"text": "linear-head"})
    with pytest.raises(PartError, match="encodes images"):
        Model(TEXT_TEXT, {"text": "lite0"})
    with pytest.raises(PartError, match="no head"):
        Model(TEXT_TEXT, {"text": "minilm"}, {"query": Head("lite0", {})})
    with pytest.raises(PartError, match="widths"):
        Model(TEXT_TEXT, {"text": "minilm"}, {"query": head("linear-head(dim=8)", 384)})
    with pytest.raises(PartError, match="has the tensors"):
        Model(SAME, {"text": "minilm"}, {"query": Head("mlp-head(dim=8)", head("linear-head(dim=8)", 384).state)})
    with pytest.raises(PartError, match=r"features of width 384|width 12"):
        Model(SAME, {"text": "minilm"}, {"query": head("linear-head(dim=8)", 12)})


def test_bad_calls_are_answered_in_words(model: Model) -> None:
    with pytest.raises(DataError, match="a list of items"):
        model.encode_query("one text")
    with pytest.raises(DataError, match="width 16"):
        model.similarity(np.ones((1, 3)), np.ones((1, 16)))
    with pytest.raises(PartError, match="of which modality"):
        model.encode(WORDS)
    assert model.encode_query([]).shape == (0, 16)
    assert model.encode_document([]).shape == (0, 16)


def changed(folder: Path, **changes) -> None:
    content = json.loads((folder / "model.json").read_text())
    for path, value in changes.items():
        at = content
        *parents, last = path.split("__")
        for name in parents:
            at = at[name]
        at[last] = value
    (folder / "model.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 3}, "update tellapart"),
        ({"surprise": 1}, "surprise"),
        ({"dim": -1}, "dim"),
        ({"dim": 17}, "width 17"),
        ({"query__modality": "sound"}, "modality"),
        ({"encoders__text__part": "no-such-encoder"}, "no encode named"),
        ({"encoders__text__part": "minilm(max_tokens=__import__('os').getpid())"}, "cannot read the options"),
        ({"encoders__text__part": "minilm(threads=100000)"}, "threads"),
        ({"encoders__text__fingerprint": "0" * 32}, "gives other vectors"),
        ({"heads__query__part": "linear-head(dim=16)"}, "has the tensors"),
        ({"heads__query__sha256": "0" * 64}, "its hash differs"),
        ({"heads__query__size": 9}, "another size"),
        ({"heads": {"../../x": {"part": "linear-head", "width": 1, "size": 8, "sha256": "0" * 64}}}, "heads"),
    ],
)
def test_changed_model_files_are_refused(model: Model, tmp_path: Path, changes, said: str) -> None:
    changed(model.save(tmp_path), **changes)
    with pytest.raises(TellapartError, match=said):
        Model.load(tmp_path)


def test_damaged_folders_are_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(TellapartError, match="holds no model"):
        Model.load(tmp_path / "none")
    folder = model.save(tmp_path / "a")
    (folder / "query.safetensors").write_bytes((folder / "query.safetensors").read_bytes()[:-1])
    with pytest.raises(TellapartError, match="another size"):
        Model.load(folder)
    (folder / "query.safetensors").unlink()
    with pytest.raises(TellapartError, match="missing"):
        Model.load(folder)
    (folder / "model.json").write_text("{" * 100_000)
    with pytest.raises(TellapartError, match="not readable JSON"):
        Model.load(folder)
    (folder / "model.json").write_bytes(b" " * (1 << 21))
    with pytest.raises(TellapartError, match="too large"):
        Model.load(folder)


def aligned(spec: str, width: int, dim: int) -> Head:
    rng = np.random.default_rng(0)
    part = make("align", spec).fit(rng.normal(size=(40, width)), rng.normal(size=(40, dim)))
    return Head(spec, state_of(part))


@pytest.mark.parametrize("spec", ["ridge", "relative-representations(anchors=9)", "xbt(epochs=1, hidden=4)"])
def test_a_map_stands_behind_both_heads(model: Model, tmp_path: Path, spec: str) -> None:
    mapped = Model(model.sides, model.specs, model.heads, aligned=aligned(spec, 16, 9))
    assert mapped.dim == 9
    q, d = mapped.encode_query(WORDS), mapped.encode_document(pictures())
    part = mapped._map
    np.testing.assert_array_equal(q, part.transform(model.encode_query(WORDS)))
    np.testing.assert_array_equal(d, part.transform(model.encode_document(pictures()), side="document"))
    assert mapped.project("query", np.zeros((0, 384), np.float32)).shape == (0, 9)
    loaded = Model.load(mapped.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.encode_query(WORDS), q)
    np.testing.assert_array_equal(loaded.encode_document(pictures()), d)
    assert spec in loaded.card()
    (tmp_path / "model" / "map.safetensors").write_bytes(b"bent")
    with pytest.raises(TellapartError, match="map"):
        Model.load(tmp_path / "model")


def test_a_map_that_does_not_fit_is_refused(model: Model) -> None:
    with pytest.raises(PartError, match="vectors of width 16"):
        Model(model.sides, model.specs, model.heads, aligned=aligned("ridge", 12, 9))
    with pytest.raises(PartError, match="no align"):
        Model(model.sides, model.specs, model.heads, aligned=Head("nothing", {}))
    with pytest.raises(PartError, match="not finite"):
        held = aligned("ridge", 16, 9)
        Model(model.sides, model.specs, model.heads, aligned=Head("ridge", {**held.state, "bias_": np.full(9, np.nan)}))


def test_without_a_map_a_model_is_written_as_ever(model: Model, tmp_path: Path) -> None:
    held = json.loads((model.save(tmp_path) / "model.json").read_text())
    assert held["format"] == 1 and "aligned" not in held
