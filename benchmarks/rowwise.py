"""A rowwise objective in blocks against the same objective over the full matrix: time, extra memory, gradients.

n = m = 16,384, d = 256, forward and backward, InfoNCE whose duplicates are no negatives. The full-matrix form is that
which everybody writes: scores, masks and a log-sum-exp in plain torch. Beside it stand our own code in a single block,
which makes fewer passes over the matrix, and the three bare matrix products that no form can do without. Each runs in a
process of its own, with its own peak memory; "extra" is the peak less what the process held with its inputs ready.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

from _record import spread, write

N, D, ROUNDS, TEMPERATURE = 16_384, 256, 5, 0.07
FORMS = ("blocks", "full", "one block", "products")


def once(form: str) -> None:
    """One forward and backward pass; prints seconds, extra MiB and a few gradients."""
    import torch

    from tellapart.core.relation import Keys
    from tellapart.engine.memory import Chain, Pairing

    torch.manual_seed(0)
    q, k = (torch.nn.functional.normalize(torch.randn(N, D), dim=1).requires_grad_() for _ in range(2))
    item = torch.arange(N)
    keys = Keys(item, item // 2, item)
    chain = Chain.of(f"infonce(temperature={TEMPERATURE})")

    def compute(q: torch.Tensor, k: torch.Tensor, keys: Keys) -> None:
        if form == "full":
            full_matrix(q, k, keys).backward()
        elif form == "products":
            with torch.no_grad():
                scores = q @ k.T
                q.grad, k.grad = scores @ k, scores.T @ q
        else:
            rows = None if form == "blocks" else len(q)
            chain.loss(Pairing(q, k, keys, keys), seed=0, block_rows=rows).backward()

    compute(q[:64].detach().requires_grad_(), k[:64].detach().requires_grad_(), keys[:64])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    compute(q, k, keys)
    seconds = time.perf_counter() - start
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert q.grad is not None and k.grad is not None
    rows = torch.arange(0, N, 97)
    found = {"seconds": seconds, "extra_mib": extra, "gradients": [q.grad[rows].tolist(), k.grad[rows].tolist()]}
    sys.stdout.write(json.dumps(found))


def full_matrix(q, k, keys):
    """The same loss as it is usually written."""
    import torch

    scores = q @ k.T / TEMPERATURE
    positive = keys.target[:, None] == keys.target
    ignored = positive | (keys.group[:, None] == keys.group)
    negatives = scores.masked_fill(ignored, -torch.inf).logsumexp(1)
    return torch.nn.functional.softplus(negatives - scores[positive]).mean()


def main() -> None:
    """All forms in turn, `ROUNDS` times."""
    import numpy as np

    runs: dict[str, list[dict]] = {form: [] for form in FORMS}
    for _ in range(ROUNDS):
        for form in FORMS:
            out = subprocess.run([sys.executable, __file__, form], capture_output=True, text=True, check=True)
            runs[form].append(json.loads(out.stdout))
    blocks = runs["blocks"]

    def ratio(to: str, of: str) -> dict:
        return spread([a[of] / b[of] for a, b in zip(blocks, runs[to], strict=True)])

    difference = max(
        float(np.abs(np.array(a["gradients"]) - np.array(b["gradients"])).max() / np.abs(b["gradients"]).max())
        for a, b in zip(blocks, runs["full"], strict=True)
    )
    write(
        "rowwise",
        {
            "n": N,
            "d": D,
            "objective": "infonce",
            "to reach": {"time": 0.6, "extra memory": 0.1, "gradients": 1e-5},
            "time_ratio_to_the_full_matrix": ratio("full", "seconds"),
            "extra_memory_ratio_to_the_full_matrix": ratio("full", "extra_mib"),
            "time_ratio_to_our_code_in_one_block": ratio("one block", "seconds"),
            "time_ratio_to_three_products": ratio("products", "seconds"),
            "seconds": {form: spread([r["seconds"] for r in found]) for form, found in runs.items()},
            "extra_mib": {form: spread([r["extra_mib"] for r in found], 0) for form, found in runs.items()},
            "largest_relative_gradient_difference": difference,
        },
        ["torch"],
    )


if __name__ == "__main__":
    once(sys.argv[1]) if len(sys.argv) > 1 else main()
