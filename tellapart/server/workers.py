"""The threads in which requests are computed, and the queue before them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar

from tellapart.server.limits import TIME_LIMIT, WAITING, BusyError, GoneError, TookTooLongError

THREADS = 2
GONE_AFTER = 0.1

T = TypeVar("T")

# whether the client of the request at hand has gone away; set where its messages are read
went_away: ContextVar[Callable[[], Awaitable[bool]] | None] = ContextVar("went_away", default=None)


class Threads:
    """A pool, and whose turn it is: the queue is kept by the event loop, so that it can be left."""

    def __init__(self, count: int, name: str) -> None:
        self.pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self.turn = asyncio.Semaphore(count)


class Workers:
    """A bounded number of threads with a bounded number of requests waiting for them.

    Args:
        time_limit: seconds from the arrival of a request to its answer. What runs then cannot be stopped: it keeps its
            thread, and its place among those that are counted, until it is done.
    """

    def __init__(self, time_limit: float = TIME_LIMIT) -> None:
        self.pool = Threads(THREADS, "tellapart")
        self.pictures = Threads(THREADS, "tellapart-picture")
        self.confusions = ThreadPoolExecutor(1, thread_name_prefix="tellapart-confusions")
        self.time_limit = time_limit
        self.waiting = 0

    async def run(self, threads: Threads, call: Callable[..., T], *args: Any, **options: Any) -> T:
        """Run in a thread.

        Raises:
            BusyError: too many wait already.
            TookTooLongError: the time is over.
            GoneError: the client went away while the request waited.
        """
        if self.waiting >= WAITING:
            raise BusyError("the server is busy; try again in a moment")
        until = time.monotonic() + self.time_limit
        self.waiting += 1
        try:
            if threads.turn.locked():
                await self._wait_for(threads)
            else:
                await threads.turn.acquire()
            job = asyncio.get_running_loop().run_in_executor(threads.pool, lambda: call(*args, **options))
        except BaseException:
            self.waiting -= 1
            raise
        job.add_done_callback(lambda done: self._done(threads, done))
        if not (await asyncio.wait((job,), timeout=max(0.0, until - time.monotonic())))[0]:
            raise self._too_long()
        return job.result()

    async def _wait_for(self, threads: Threads) -> None:
        """Wait for a thread; after a long wait, see whether anybody still waits for the answer."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self.time_limit):
                await threads.turn.acquire()
        except TimeoutError:
            raise self._too_long() from None
        gone = went_away.get()
        try:
            if gone is not None and time.monotonic() - begun > GONE_AFTER and await gone():
                raise GoneError("the client went away")
        except BaseException:
            threads.turn.release()
            raise

    def _too_long(self) -> TookTooLongError:
        return TookTooLongError(
            f"this took longer than {self.time_limit:g} seconds and was given up; ask for less, or try again later"
        )

    def _done(self, threads: Threads, job: asyncio.Future[Any]) -> None:
        self.waiting -= 1
        threads.turn.release()
        if not job.cancelled():
            # whoever still waits is told; where nobody does, the loop shall not complain
            job.exception()

    def close(self) -> None:
        """Let what runs finish and take nothing more."""
        for pool in (self.pool.pool, self.pictures.pool, self.confusions):
            pool.shutdown(wait=False, cancel_futures=True)
