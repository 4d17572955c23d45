"""The command line as a process: `tellapart`, or `python -m tellapart`."""

from __future__ import annotations

import gc
import signal

NEW_OBJECTS = 50_000


def main() -> None:
    """Run it; Ctrl-C while it is still being imported ends it without a word, as nothing has been begun."""
    # With Python's own threshold, the collections while libraries load find nothing and take a tenth of the start.
    gc.set_threshold(NEW_OBJECTS)
    usual = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tellapart.cli import main as run

    signal.signal(signal.SIGINT, usual)
    run()


if __name__ == "__main__":
    main()
