"""The threads in which requests are computed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tellapart.server.limits import WAITING, BusyError

WORKERS = 2

T = TypeVar("T")


class Workers:
    """A bounded number of threads with a bounded number of requests waiting for them."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="tellapart")
        self.pictures = ThreadPoolExecutor(WORKERS, thread_name_prefix="tellapart-picture")
        self.confusions = ThreadPoolExecutor(1, thread_name_prefix="tellapart-confusions")
        self.waiting = 0

    async def run(self, pool: ThreadPoolExecutor, call: Callable[..., T], *args: Any, **options: Any) -> T:
        """Run in a thread of the pool; refuse when too many wait already."""
        if self.waiting >= WAITING:
            raise BusyError("the server is busy; try again in a moment")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, lambda: call(*args, **options))
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Let what runs finish and take nothing more."""
        for pool in (self.pool, self.pictures, self.confusions):
            pool.shutdown(wait=False, cancel_futures=True)
