"""What every test may rely on: no network, one thread a library, and no cache or plug-in of the machine's own."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """One cache for the session, so that tests neither read nor fill the user's."""
    patch = pytest.MonkeyPatch()
    patch.setenv("TELLAPART_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.delenv("TELLAPART_PARTS", raising=False)
    yield
    patch.undo()
