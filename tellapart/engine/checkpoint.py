"""The state of a run on disk: one safetensors file, replaced atomically; a killed run resumes to the same bits."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tellapart.core.errors import TellapartError

FILE = "checkpoint.safetensors"
MAX_BYTES = 64 << 30


def save(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Replace the checkpoint of a folder; whoever reads meanwhile sees the old one or the new one, never a half."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    part = folder / f".{FILE}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Only one process writes here, so another part is what a killed one left.
        for left in folder.glob(f".{FILE}.*"):
            left.unlink()
        own = {name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}
        save_file(own, part, metadata={"facts": json.dumps(dict(facts))})
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(part, folder / FILE)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TellapartError(
            f"the checkpoint could not be written to {folder} ({reason}); the last good one is kept. "
            "Make room or give another folder, then run the same command again: it resumes."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and facts of the last checkpoint, or None when there is none."""
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.is_file():
        return None
    if path.stat().st_size > MAX_BYTES:
        raise TellapartError(f"{path} is larger than {MAX_BYTES >> 30} GiB and is no checkpoint of ours; remove it")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise TellapartError(f"{path} cannot be read as a checkpoint ({error}); remove it to start afresh") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser as named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{i}.{name}": torch.as_tensor(x) for i, held in state.items() for name, x in held.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, x in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = x
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
