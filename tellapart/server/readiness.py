"""Whether this process should be asked: not before it is warm, not while it stops, not while its database is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Iterator
from typing import Any

from tellapart.core.errors import TellapartError
from tellapart.server.service import Service

ASKED_AGAIN = 1.0
PATIENCE = 3.0

log = logging.getLogger("tellapart.server")


class Readiness:
    """What `/api/ready` tells."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.warm = False
        self.stopping = False
        self._asked = -ASKED_AGAIN
        self._away = ""
        self._asking: asyncio.Task[None] | None = None

    def warm_up(self) -> None:
        """Do once what the first search would have to wait for: read the model and touch the index."""
        try:
            if "text" in self.service.asking.reads:
                self.service.search("warm up", k=1)
            elif found := self.service.search(k=1).results:
                self.service.search(like=[found[0].id], k=1)
        except TellapartError as error:
            # whoever asks is told the same; that the server can answer so much is enough
            log.warning("warming up: %s", error)
        except Exception as error:
            log.error("warming up failed", exc_info=error)
        self.warm = True

    async def reason(self) -> str:
        """Why nothing should be asked now; empty when all is well."""
        if self.stopping:
            return "the server stops"
        if not self.warm:
            return "the server warms up"
        if time.monotonic() - self._asked >= ASKED_AGAIN:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
            done, _ = await asyncio.wait((self._asking,), timeout=PATIENCE)
            if not done:
                return "the index does not answer"
        return self._away

    async def _ask(self) -> None:
        """Whether the index answers; one in this process always does."""
        ready: Any = getattr(self.service.index, "ready", None)
        try:
            if ready is not None:
                await asyncio.to_thread(ready)
            self._away = ""
        except TellapartError as error:
            self._away = str(error)
        except Exception as error:
            log.error("asking the index failed", exc_info=error)
            self._away = "the index does not answer"
        self._asked = time.monotonic()

    @contextlib.contextmanager
    def told_of_signals(self) -> Iterator[None]:
        """From the signal to stop on, this process is not ready; what it was for before goes on as it does."""
        before: dict[int, Any] = {}

        def stop(number: int, frame: Any) -> None:
            self.stopping = True
            if callable(before[number]):
                before[number](number, frame)

        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                before[number] = signal.getsignal(number)
                signal.signal(number, stop)
        except ValueError:
            # not the main thread: nobody signals to it
            before.clear()
        try:
            yield
        finally:
            self.stopping = True
            for number, handler in before.items():
                signal.signal(number, handler)
