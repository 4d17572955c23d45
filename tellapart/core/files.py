"""Files that stand in their place whole or not at all, and where those are kept that can be made again."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

CACHE_VARIABLE = "TELLAPART_CACHE"


def cache_home() -> Path:
    """Where all is kept that can be made again: `TELLAPART_CACHE`, or `tellapart` in the user's cache folder."""
    own = os.environ.get(CACHE_VARIABLE)
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tellapart"


@contextmanager
def placed(file: Path) -> Iterator[BinaryIO]:
    """Write a file under a name of its own in the same folder; when all is on the disk it takes its place.

    After an error or a kill the old file, if there was one, is as it was. Leftovers of a kill begin with a dot.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}.{time.monotonic_ns()}")
    try:
        with part.open("xb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(part, file)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is None and str(error).endswith(" written"):
            # numpy tells of a write that came up short without saying why; no room is why.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file)) from None
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(file)
        raise


def write_atomically(file: Path, content: bytes) -> None:
    """Put these bytes in the place of a file; the folder must exist."""
    with placed(file) as sink:
        sink.write(content)
