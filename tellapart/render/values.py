"""Plain data: what strict JSON takes, and numbers as people read them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from tellapart.core.report import Figure

MISSING = "–"


def dumps(value: Any) -> str:
    """Indented JSON without NaN or infinity."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Dicts, lists, text, numbers, booleans and None; what is not finite is None, what is unknown becomes its text."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return value.as_posix() if isinstance(value, Path) else str(value)


def number(value: Any, *, signed: bool = False) -> str:
    """A number with as many digits as are of use: 1,234; 0.123; 0.0004; 1.2e-05; one that is not finite is a dash."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        text = f"{value:,}"
    else:
        value = float(value)
        if not math.isfinite(value):
            return MISSING
        size = abs(value)
        if size >= 1000:
            text = f"{value:,.0f}"
        elif size >= 100:
            text = f"{value:.1f}"
        elif size >= 10:
            text = f"{value:.2f}"
        elif size >= 0.001 or value == 0:
            text = f"{value:.3f}"
        elif size >= 0.0001:
            text = f"{value:.4f}"
        else:
            text = f"{value:.1e}"
    text = text.replace("-", "\N{MINUS SIGN}") if text.startswith("-") else text
    return f"+{text}" if signed and value > 0 else text


def interval(figure: Figure, *, signed: bool = False) -> str:
    """`[0.101, 0.145]`, or nothing where there is none."""
    if figure.low is None or figure.high is None:
        return ""
    return f"[{number(figure.low, signed=signed)}, {number(figure.high, signed=signed)}]"


def cell(value: Any, *, signed: bool = False) -> str:
    """A cell of a table as text."""
    if value is None:
        return MISSING
    if isinstance(value, Figure):
        unit = f" {value.unit}" if value.unit else ""
        return " ".join(t for t in (number(value.value, signed=signed) + unit, interval(value, signed=signed)) if t)
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, int | float):
        return number(value, signed=signed)
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {cell(v)}" for k, v in value.items() if v not in ("", None))
    if isinstance(value, list | tuple):
        return (" · " if any(isinstance(v, Mapping) for v in value) else ", ").join(cell(v) for v in value)
    return str(value)


def is_number(value: Any) -> bool:
    """Whether a cell is set flush right."""
    return isinstance(value, Figure) or (isinstance(value, int | float) and not isinstance(value, bool))


def is_difference(column: str) -> bool:
    """Whether the numbers of a column are differences, shown with their sign about zero."""
    return "difference" in column.lower()


def printable(text: str) -> str:
    """Text without the control characters that could drive a terminal."""
    return "".join(
        c if c in "\n\t" or (c.isprintable() or c == "\N{ZERO WIDTH JOINER}") else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )
