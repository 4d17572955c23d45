"""Windows cut by hand from the library's own word pieces, each through the library's BERT alone."""

from __future__ import annotations

import numpy as np

from tests.oracles._long import TEXTS, library

CASES: list[dict] = [{}, {"window": 16, "most": 3}]


def check(build, options: dict) -> None:
    import torch

    tokenizer, model = library()
    inside, most = options.get("window", 256) - 2, options.get("most", 32)
    part = build(**options)
    vectors, windows = part.encode(TEXTS), part.encode_tokens(TEXTS)
    cut = 0
    for text, vector, rows in zip(TEXTS, vectors, windows, strict=True):
        pieces = tokenizer(text, add_special_tokens=False)["input_ids"]
        cut += len(pieces) > inside * most
        pieces, found = pieces[: inside * most], []
        while True:
            ids = [tokenizer.cls_token_id, *pieces[:inside], tokenizer.sep_token_id]
            with torch.no_grad():
                states = model(torch.tensor([ids])).last_hidden_state[0].numpy()
            mean = states.mean(0)
            found.append(mean / np.linalg.norm(mean))
            pieces = pieces[inside:]
            if not pieces:
                break
        np.testing.assert_allclose(rows, found, atol=2e-5)
        whole = sum(found) / len(found)
        np.testing.assert_allclose(vector, whole / np.linalg.norm(whole), atol=2e-5)
    assert part.truncated_ == 2 * cut
