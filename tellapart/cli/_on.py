"""Where work in pieces is done: the options `--on`, `--ray-address` and `--workers` of every verb that has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer

from tellapart.core.errors import TellapartError

Place = Annotated[
    Literal["here", "ray"], typer.Option("--on", help="Who does what goes in pieces: this process, or workers on Ray.")
]
Address = Annotated[
    str,
    typer.Option("--ray-address", help="host:port of a Ray cluster, or auto; empty: RAY_ADDRESS, or one of its own."),
]
Workers = Annotated[int, typer.Option("--workers", help="Workers on Ray; 0: one a core.", min=0)]


@contextmanager
def on(place: str, address: str, workers: int) -> Iterator[None]:
    """Do what is done in pieces in the block there.

    Raises:
        TellapartError: options of Ray without it, Ray is not installed, or it cannot be reached.
    """
    if place == "here":
        if address or workers:
            raise TellapartError("--ray-address and --workers belong to --on ray")
        yield
        return
    from tellapart.engine.on_ray import on_ray

    with on_ray(address, workers=workers):
        yield
