"""A server in a thread of this process, for tests that ask it over HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

PATIENCE = 20


@contextlib.contextmanager
def serving(service, **options):
    """The address of a server over a service or an application, in a thread of this process until the block ends."""
    import uvicorn
    from fastapi import FastAPI

    from tellapart.server.app import create_app

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = service if isinstance(service, FastAPI) else create_app(service, **options)
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            begun = time.monotonic()
            while not server.started:
                assert thread.is_alive() and time.monotonic() - begun < PATIENCE, "the server did not start"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
