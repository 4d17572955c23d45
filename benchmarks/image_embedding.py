"""Frozen image embedding: `lite0` (ONNX Runtime) against eager torch in its default layout, with the same weights.

Twice: from pictures that are already cut and resized, and end to end from JPEG bytes. Eager torch gets the batch size
that is fastest for it. Wanted: at least 3 times as many pictures a second, cosine above 0.9999.

    python benchmarks/image_embedding.py
"""

from __future__ import annotations

import io
import time

import _record
import numpy as np
import timing
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from tellapart.core.parts import make
from tellapart.data.images import open_image

WANTED = 3.0
PICTURES = 48
BATCH_SIZES = (1, 4, 16, 32)


class Opened:
    """JPEG bytes, each decoded when it is asked for."""

    def __init__(self, files: list[bytes]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: int) -> Image.Image:
        return open_image(self.files[at])


def photographs() -> list[bytes]:
    """Parts of two photographs, 320 x 240, as JPEG."""
    draw = np.random.default_rng(0)
    whole = [Image.fromarray(x) for x in load_sample_images().images]
    files = []
    for i in range(PICTURES):
        left, top = draw.integers(0, whole[0].width - 320), draw.integers(0, whole[0].height - 240)
        out = io.BytesIO()
        whole[i % 2].crop((left, top, left + 320, top + 240)).save(out, "jpeg", quality=90)
        files.append(out.getvalue())
    return files


def main() -> None:
    asked = timing.arguments(str(__doc__).split("\n", 1)[0])
    torch.set_num_threads(asked.threads)
    files = photographs()
    encoder = make("encode", "lite0", threads=asked.threads)
    images = [open_image(file) for file in files]
    pixels = np.stack([encoder.pixels(image) for image in images])
    cut = make("encode", "lite0", threads=asked.threads, crop=1.0)
    ready = [Image.fromarray(x) for x in pixels]
    network = encoder.module().eval()

    @torch.inference_mode()
    def eager(batch: torch.Tensor, size: int) -> np.ndarray:
        return np.concatenate([network(part).numpy() for part in batch.split(size)])

    def as_tensor(x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous().float() / 255

    batch = as_tensor(pixels)
    took = {}
    for size in BATCH_SIZES:
        eager(batch[:size], size)
        started = time.perf_counter()
        eager(batch[:32], size)
        took[size] = time.perf_counter() - started
    best = min(took, key=lambda size: took[size])

    def end_to_end() -> np.ndarray:
        return eager(as_tensor(np.stack([encoder.pixels(open_image(file)) for file in files])), best)

    a, b = cut.encode(ready), eager(batch, best)
    whole_a, whole_b = encoder.encode(Opened(files)), end_to_end()
    result = {
        "wanted": WANTED,
        "threads": asked.threads,
        "baseline": f"torch eager, NCHW, inference mode, batches of {best}, the fastest of {BATCH_SIZES}",
        "cosine": min(cosine(a, b), cosine(whole_a, whole_b)),
        "pre_processed": timing.compare(
            lambda: cut.encode(ready), lambda: eager(batch, best), items=PICTURES, repeats=asked.repeats
        ),
        "end_to_end": timing.compare(
            lambda: encoder.encode(Opened(files)), end_to_end, items=PICTURES, repeats=asked.repeats
        ),
    }
    file = _record.write("image_embedding", result, ("tellapart", "onnxruntime", "torch", "numpy", "pillow"))
    print(f"{file.name}: {result['pre_processed']['ratio']} end to end {result['end_to_end']['ratio']}")


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The least over rows."""
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


if __name__ == "__main__":
    main()
