"""`tellapart doctor`: what this machine offers and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli._say import show
from tellapart.core.needs import EXTRA_OF, installed
from tellapart.core.report import Figure, Report, Table, Text
from tellapart.core.version import VERSION
from tellapart.data.spool import cache_folder

CORE = ("numpy", "pillow", "pyarrow", "tokenizers", "onnx", "onnxruntime", "typer", "pydantic", "safetensors")


def doctor(json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Say what is installed, what is missing and how to get it."""
    report = Report("What this machine offers")
    report.add(
        Figure("cores", len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    )
    memory = _memory()
    if memory is not None:
        report.add(Figure("memory", memory / 2**30, unit="GiB"))
    cache = cache_folder(None, "")
    report.add(Figure("cache", _size(cache) / 2**20, unit="MiB", note=str(cache)))
    report.add(Figure("free room there", shutil.disk_usage(cache).free / 2**30, unit="GiB"))
    report.add(Table("Always needed", ["package", "version"], [[name, _version(name)] for name in CORE]))
    report.add(Table("Extras", ["extra", "state", "what to run"], [_extra(*extra) for extra in _extras().items()]))
    if installed("torchvision"):
        report.add(
            Text(
                f"torchvision {_version('torchvision')} is installed. Without a GPU it often does not fit the "
                "installed torch, and transformers and sentence-transformers then fail to import as well. Nothing here "
                "needs it: pip uninstall torchvision",
                kind="warning",
            )
        )
    if installed("torch"):
        report.add(Text(f"torch {_version('torch')} computes on: {_device()}"))
    report.facts = {
        "tellapart": VERSION,
        "python": platform.python_version(),
        "system": platform.platform(),
        "interpreter": sys.executable,
    }
    show(report, as_json=json)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _extras() -> dict[str, list[str]]:
    """Import names by extra, for the extras that parts can ask for."""
    of: dict[str, list[str]] = {}
    for name, extra in EXTRA_OF.items():
        of.setdefault(extra, []).append(name)
    return of


def _extra(extra: str, names: list[str]) -> list[str]:
    missing = [name for name in names if not installed(name)]
    if not missing:
        return [extra, "installed", ""]
    state = "not installed" if len(missing) == len(names) else f"lacks {', '.join(missing)}"
    return [extra, state, f"pip install 'tellapart[{extra}]'"]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
