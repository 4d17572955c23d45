"""open_clip called item by item; random weights, because those of the hub cannot be had in a test."""

from __future__ import annotations

import numpy as np
from PIL import Image

CASES: list[dict] = [{"name": "RN50"}, {"name": "RN50", "modality": "text"}]


def check(build, options: dict) -> None:
    import open_clip
    import torch

    draw = np.random.default_rng(0)
    texts = ["a cat", "a longer text about two dogs"]
    images = [Image.fromarray(draw.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in ((40, 60), (300, 200))]
    words = options.get("modality") == "text"
    torch.manual_seed(7)
    model, _, transform = open_clip.create_model_and_transforms(options["name"], pretrained=None)
    model.eval()
    tokenizer = open_clip.get_tokenizer(options["name"])
    rows = []
    for item in texts if words else images:
        with torch.no_grad():
            z = model.encode_text(tokenizer([item])) if words else model.encode_image(transform(item)[None])
        rows.append((z / z.norm())[0].numpy())
    torch.manual_seed(7)
    part = build(**options)
    np.testing.assert_allclose(part.encode(texts if words else images), np.asarray(rows), atol=1e-5)
