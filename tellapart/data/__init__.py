"""Reading, curating and splitting of collections. The names below are looked up when first used."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "read": "sources",
    "documents": "sources",
    "curate": "identity",
    "links": "groups",
    "split": "splits",
    "leaks": "splits",
    "completed": "given",
    "open_image": "images",
    "thumbnail": "images",
    "problems_table": "problems",
    "summary": "problems",
    "about": "provenance",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"tellapart.data.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOME)
