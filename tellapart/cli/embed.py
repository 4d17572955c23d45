"""`tellapart embed`: the vectors of a column, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli import _on
from tellapart.core.errors import DataError, PartError


def embed(
    path: Annotated[str, typer.Argument(help="What run takes: a folder, a file, shards, or the name openmoji.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for vectors.npy and the collection, row by row.")],
    column: Annotated[str, typer.Option("--column", help="Which column; left out: image, series or text.")] = "",
    encoder: Annotated[
        str, typer.Option("--encoder", help="A frozen encoder; left out: lite0, rocket or minilm.")
    ] = "",
    fit: Annotated[
        Path | None,
        typer.Option("--fit", help="First fit the encoder on the items and keep it in this folder, its path=."),
    ] = None,
    on: _on.Place = "here",
    ray_address: _on.Address = "",
    workers: _on.Workers = 0,
) -> None:
    """Embed a column of a collection with a frozen encoder."""
    import numpy as np

    from tellapart.cli._say import out as say
    from tellapart.cli._say import stages
    from tellapart.core.files import placed
    from tellapart.core.parts import make
    from tellapart.data.sources import read
    from tellapart.data.spool import cache_folder
    from tellapart.engine.embed import each_of
    from tellapart.engine.embed import embed as vectors_of
    from tellapart.recipe import usual_encoder

    with stages() as shown:
        with shown.stage("read") as told:
            collection = read(path, progress=told)
        column = column or next((c for c in ("image", "series", "text", "anchor") if c in collection.columns), "")
        if not column:
            raise DataError(f"which column? name one with --column: {', '.join(collection.columns)}")
        made = make("encode", encoder or usual_encoder(column))
        if fit is not None:
            if not hasattr(made, "fit"):
                raise PartError(f"{encoder or usual_encoder(column)} is not fitted on items: leave out --fit")
            with shown.stage("fit"):
                made.fit(each_of(collection, column, made.modality)).save(fit)
            made = make("encode", encoder, path=str(fit))
        with _on.on(on, ray_address, workers), shown.stage(f"embed {column}") as told:
            z = vectors_of(collection, column, made, cache=cache_folder(None, "embeddings"), progress=told)
    collection.save(out)
    with placed(out / "vectors.npy") as sink:
        np.save(sink, z, allow_pickle=False)
    say(f"{len(z):,} vectors of {z.shape[1]} numbers: {out / 'vectors.npy'}; the items, row by row: {out}")
