"""What an audit has to show for a check to pass, as a TOML file.

    # audit.toml
    clear = 0                                            # findings that may be clear; without the line: any number
    [figures]
    "mmvp: pair accuracy on A, blind" = { at_least = 0.6 }
    "slices: skin_tone=dark" = { at_least = -0.05, surely = true }
    [against]
    model = "runs/before"
    loss = 0.02                                          # of any finding, where the paired interval leaves out 0

A figure fails where it is beyond its bound; with `surely`, where its whole interval is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tellapart.core.errors import TellapartError, near
from tellapart.core.report import Figure
from tellapart.core.strict_toml import read_toml


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Bound(_Strict):
    """Between what a figure has to lie."""

    at_least: float | None = None
    at_most: float | None = None
    surely: bool = False

    @model_validator(mode="after")
    def _one_at_least(self) -> Bound:
        if self.at_least is None and self.at_most is None:
            raise ValueError("write at_least or at_most")
        return self

    def holds(self, figure: Figure) -> bool:
        """Whether the figure, or with `surely` any of its interval, lies within."""
        low, high = figure.value, figure.value
        if self.surely and figure.low is not None and figure.high is not None:
            low, high = figure.low, figure.high
        above = self.at_least is None or high >= self.at_least
        return above and (self.at_most is None or low <= self.at_most)

    def __str__(self) -> str:
        said = [f"{word} {value}" for word, value in (("at least", self.at_least), ("at most", self.at_most))
                if value is not None]  # fmt: skip
        return " and ".join(said) + (", surely" if self.surely else "")


class Against(_Strict):
    """A model that must not be worse by more than a loss."""

    model: str
    loss: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True)
class Line:
    """One line of a gate, judged."""

    name: str
    found: Figure | int
    wanted: str
    holds: bool


class Gate(_Strict):
    """All that has to hold."""

    clear: Annotated[int, Field(ge=0)] | None = None
    figures: dict[str, Bound] = {}
    against: Against | None = None

    def judged(
        self, figures: Mapping[str, Figure], clear: list[str], compared: Mapping[str, tuple[Figure, str]]
    ) -> list[Line]:
        """Every line with what was found.

        Args:
            figures: by part and name, `part: name`. clear: names of the clear findings.
            compared: of every finding the difference to the other model, and which direction is better.

        Raises:
            TellapartError: a figure that the audit did not give: a check that checks nothing does not pass.
        """
        lines = []
        if self.clear is not None:
            lines.append(Line("clear findings", len(clear), f"at most {self.clear}", len(clear) <= self.clear))
        for name, bound in self.figures.items():
            if name not in figures:
                raise TellapartError(f"the gate asks for {name!r}, which the audit did not give; {near(name, figures)}")
            lines.append(Line(name, figures[name], str(bound), bound.holds(figures[name])))
        if self.against is not None:
            wanted = f"no worse than there by more than {self.against.loss}"
            for name, (difference, better) in compared.items():
                sign = 1.0 if better == "higher" else -1.0
                worse = sign * difference.value < -self.against.loss
                best = difference.high if better == "higher" else difference.low
                sure = best is not None and sign * best < 0
                lines.append(Line(f"against: {name}", difference, wanted, not (worse and sure)))
        return lines


def read_gate(file: str | Path) -> Gate:
    """The gate in a TOML file.

    Raises:
        TellapartError: no such file, or not what it has to be; the message says where.
    """
    missing = f"there is no gate {file}; docs/auditing.md shows what to write into one"
    return read_toml(Path(file), Gate, what="gate", missing=missing)
