"""What encoders that run on torch share: a fingerprint of weights, and encoding in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def best_device() -> torch.device:
    """An accelerator if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def weights_digest(module: nn.Module, *texts: str) -> str:
    """32 hex digits over all tensors by name, and texts that say what else decides the vectors."""
    total = hashlib.sha256("\0".join(texts).encode())
    for name, tensor in sorted(module.state_dict().items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:32]


@torch.inference_mode()
def encode_batches(
    call: Callable[..., Tensor], prepare: Callable[[list[Any]], Sequence[Tensor]], items: Sequence[Any],
    *, batch_size: int, dim: int, device: torch.device,
) -> np.ndarray:  # fmt: skip
    """[n, dim] float32: `call(*prepare(batch))` over consecutive batches; items are read when their batch comes."""
    vectors = np.empty((len(items), dim), np.float32)
    for start in range(0, len(items), batch_size):
        batch = [items[i] for i in range(start, min(start + batch_size, len(items)))]
        found = call(*(tensor.to(device) for tensor in prepare(batch)))
        vectors[start : start + len(batch)] = found.float().cpu().numpy()
    return vectors
