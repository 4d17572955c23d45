"""A model for other programs: a sentence-transformers folder, ONNX files. Equal vectors are measured, not assumed."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.errors import PartError, TellapartError
from tellapart.core.needs import installed, require
from tellapart.engine.model import Model, SideName

COSINE, DIFFERENCE = 0.9999, 1e-4
TEXTS = ("a yellow fruit", "", "two grey cats asleep on a red sofa", "Ünïcödé 猫", "a long text " * 150)
SIDES: tuple[SideName, ...] = ("query", "document")
MODULES = ("sentence_transformers.sentence_transformer.modules", "sentence_transformers.models")


def sentence_transformers(model: Model, folder: str | Path, *, side: SideName | None = None) -> float:
    """Write a folder that `SentenceTransformer(folder)` loads with the vectors of a text side.

    The encoder's own modules come first, then a Dense module for each layer of the head, then Normalize.

    Args:
        folder: must not exist, or be empty.
        side: may be left out where one side holds texts, or one head serves both.

    Returns:
        The least cosine between the two vectors of a text, over short, long, empty and foreign texts.

    Raises:
        PartError: no text side, or two and none named; an encoder that cannot be written in this form.
        TellapartError: the vectors differ (a cosine of 0.9999 or less); nothing is written then.
    """
    library = require("sentence_transformers", "exporting to sentence-transformers")
    modules = importlib.import_module(next(name for name in MODULES if installed(name)))
    torch = require("torch", "exporting to sentence-transformers")
    side = _text_side(model, side)
    encoder = model.encoders["text"]
    if not hasattr(encoder, "save"):
        raise PartError(f"the encoder {model.specs['text']} cannot be written as a sentence-transformers folder")
    with _made(Path(folder)) as made, tempfile.TemporaryDirectory() as base:
        encoder.save(Path(base))
        whole = library.SentenceTransformer(base, device="cpu")
        for layers in model.stages(side):
            for layer in layers:
                wide, narrow = layer.weight.shape[::-1]
                activation = torch.nn.ReLU() if layer.relu else torch.nn.Identity()
                dense = modules.Dense(wide, narrow, activation_function=activation)
                tensors = {"linear.weight": layer.weight, "linear.bias": layer.bias}
                dense.load_state_dict({k: torch.from_numpy(np.array(v, np.float32)) for k, v in tensors.items()})
                whole.append(dense)
            whole.append(modules.Normalize())
        whole.save_pretrained(str(made), create_model_card=False)
        (made / "README.md").write_text(model.card(), encoding="utf-8")
        loaded = library.SentenceTransformer(str(made), device="cpu")
        given = loaded.encode(list(TEXTS), show_progress_bar=False, convert_to_numpy=True)
        cosine = float((given * _encode(model, side, TEXTS)).sum(1).min())
        if not cosine > COSINE:
            raise TellapartError(
                f"the exported vectors are not the model's: cosine {cosine:.6f}, so nothing was written"
            )
    return cosine


def onnx(model: Model, folder: str | Path) -> dict[str, float]:
    """Write an ONNX file a side, encoder and head in one, for ONNX Runtime (its own fused operators are used).

    Texts go in as `tokens` and `mask` (int64, [n, t], made by the `tokenizer.json` that lies beside), pictures as
    `pixels` (uint8, [n, 224, 224, 3]); `vector` comes out, [n, dim] float32 of unit length. `export.json` says so.

    Args:
        folder: must not exist, or be empty.

    Returns:
        By side the largest absolute difference to the model's vectors.

    Raises:
        PartError: an encoder that has no ONNX graph.
        TellapartError: the vectors differ by more than 1e-4; nothing is written then.
    """
    import onnxruntime

    differences: dict[str, float] = {}
    facts: dict[str, Any] = {}
    with _made(Path(folder)) as made:
        for side in SIDES[:1] if model.sides.same_space else SIDES:
            modality = getattr(model.sides, side).modality
            encoder = model.encoders[modality]
            if not hasattr(encoder, "graph"):
                raise PartError(f"the encoder {model.specs[modality]} has no ONNX graph; minilm and lite0 have")
            graph, vector, inputs = encoder.graph()
            stages = model.stages(side)
            for layers in stages:
                for layer in layers:
                    vector = graph.add("MatMul", vector, graph.constant(layer.weight.T))
                    vector = graph.add("Add", vector, graph.constant(layer.bias))
                    vector = graph.add("Relu", vector) if layer.relu else vector
                last = layers is stages[-1]
                vector = graph.add("LpNormalization", vector, named="vector" if last else "", axis=-1, p=2)
            content = graph.serialise(inputs, "vector", model.dim)
            (made / f"{side}.onnx").write_bytes(content)
            items = list(TEXTS) if modality == "text" else _pictures()
            session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            (given,) = session.run(["vector"], encoder.feed(items))
            differences[side] = float(np.abs(given - _encode(model, side, items)).max())
            if not differences[side] <= DIFFERENCE:
                raise TellapartError(
                    f"the exported {side} vectors are off by {differences[side]:.2g}: nothing was written"
                )
            facts[side] = {
                "file": f"{side}.onnx",
                "encoder": model.specs[modality],
                "inputs": {name: {"type": kind.lower(), "shape": shape} for name, (kind, shape) in inputs.items()},
                "output": {"name": "vector", "shape": ["n", model.dim]},
                "largest_difference": differences[side],
            }
            if modality == "text":
                encoder.write_tokenizer(made / "tokenizer.json")
        (made / "export.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
    return differences


def _encode(model: Model, side: SideName, items: Any) -> np.ndarray:
    return model.encode_query(items) if side == "query" else model.encode_document(items)


def _pictures() -> list[Any]:
    from PIL import Image

    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in ((60, 80), (300, 200), (9, 9))
    ]


def _text_side(model: Model, side: SideName | None) -> SideName:
    texts: list[SideName] = [s for s in SIDES if getattr(model.sides, s).modality == "text"]
    if not texts or (side is not None and side not in texts):
        raise PartError(f"no {side or 'side'} of this model takes texts, and sentence-transformers is for those")
    if side is None and len(texts) == 2 and model.heads.get("query") is not model.heads.get("document"):
        raise PartError(
            "both sides of this model take texts, by different heads: say which, side='query' or 'document'"
        )
    return side or texts[0]


@contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name when all in it is written and checked, and not at all otherwise."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TellapartError(f"{folder} is there already and not empty: name another folder, or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
        made = Path(place) / folder.name
        made.mkdir()
        yield made
        os.replace(made, folder)
