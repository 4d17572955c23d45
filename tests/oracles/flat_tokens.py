"""Oracle: the tokens of each item asked for one by one, cut and filled up with zeros."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tellapart.core.errors import PartError
from tellapart.core.parts import make

CASES: list[dict] = [
    {},
    {"tokens": 2},
    {"encoder": "lite0", "tokens": 4},
    {"encoder": "colour-histogram", "tokens": 1},
]
TEXTS = ["a red house with three windows and a very long roof", "red", ""]


def check(build, options: dict) -> None:
    spec, tokens = options.get("encoder", "minilm"), options.get("tokens", 24)
    part, alone = build(**options), make("encode", spec)
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, size=(64, 64, 3), dtype=np.uint8)) for _ in range(2)]
    items = TEXTS if spec == "minilm" else pictures
    assert part.modality == alone.modality and part.dim == tokens * alone.dim == part.max_tokens * alone.dim
    found, cut = part.encode(items), 0
    for item, row in zip(items, found.reshape(len(items), tokens, -1), strict=True):
        if spec == "colour-histogram":
            (plain,) = alone.encode([item])
            np.testing.assert_allclose(row[0], plain / np.sqrt(float((plain**2).sum())), rtol=1e-5)
            continue
        (expected,) = alone.encode_tokens([item])
        cut += len(expected) > tokens
        kept = min(len(expected), tokens)
        np.testing.assert_allclose(row[:kept], expected[:kept], atol=1e-6)
        assert not row[kept:].any()
    assert part.truncated_ == cut and (cut > 0) == (tokens == 2)
    if spec == "lite0":
        check_corners(alone, items[0])
    with pytest.raises(PartError, match="frozen"):
        build(encoder="linear-head").encode(pictures)


def check_corners(encoder, picture) -> None:
    """Four averages over 4 x 4 of 7 x 7 places: each column and row of places but the middle ones counts once."""
    import torch

    with torch.no_grad():
        module = encoder.module().eval()
        seen = []
        head = [m for name, m in module.named_modules() if name.endswith("head")][-1]
        head.register_forward_hook(lambda m, i, o: seen.append(o))
        module(*encoder.prepare([picture]))
    (held,) = seen
    grid = held[0].clamp(0, 6).numpy()
    assert grid.shape == (1280, 7, 7)
    for at, (top, left) in enumerate([(0, 0), (0, 3), (3, 0), (3, 3)]):
        mean = np.asarray([[grid[c, top + i, left + j] for i in range(4) for j in range(4)] for c in range(1280)]).mean(
            1
        )
        np.testing.assert_allclose(
            encoder.encode_tokens([picture])[0][at], mean / np.sqrt(float((mean**2).sum())), atol=2e-4
        )
