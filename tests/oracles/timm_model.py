"""timm called picture by picture; random weights, because those of the hub cannot be had in a test."""

from __future__ import annotations

import numpy as np
from PIL import Image

CASES: list[dict] = [{"name": "resnet10t", "pretrained": False}, {"name": "mobilenetv3_small_050", "pretrained": False}]


def check(build, options: dict) -> None:
    import timm
    import torch

    draw = np.random.default_rng(0)
    images = [Image.fromarray(draw.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in ((40, 60), (300, 200))]
    torch.manual_seed(7)
    model = timm.create_model(options["name"], pretrained=False, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    with torch.no_grad():
        expected = np.concatenate([model(transform(image)[None]).numpy() for image in images])
    torch.manual_seed(7)
    part = build(**options)
    np.testing.assert_allclose(part.encode(images), expected, rtol=1e-4, atol=1e-5)
    assert part.dim == expected.shape[1]
