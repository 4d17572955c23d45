"""Ten variants times five seeds on the demo, features cached: minutes, as a whole process."""

from __future__ import annotations

import json
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
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        report = json.loads(Path(folder, "report.json").read_text(encoding="utf-8"))
    (table,) = (block for block in report["blocks"] if "columns" in block)
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    write(
        "comparison", {"variants": len(TRIES), "seeds": 5, "minutes": round(seconds / 60, 2), "table": rows}, ["torch"]
    )


if __name__ == "__main__":
    main()
