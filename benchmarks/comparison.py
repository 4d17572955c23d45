"""Ten variants times five seeds on the demo, features cached: minutes, as a whole process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _record import write

TRIES = (
    "objective=dcl", "objective=sigmoid", "objective=supcon", "objective=triplet", "relate=gist-embed(margin=0.3)",
    "relate=drop-near-positive", "augment=mochi", "sample=no-duplicates", "sample=tas", "strategy=cca",
)  # fmt: skip


def main() -> None:
    """`tellapart compare openmoji` in a folder of its own; no variant is stopped early."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("tellapart")), "compare", "openmoji", "--out", folder]
        command += ["--all-seeds", *(word for t in TRIES for word in ("--try", t))]
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    table = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
    write(
        "comparison", {"variants": len(TRIES), "seeds": 5, "minutes": round(seconds / 60, 2), "table": table}, ["torch"]
    )


if __name__ == "__main__":
    main()
