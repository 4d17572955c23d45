"""A run searched from Python, as the command line and the page search it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tellapart.server.answers import Results
from tellapart.server.by_scorer import BUDGET
from tellapart.server.service import Service


def search(
    words: str = "",
    *,
    run: str | Path = "runs/latest",
    image: str | Path | bytes | None = None,
    like: Sequence[str] = (),
    unlike: Sequence[str] = (),
    where: Mapping[str, Any] | None = None,
    k: int = 10,
    hybrid: bool = False,
    sparse: bool = False,
    rerank: str = "",
    budget: int = BUDGET,
) -> Results:
    """The k nearest items of a run to words, a picture and examples, taken together.

    The run stays open for the next search, until its files change.

    Args:
        run: a run folder.
        image: a picture, as a path or as the bytes of its file.
        like, unlike: ids of items.
        where: conditions on columns, such as `{"label": "fruit"}`.
        hybrid: look for the words as words too, and fuse both lists by their places.
        sparse: look by the learned weights of words of a run with strategy=idf-flops: alone, without running the text
            model; with `hybrid`, in place of full text.
        rerank: a scorer that gives the order of the first `budget` items: `maxsim`, `cross-encoder:FOLDER`, or the
            name of a function that was given by `tellapart.engine.scorers.offer`.

    Raises:
        DataError: no run there, or something that cannot be searched with.
    """
    folder = Path(run)
    files = [folder / "model" / "model.json", folder / "index" / "index.json", folder / "collection"]
    files += [folder / "rank" / "rank.json", folder / "sets" / "sets.json", folder / "fulltext" / "current.json"]
    files.append(folder / "sparse" / "current.json")
    service = _opened(str(folder.resolve()), tuple(f.stat().st_mtime_ns if f.exists() else 0 for f in files))
    picture = Path(image).read_bytes() if isinstance(image, str | Path) else image
    return service.search(words, picture, like, unlike, where, k, hybrid, sparse, rerank, budget)


@functools.lru_cache(maxsize=2)
def _opened(folder: str, seen: tuple[int, ...]) -> Service:
    return Service(folder)
