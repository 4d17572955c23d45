"""TOML files that somebody writes by hand, checked against a model, with the place named where they are wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tellapart.core.errors import TellapartError

MOST_BYTES = 1_000_000

Made = TypeVar("Made", bound=BaseModel)


def read_toml(
    file: Path,
    made: type[Made],
    *,
    what: str,
    missing: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> Made:
    """The model that a TOML file describes.

    Args:
        made: what it is checked against.
        what: as a message calls such a file; missing: the message where there is none.
        before, after: values of the model that the file may say otherwise, and that it may not.

    Raises:
        TellapartError: no such file, one that is too large, no TOML, or not what the model takes.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise TellapartError(f"{file} is too large to be a {what}")
        held = tomllib.loads(file.read_text(encoding="utf-8"))
        return made.model_validate({**(before or {}), **held, **(after or {})})
    except FileNotFoundError:
        raise TellapartError(missing) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TellapartError(f"{file} is no TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(place) for place in first["loc"]) or "it"
        raise TellapartError(f"{file}: {where}: {first['msg']}") from None
