"""What every test may rely on: no network, one thread a library, and no cache or plug-in of the machine's own."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """`with full_disk(n):` no file of this process grows beyond n bytes, so writing fails as on a full disk."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited(most: int) -> Iterator[None]:
        before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        told = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
            signal.signal(signal.SIGXFSZ, told)

    return limited


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """One cache for the session, so that tests neither read nor fill the user's."""
    patch = pytest.MonkeyPatch()
    patch.setenv("TELLAPART_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.delenv("TELLAPART_PARTS", raising=False)
    yield
    patch.undo()
