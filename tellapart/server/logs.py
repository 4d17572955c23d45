"""What the server logs: one JSON object a line, and nothing of what people ask for."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any

LEVELS = ("debug", "info", "warning", "error")


class Lines(logging.Formatter):
    """A record as one line of JSON; `extra={"facts": {...}}` are fields of it.

    Of an exception, the kinds and the lines of code are told. What it says may hold what somebody asked for: that is
    told at the level `debug` alone.
    """

    def __init__(self, level: str = "info") -> None:
        super().__init__()
        self.tells_all = level == "debug"

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        facts = getattr(record, "facts", None)
        if facts is None:
            line["message"] = record.getMessage()
        else:
            line |= facts
        if record.exc_info and record.exc_info[1] is not None:
            line["traceback"] = _told(record.exc_info[1], self.tells_all)
        return json.dumps(line, ensure_ascii=False)


def _told(error: BaseException, tells_all: bool) -> str:
    lines: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        frames = "".join(traceback.format_tb(seen.__traceback__))
        lines.append(f"{frames}{type(seen).__name__}{f': {seen}' if tells_all else ''}")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\ncaused by\n".join(lines)


def config(level: str) -> dict[str, Any]:
    """For `logging.config.dictConfig`: everything of the server goes to the error stream, one line each."""
    names = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR"}
    own = {"handlers": ["lines"], "level": names[level], "propagate": False}
    # uvicorn's own lines tell of every start and stop
    uvicorn = own | {"level": "INFO" if level == "debug" else "ERROR" if level == "error" else "WARNING"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": "tellapart.server.logs.Lines", "level": level}},
        "handlers": {"lines": {"class": "logging.StreamHandler", "formatter": "lines", "stream": "ext://sys.stderr"}},
        "loggers": {"tellapart.server": own, "uvicorn": uvicorn},
    }
