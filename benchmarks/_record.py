"""What every benchmark writes down: machine, versions, commit, and repeated measurements as median, least and most."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


def spread(values: Sequence[float], digits: int = 4) -> dict[str, Any]:
    """Median, least, most and number of measurements."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "count": len(values),
    }


def machine() -> dict[str, Any]:
    """Processor, cores, threads allowed, load before the run, Python."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit of the code, with a mark where files were changed since."""
    head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    dirty = subprocess.run(["git", "status", "--porcelain", "tellapart"], cwd=ROOT, capture_output=True, text=True)
    return head.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


def write(name: str, found: dict[str, Any], packages: Sequence[str]) -> Path:
    """Write `results/NAME.json` and print it."""
    versions = {p: importlib.metadata.version(p) for p in packages}
    record = {"benchmark": name, "machine": machine(), "commit": commit(), "versions": versions, **found}
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    text = json.dumps(record, indent=2)
    file.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    return file
