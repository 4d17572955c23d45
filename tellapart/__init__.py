"""A search and a classifier you can trust on a collection you have, and which published methods help on it.

Every name here is imported when it is first used, so that `import tellapart` costs nothing and needs no torch.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from tellapart.core.version import VERSION as __version__

_HOME = {
    "Client": "tellapart.client",
    "Collection": "tellapart.core.collection",
    "Encoded": "tellapart.core.encoded",
    "Hits": "tellapart.core.hits",
    "Model": "tellapart.engine.model",
    "Recipe": "tellapart.recipe",
    "Relation": "tellapart.core.relation",
    "Report": "tellapart.core.report",
    "TellapartError": "tellapart.core.errors",
    "audit": "tellapart.auditing",
    "classify": "tellapart.apply",
    "compare": "tellapart.compare",
    "curate": "tellapart.data.identity",
    "detect": "tellapart.apply",
    "embed": "tellapart.engine.embed",
    "evaluate": "tellapart.runs",
    "explain": "tellapart.catalogue",
    "fit": "tellapart.engine.fit",
    "index": "tellapart.engine.indexing:build",
    "make": "tellapart.core.parts",
    "mine": "tellapart.engine.mine",
    "part": "tellapart.core.parts",
    "parts": "tellapart.catalogue",
    "read": "tellapart.data.sources",
    "run": "tellapart.run",
    "search": "tellapart.server.search",
    "select": "tellapart.apply",
    "serve": "tellapart.cli.serve",
    "split": "tellapart.data.splits",
    "why": "tellapart.runs",
}

__all__ = ["__version__", *sorted(_HOME)]


class _Facade(ModuleType):
    """The package. Several verbs share their name with the module they live in (`run`, `compare`, `parts`); importing
    such a module would otherwise put it in the place of the verb."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'tellapart' has no attribute {name!r}")
        module, _, own = _HOME[name].partition(":")
        value = getattr(importlib.import_module(module), own or name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_HOME})


sys.modules[__name__].__class__ = _Facade
