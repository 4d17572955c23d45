"""A rowwise objective in blocks against the same objective over the full matrix: time, extra memory, gradients.

n = m = 16,384, d = 256, forward and backward. Each side runs in a process of its own, with its own peak memory; "extra"
is the peak less what the process held with its inputs ready.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

from _record import spread, write

N, D, ROUNDS = 16_384, 256, 3


def once(form: str) -> None:
    """One forward and backward pass; prints seconds, extra MiB and a few gradients."""
    import torch

    from tellapart.core.relation import Keys
    from tellapart.engine.memory import Chain, Pairing

    torch.manual_seed(0)
    q, k = (torch.nn.functional.normalize(torch.randn(N, D), dim=1).requires_grad_() for _ in range(2))
    item = torch.arange(N)
    keys = Keys(item, item // 2, item)
    chain = Chain.of("infonce")
    small = Pairing(q[:64], k[:64], keys[:64], keys[:64])
    chain.loss(small, seed=0).backward()
    q.grad = k.grad = None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    chain.loss(Pairing(q, k, keys, keys), seed=0, block_rows=N if form == "full" else None).backward()
    seconds = time.perf_counter() - start
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert q.grad is not None and k.grad is not None
    rows = torch.arange(0, N, 97)
    found = {"seconds": seconds, "extra_mib": extra, "gradients": [q.grad[rows].tolist(), k.grad[rows].tolist()]}
    sys.stdout.write(json.dumps(found))


def main() -> None:
    """Both forms in turn, `ROUNDS` times."""
    import numpy as np

    runs: dict[str, list[dict]] = {"full": [], "blocks": []}
    for _ in range(ROUNDS):
        for form in runs:
            out = subprocess.run([sys.executable, __file__, form], capture_output=True, text=True, check=True)
            runs[form].append(json.loads(out.stdout))
    pairs = list(zip(runs["blocks"], runs["full"], strict=True))
    difference = max(
        float(np.abs(np.array(a["gradients"]) - np.array(b["gradients"])).max() / np.abs(b["gradients"]).max())
        for a, b in pairs
    )
    write(
        "rowwise",
        {
            "n": N,
            "d": D,
            "objective": "infonce",
            "time_ratio": spread([a["seconds"] / b["seconds"] for a, b in pairs]),
            "extra_memory_ratio": spread([a["extra_mib"] / b["extra_mib"] for a, b in pairs]),
            "seconds": {form: spread([r["seconds"] for r in found]) for form, found in runs.items()},
            "extra_mib": {form: spread([r["extra_mib"] for r in found], 0) for form, found in runs.items()},
            "largest_relative_gradient_difference": difference,
        },
        ["torch"],
    )


if __name__ == "__main__":
    once(sys.argv[1]) if len(sys.argv) > 1 else main()
