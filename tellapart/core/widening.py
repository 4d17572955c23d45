"""How far an index looks where that is left to its build: it begins near and goes on while more is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

WIDER = 1.5


def steps(first: int, most: int) -> tuple[int, ...]:
    """`first`, then each half as much again, up to `most`."""
    found = [first]
    while (more := int(WIDER * found[-1] + 0.5)) < most:
        found.append(more)
    return (*found, most)


class Widening:
    """Options of which 0 says that the build chooses, each along `steps` of its own."""

    leaves: ClassVar[Mapping[str, tuple[int, ...]]] = {}

    def __init__(self) -> None:
        self._reached = {name: values[0] for name, values in self.leaves.items()}

    def looks(self, name: str) -> int:
        """What an option says, or what was reached where it says 0."""
        return int(getattr(self, name) or self._reached[name])

    @property
    def chosen(self) -> dict[str, Any]:
        """What was chosen at build, by name."""
        return {name: reached for name, reached in self._reached.items() if not getattr(self, name)}

    def wider(self) -> bool:
        """Look further than before, where that is left to the build; whether that was possible."""
        moved = False
        for name in self.chosen:
            more = [value for value in self.leaves[name] if value > self._reached[name]]
            if more and self._reached[name] < self._most(name):
                self._reached[name], moved = more[0], True
        return moved

    def _most(self, name: str) -> float:
        """Beyond what value an option finds no more."""
        return float("inf")

    def _choose(self, chosen: Mapping[str, Any]) -> None:
        """Take up what `chosen` was when it was saved."""
        for name, values in self.leaves.items():
            reached = chosen.get(name, values[0])
            if not isinstance(reached, int) or not values[0] <= reached <= values[-1]:
                raise ValueError(f"{name} cannot have been chosen as {reached!r}")
            self._reached[name] = reached
