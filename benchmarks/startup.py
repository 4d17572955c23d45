"""`import tellapart` and `tellapart parts` as whole processes, against an empty Python process in the same run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from _record import spread, write

ROUNDS = 11
COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import tellapart": [sys.executable, "-c", "import tellapart, sys; assert 'torch' not in sys.modules"],
    "tellapart parts": [str(Path(sys.executable).with_name("tellapart")), "parts"],
}


def main() -> None:
    """All commands in turn; the first round warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(ROUNDS + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    imports = [a - b for a, b in zip(seconds["import tellapart"], seconds["python"], strict=True)]
    write(
        "startup",
        {
            "seconds": {name: spread(found) for name, found in seconds.items()},
            "import_alone_seconds": spread(imports),
            "ratio_to_empty_python": {
                name: spread([a / b for a, b in zip(found, seconds["python"], strict=True)])
                for name, found in seconds.items()
            },
        },
        ["tellapart"],
    )


if __name__ == "__main__":
    main()
