"""Gradients with 1, 2 and 4 processes (gloo) for every objective: the largest relative difference of each."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from _record import ROOT, write

sys.path.insert(0, str(ROOT / "tests" / "engine"))


def main() -> None:
    """The processes and the batch of the tests, with the differences written down."""
    import test_distributed as test
    import torch
    from torch import multiprocessing

    found: dict[str, dict[str, float]] = {}
    for world in (2, 4):
        with tempfile.TemporaryDirectory() as folder:
            multiprocessing.spawn(test._process, args=(world, folder), nprocs=world)
            many = torch.load(Path(folder) / "found.pt", weights_only=True)["gradients"]
        for case, gradients in many.items():
            one = test._gradients(*case)
            worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(gradients, one, strict=True))
            found.setdefault(" | ".join(p for p in case if p), {})[f"{world} processes"] = worst
    largest = max(v for worlds in found.values() for v in worlds.values())
    write("gradients", {"largest_relative_difference": largest, "by_objective": found}, ["torch"])


if __name__ == "__main__":
    main()
