"""How often somebody may ask: a token bucket for each, shared by all processes of a server."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SLOTS = 2**20
SECONDS_SAVED = 2.0
_MOMENT = struct.Struct("=d")


class Rates:
    """Token buckets, each kept as one number: the moment at which it will be full again.

    A bucket takes two seconds' worth of requests (at least one), so short bursts pass. Who asks has a slot of a
    memory-mapped file by the hash of their name; two who share one of the million slots share a bucket.

    Args:
        file: what all processes of a server share; None: a file of its own.
        clock: seconds, the same for all processes.
    """

    def __init__(self, file: Path | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        with contextlib.ExitStack() as opened:
            if file is None:
                handle = opened.enter_context(tempfile.TemporaryFile())
                handle.truncate(SLOTS * _MOMENT.size)
            else:
                handle = opened.enter_context(file.open("r+b"))
            self._map = mmap.mmap(handle.fileno(), SLOTS * _MOMENT.size)
            self._lock = os.dup(handle.fileno())

    def wait(self, who: str, rate: float) -> float:
        """Take a token; 0.0 where there was one, else the seconds until there will be."""
        slot = int.from_bytes(hashlib.blake2b(who.encode(), digest_size=8).digest(), "little") % SLOTS
        at = slot * _MOMENT.size
        saved = max(1.0 / rate, SECONDS_SAVED)
        with _locked(self._lock, at):
            now = self._clock()
            # a moment of another life of the machine lies ahead of all that this one can reach
            full = min(max(_MOMENT.unpack_from(self._map, at)[0], now), now + saved) + 1.0 / rate
            missing = full - now - saved
            if missing > 1e-9:
                return missing
            _MOMENT.pack_into(self._map, at, full)
        return 0.0

    def close(self) -> None:
        """Give the file back."""
        self._map.close()
        os.close(self._lock)


def make_file(file: Path) -> Path:
    """An empty file of buckets, of which only what is used takes room."""
    with file.open("wb") as handle:
        handle.truncate(SLOTS * _MOMENT.size)
    return file


@contextlib.contextmanager
def _locked(handle: int, at: int) -> Iterator[None]:
    """No other process is at this slot; where the system has no such locks, one may be."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    fcntl.lockf(handle, fcntl.LOCK_EX, _MOMENT.size, at)
    try:
        yield
    finally:
        fcntl.lockf(handle, fcntl.LOCK_UN, _MOMENT.size, at)
