"""Kill -9 at random points while items are added, deleted, folded in and an index is built: what is lost, what is half.

    python benchmarks/kill_points.py [points]

Each point is a process that puts, deletes, folds (a new collection and index take the place of the old) and builds the
index of the run anew, until it is killed; what it was told as taken is then looked for, and the run is opened and
searched all the while. 200 points are recorded; fewer are only shown.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _record import ROOT, write

POINTS = 200
A_FOLDER = 20
LONGEST = 0.5


def main(points: int) -> None:
    """Kill, look, and write down what was found."""
    changing = _changing()
    kills, start = changing.Kills(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for number, done in enumerate(range(0, points, A_FOLDER)):
            kills.run(Path(folder) / f"run {number}", min(A_FOLDER, points - done), seed=number, longest=LONGEST)
    found = {
        "points": kills.points,
        "killed in the middle of": dict(sorted(kills.during.items())),
        "items acknowledged": kills.acknowledged,
        "acknowledged and lost": kills.lost,
        "opened and searched": kills.opened,
        "half indexes served": kills.half,
        "seconds": round(time.monotonic() - start, 1),
    }
    if points >= POINTS:
        write("kill_points", found, ["numpy", "pyarrow"])
    else:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    if kills.wrong:
        raise SystemExit("\n".join(kills.wrong))


def _changing() -> Any:
    """What changes a run and is killed, beside the tests that use it too."""
    spec = importlib.util.spec_from_file_location("tellapart_changing", ROOT / "tests" / "server" / "changing.py")
    assert spec is not None and spec.loader is not None
    made = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else POINTS)
