"""The audit as a whole: of the demo's model on this machine, and of 200,000 items in how much memory.

    python benchmarks/audit.py [--run runs/latest] [--items 200000] [--part all]

- demo: `auditing.audit(RUN)` over the run that `make demo` makes, everything embedded before, in a fresh process.
- many: `--items` texts, 4,000 glosses of WordNet over and over that are not said to be duplicates, with labels and two
  columns to slice by; the frozen text encoder is audited on them. The 4,000 are embedded before. What parts find there
  says nothing, how long they take and how much they hold does.

Wanted: at most 180 s for the demo, at most 8 GiB for 200,000 items.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _record import write

SECONDS, GIB, DISTINCT = 180, 8, 4000


def demo(run: Path) -> None:
    """Audit a run in this process; what it took goes to standard output as JSON."""
    from tellapart.auditing import audit

    began = time.perf_counter()
    report = audit(run)
    print(json.dumps(taken(report, began)))


def many(folder: Path, items: int) -> None:
    """Audit the text encoder over so many texts."""
    from tellapart.auditing import audit
    from tellapart.core.collection import Collection
    from tellapart.core.parts import make
    from tellapart.data import shipped
    from tellapart.data.spool import cache_folder
    from tellapart.engine.embed import embed

    rng = np.random.default_rng(0)
    glosses, files = (np.asarray(shipped.wordnet().values(c), dtype=object) for c in ("gloss", "lexname"))
    rows = np.arange(items) % DISTINCT
    made = Collection.of({
        "id": [f"t{i:06d}" for i in range(items)],
        "text": glosses[rows].tolist(),
        "label": files[rows].tolist(),
        "length": np.where([len(glosses[r]) > 60 for r in rows], "long", "short").tolist(),
        "shelf": [f"shelf {v}" for v in rng.integers(5, size=items)],
        "group": np.arange(items),
        "near": np.arange(items),
        "split": ["test" if r % 5 == 0 else "train" for r in rows],
    })  # fmt: skip
    made.save(folder / "texts")
    embed(made, "text", make("encode", "minilm"), cache=cache_folder(None, "embeddings"))
    began = time.perf_counter()
    report = audit("minilm", folder / "texts")
    print(json.dumps(taken(report, began)))


def taken(report: object, began: float) -> dict[str, object]:
    """Seconds, peak memory, and what was asked."""
    facts = report.facts  # type: ignore[attr-defined]
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "GiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "items": facts["items"], "seconds by part": facts["seconds"],
    }  # fmt: skip


def apart(*arguments: str) -> dict[str, object]:
    """What a fresh process says on its last line."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure both and write `results/audit.json`."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--run", type=Path, default=Path("runs/latest"))
    asked.add_argument("--items", type=int, default=200_000)
    asked.add_argument("--side", default="")
    asked.add_argument("--folder", type=Path)
    given = asked.parse_args()
    if given.side == "demo":
        demo(given.run)
        return
    if given.side == "many":
        many(given.folder, given.items)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "demo": apart("--side", "demo", "--run", str(given.run)),
            "many": apart("--side", "many", "--folder", folder, "--items", str(given.items)),
        }
    holds = {"demo": found["demo"]["seconds"] <= SECONDS, "many": found["many"]["GiB"] <= GIB}  # type: ignore[operator]
    write("audit", {**found, "wanted": {"seconds": SECONDS, "GiB": GIB}, "holds": holds}, ("tellapart", "numpy"))


if __name__ == "__main__":
    main()
