"""`tellapart export`: a trained model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="A run folder, or the folder of a model.")],
    out: Annotated[Path, typer.Argument(help="Where to write; a new folder.")],
    form: Annotated[str, typer.Option("--form", help="sentence-transformers or onnx.")] = "sentence-transformers",
) -> None:
    """Write a model as a sentence-transformers folder or as ONNX files; equal vectors are checked first."""
    from tellapart.cli import _say
    from tellapart.core.errors import TellapartError
    from tellapart.engine import export as exports
    from tellapart.engine.model import Model

    model = Model.load(run / "model" if (run / "model").is_dir() else run)
    if form == "sentence-transformers":
        cosine = exports.sentence_transformers(model, out)
        _say.out(f"{out}: SentenceTransformer loads it; its vectors agree (lowest cosine {cosine:.6f})")
    elif form == "onnx":
        for side, difference in exports.onnx(model, out).items():
            _say.out(f"{out}: {side}, largest difference {difference:.1e}")
    else:
        raise TellapartError(f"--form is sentence-transformers or onnx, not {form!r}")
