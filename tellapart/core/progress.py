"""How long work says where it is: stages by name, and within each a count of what is done.

`Progress` is called with (done, total). Where the total is not known, it is what is done so far.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Progress = Callable[[int, int], None]


class Stages(ABC):
    """Where a verb announces its stages; the command line draws them."""

    @abstractmethod
    def stage(self, name: str) -> AbstractContextManager[Progress]:
        """Enter a stage; the callable takes (done, total)."""

    @abstractmethod
    def say(self, text: str) -> None:
        """A line for the reader between stages."""


class Silence(Stages):
    """Nothing is shown."""

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        yield lambda done, total: None

    def say(self, text: str) -> None:
        """Nothing."""
