"""`tellapart serve`: the page and the HTTP API over a run."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Annotated

import typer

from tellapart.core.errors import TellapartError

ANY = ("0.0.0.0", "::")


def serve(
    run: Annotated[Path, typer.Option("--run", help="The folder of a run.")] = Path("runs/latest"),
    host: Annotated[
        str, typer.Option("--host", help="The address to listen at; 0.0.0.0 is all of them.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    open: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve the page and the HTTP API of a run until Ctrl-C."""
    serve_page(run, host=host, port=port, open=open)


def serve_page(run: Path, *, host: str = "127.0.0.1", port: int = 0, view: str = "search", open: bool = False) -> None:
    """Serve a run until Ctrl-C; `view` is what a browser is opened at, and the address that is told."""
    from tellapart.cli._say import out
    from tellapart.core.needs import require

    for name in ("fastapi", "uvicorn", "python_multipart"):
        require(name, "tellapart serve")
    import uvicorn

    from tellapart.server.app import LOCAL, create_app

    listening = listen(host, port)
    with listening:
        address = f"http://{shown(host)}:{listening.getsockname()[1]}{'' if view == 'search' else f'/?view={view}'}"
        app = create_app(run, hosts=("*",) if host in ANY else (*LOCAL, host, shown(host)), marking=host not in ANY)
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", server_header=False, timeout_graceful_shutdown=3, limit_concurrency=256
            )
        )
        out(f"{run} is served at {address} (Ctrl-C stops it)")
        if host in ANY:
            out("Everyone who can reach this machine can search the collection and see its pictures.")
        if open:
            import webbrowser

            webbrowser.open(address)
        # uvicorn shuts down in order and then passes the signal on
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    out("stopped")


def shown(host: str) -> str:
    """The host as it stands in an address that a browser on this machine can open."""
    if host in ANY:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address; one that is taken or cannot be had is answered in words."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise TellapartError(f"--host {host}: there is no such address; 127.0.0.1 is this machine alone") from None
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(address)
    except OSError as error:
        made.close()
        if isinstance(error, PermissionError):
            reason = "this port is only for the administrator; take one above 1023"
        else:
            reason = "the port is taken; stop what listens there, or give another with --port (0 takes a free one)"
        raise TellapartError(f"cannot listen at {shown(host)}:{port}: {reason}") from None
    return made
