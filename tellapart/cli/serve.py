"""`tellapart serve`: the page and the HTTP API over a run."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from tellapart.core.errors import TellapartError

ANY = ("0.0.0.0", "::")
HERE = "127.0.0.1"


def serve(
    run: Annotated[Path, typer.Option("--run", help="The folder of a run.")] = Path("runs/latest"),
    host: Annotated[
        str, typer.Option("--host", help="The address to listen at; 0.0.0.0 is all of them.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    open: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="How many processes share the port.")] = 1,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="A file of keys; then nobody may search without one.")
    ] = None,
    new_key: Annotated[
        str | None, typer.Option("--new-key", help="Add a key of this name to --keys, print it, and serve nothing.")
    ] = None,
    right: Annotated[str, typer.Option("--right", help="What the new key may do: read, write or admin.")] = "read",
    expires: Annotated[str | None, typer.Option("--expires", help="When the new key ends, such as 2027-01-31.")] = None,
    rate: Annotated[
        float,
        typer.Option("--rate", min=0, help="Requests a second for each key and address (0: any), or for the new key."),
    ] = 0.0,
    time_limit: Annotated[
        float, typer.Option("--time-limit", min=0.1, max=3600, help="Seconds that a request may take.")
    ] = 30.0,
    grace: Annotated[
        float, typer.Option("--grace", min=1, max=3600, help="Seconds that requests have to end at a stop.")
    ] = 10.0,
    log_level: Annotated[
        str | None,
        typer.Option("--log-level", help="debug, info (a line a request), warning or error; info where others come."),
    ] = None,
    open_metrics: Annotated[bool, typer.Option("--open-metrics", help="Show /metrics to everybody.")] = False,
    watch: Annotated[
        str,
        typer.Option(
            "--watch",
            metavar="SCORE",
            help="A score such as knn: queue what comes in and is like nothing stored.",
        ),
    ] = "",
) -> None:
    """Serve the page and the HTTP API of a run until Ctrl-C."""
    if new_key is not None:
        _add_key(keys, new_key, right, expires, rate)
        return
    serve_page(
        run, host=host, port=port, open=open, workers=workers, keys=keys, rate=rate, time_limit=time_limit,
        grace=grace, log_level=log_level, open_metrics=open_metrics, watch=watch,
    )  # fmt: skip


def _add_key(file: Path | None, name: str, right: str, expires: str | None, rate: float) -> None:
    import sys

    from tellapart.cli._say import out
    from tellapart.server.keys import new_key

    if file is None:
        raise TellapartError("--new-key needs --keys FILE, where its hash is kept")
    secret = new_key(file, name, right, expires=expires, rate=rate or None)
    out(secret)
    typer.echo(f"This is the key of {name} ({right}). It is shown only now; {file} holds its hash.", file=sys.stderr)


def serve_page(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    view: str = "search",
    open: bool = False,
    workers: int = 1,
    keys: Path | None = None,
    rate: float = 0.0,
    time_limit: float = 30.0,
    grace: float = 10.0,
    log_level: str | None = None,
    open_metrics: bool = False,
    watch: str = "",
) -> None:
    """Serve a run until Ctrl-C; `view` is what a browser is opened at, and the address that is told."""
    from tellapart.cli._say import out
    from tellapart.core.findings import FILE

    if (run / FILE).is_file() and not (run / "model").is_dir():
        raise TellapartError(
            f"{run} is a curated folder and no run; look at its findings: tellapart curate {run} --review"
        )
    _require()
    from tellapart.server.limits import LOCAL
    from tellapart.server.running import Settings, serve_at

    everywhere = host in ANY
    for_others = everywhere or keys is not None or workers > 1
    settings = Settings(
        run,
        hosts=("*",) if everywhere else (*LOCAL, host, shown(host)),
        marking=not everywhere,
        keys=keys,
        rate=rate,
        time_limit=time_limit,
        open_metrics=open_metrics,
        watch=watch,
        processes=workers,
        grace=grace,
        level=log_level or ("info" if for_others else "warning"),
    )
    with listen(host, port) as listening:
        address = f"http://{shown(host)}:{listening.getsockname()[1]}{'' if view == 'search' else f'/?view={view}'}"

        def opened() -> None:
            out(f"{run} is served at {address} (Ctrl-C stops it)")
            if watch:
                out(f"What is like nothing stored is shown at {address.partition('/?')[0]}/unknown")
            if everywhere:
                have = " and has a key" if keys is not None else ""
                out(f"Everyone who can reach this machine{have} can search the collection and see its pictures.")
            if open:
                import webbrowser

                webbrowser.open(address)

        serve_at(listening, settings, opened)
    out("stopped")


def serve_findings(folder: Path, *, port: int = 0, open: bool = False) -> None:
    """Serve the findings of a curated folder on this machine alone until Ctrl-C."""
    from tellapart.cli._say import out

    _require()
    from tellapart.server.limits import LOCAL
    from tellapart.server.running import Settings, serve_at

    with listen(HERE, port) as listening:
        address = f"http://{HERE}:{listening.getsockname()[1]}"

        def opened() -> None:
            out(f"The findings of {folder} are at {address} (Ctrl-C stops it)")
            if open:
                import webbrowser

                webbrowser.open(address)

        serve_at(listening, Settings(folder, hosts=LOCAL, findings=True), opened)
    out("stopped")


def _require() -> None:
    from tellapart.core.needs import require

    for name in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        require(name, "tellapart serve")


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
