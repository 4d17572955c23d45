"""Text embedding: `minilm` (ONNX Runtime) against sentence-transformers' `encode`: same texts, weights and threads.

Names of emoji (short), first sentences of docstrings (middling), sources of functions (long), and all of them mixed,
which is the figure. Wanted: at least 1.3 times as many texts a second, cosine above 0.9999.

    python benchmarks/text_embedding.py
"""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import _record
import emoji
import numpy as np
import timing
import torch
from sentence_transformers import SentenceTransformer

from tellapart.core.parts import make
from tellapart.data import shipped
from tellapart.parts.encode._bert_folder import packaged_folder

WANTED = 1.3
NAMES, SENTENCES, SOURCES = 800, 200, 50


def texts() -> dict[str, list[str]]:
    """The three kinds and their mixture, in an order of no meaning."""
    draw = np.random.default_rng(0)
    names = sorted({v["en"].strip(":").replace("_", " ") for v in emoji.EMOJI_DATA.values()})
    functions = shipped.docstrings(limit=2000)
    found = {
        "names": [names[i] for i in draw.permutation(len(names))[:NAMES]],
        "sentences": [functions.values("anchor")[i] for i in draw.permutation(len(functions))[:SENTENCES]],
        "sources": [functions.values("positive")[i] for i in draw.permutation(len(functions))[:SOURCES]],
    }
    mixed = [text for kind in found.values() for text in kind]
    return {**found, "mixed": [mixed[i] for i in draw.permutation(len(mixed))]}


def main() -> None:
    asked = timing.arguments(str(__doc__).split("\n", 1)[0])
    torch.set_num_threads(asked.threads)
    encoder = make("encode", "minilm", threads=asked.threads)
    library = SentenceTransformer(str(packaged_folder()), device="cpu")
    least, found = 1.0, {}
    for kind, given in texts().items():
        ours = encoder.encode(given)
        least = min(least, float((ours * library.encode(given, show_progress_bar=False)).sum(1).min()))
        lengths = [len(tokens) for tokens in library.tokenizer(given, truncation=True, max_length=256)["input_ids"]]
        found[kind] = {
            "tokens": _record.spread([float(n) for n in lengths], 0),
            **timing.compare(
                lambda given=given: encoder.encode(given),
                lambda given=given: library.encode(given, show_progress_bar=False),
                items=len(given),
                repeats=asked.repeats,
            ),
        }
    result = {
        "wanted": WANTED,
        "threads": asked.threads,
        "baseline": "sentence-transformers encode on torch, its default batch size 32",
        "cosine": least,
        **found,
    }
    packages = ("tellapart", "onnxruntime", "tokenizers", "sentence-transformers", "transformers", "torch", "numpy")
    file = _record.write("text_embedding", result, packages)
    print(f"{file.name}: " + ", ".join(f"{kind} {found[kind]['ratio']}" for kind in found))


if __name__ == "__main__":
    main()
