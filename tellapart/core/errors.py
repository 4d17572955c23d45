"""What a user can get wrong, each as one exception whose message says what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TellapartError(Exception):
    """A mistake that can be explained in words; the command line prints it without a traceback."""


class PartError(TellapartError, ValueError):
    """An unknown part, an unknown option, a value out of bounds, or a part that cannot be used here."""


class DataError(TellapartError, ValueError):
    """A collection that cannot be read or that lacks what a step needs."""


class BackendAwayError(DataError):
    """A database that does not answer now; the call may be tried again, and nothing has to be started anew for it."""


class MissingExtraError(TellapartError, ImportError):
    """A library that an optional part needs is not installed."""


def near(name: str, known: Iterable[str]) -> str:
    """A clause that names the closest known words, or all of them when there are few."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if not known:
        return "there are none."
    shown = ", ".join(known[:12])
    return f"known: {shown}{', …' if len(known) > 12 else ''}"
