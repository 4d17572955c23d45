"""Whether what stands far inside a long text is found: pass keys at known depths of texts of known lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import part
from tellapart.core.report import Figure, Report, Table, Text

_FEWEST_WORDS, _FEWEST_TEXTS, _LIKELY = 500, 50, ("positive", "text", "gloss", "body", "anchor", "caption")
_SYLLABLES = tuple(a + b for a in "bdfgklmnprstv" for b in "aeiou")


@part(
    paper="Zhu et al., LongEmbed: Extending Embedding Models for Long Context Retrieval, EMNLP 2024",
    place="audit",
    system="longembed",
    traits=("encoder",),
    aliases=("passkey",),
)
def longembed(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    shortest: Annotated[int, Field(ge=32, le=32_768)] = 128,
    lengths: Annotated[int, Field(ge=1, le=10)] = 4,
    depths: Annotated[int, Field(ge=1, le=20)] = 5,
    texts: Annotated[int, Field(ge=2, le=200)] = 10,
    column: str = "",
) -> Report:
    """What an encoder finds of a long text, by the length of the text and by how deep in it the answer stands.

    Formula: texts of `shortest`, twice, four times … so many words are put together from the collection's own texts,
    `texts` of them for each of `depths` depths. Each holds one sentence, "The pass key of NAME is NUMBER.", at its
    depth, and each is asked for by "What is the pass key of NAME?" among all texts of its length. Names and numbers are
    drawn and belong to one text, so the truth is known. A query counts 1 where its text comes first by cosine; of
    several that tie, its share: accuracy = mean over texts of [own cosine is the greatest] / number that tie.

    Of the paper this is the pass key task (there 50 queries among 100 texts of 256 to 32,768 tokens; lengths are
    counted in words here, which any encoder shares). Its other tasks are data sets: `tellapart run FOLDER` reads them.

    Use it before long texts are indexed: what is cut is never found, and is said here. Where accuracy falls with the
    length alone, the text is too much for one vector: try `parallel-windows` with `index=maxsim`. Where it falls with
    the depth, the end is not read.

    Relations: `grouped-positions`, `recurrent-positions`, `interpolated-positions` and `parallel-windows` read longer.

    Args:
        vectors: `encoder` gives `query(texts)` and `document(texts)`, [n, d] unit vectors or a list of [t, d] (then
            they are compared by MaxSim), and counts in `cut` the texts that were longer than it reads.
        collection: a column of texts to put together.
        column: which; empty: the first of those that hold texts.

    Raises `DataError` without an encoder, for one that gives no finite vectors, or for too few texts.
    """
    encoder = vectors.get("encoder")
    if encoder is None:
        raise DataError("a text encoder is needed: longembed asks a run whose sides are both texts")
    if len(collection) < _FEWEST_TEXTS:
        raise DataError(f"{len(collection)} items are too few to put long texts together: give {_FEWEST_TEXTS} or more")
    rng = np.random.default_rng(seed)
    words = _words(collection, column, rng)
    report = Report("Long texts", facts={"seed": seed, "texts of a length": texts * depths})
    heat, found = [], np.zeros((lengths, depths * texts))
    for row in range(lengths):
        length = shortest * 2**row
        made, asked, before = *_made(words, length, depths, texts, rng), int(encoder.cut)
        q, k = encoder.query(asked), encoder.document(made)
        cut = int(encoder.cut) - before
        found[row] = _first(_scores(q, k, len(made)))
        ends = redraw.interval(redraw.mean(found[row]), np.arange(len(made)), seed=seed)
        report.add(Figure(f"found first, {length} words", float(found[row].mean()), *ends, count=len(made)))
        if cut:
            report.add(Text(f"{cut} of {len(made)} texts of {length} words are longer than is read: cut", "warn"))
        heat.append([f"{length} words", *(f"{x:.2f}" for x in found[row].reshape(depths, texts).mean(1)), f"{cut}"])
    columns = ["length", *(f"depth {(d + 0.5) / depths:.0%}" for d in range(depths)), "cut"]
    note = (
        f"by chance {1 / (texts * depths):.2f}; {texts} texts a cell, found among the {texts * depths} of their length"
    )
    return report.add(Table("Found first, by length and depth", columns, heat, note))


def _made(
    words: np.ndarray, length: int, depths: int, texts: int, rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    """Texts with a pass key each, depth after depth, and the questions for them."""
    made: list[str] = []
    asked: list[str] = []
    names: set[str] = set()
    while len(made) < depths * texts:
        name = "".join(rng.choice(_SYLLABLES, 3)).capitalize()
        if name in names:
            continue
        names.add(name)
        start = int(rng.integers(0, len(words)))
        around = np.take(words, np.arange(start, start + length), mode="wrap").tolist()
        at = round((len(made) // texts + 0.5) / depths * length)
        key = f"The pass key of {name} is {rng.integers(10_000, 100_000)}."
        made.append(" ".join([*around[:at], key, *around[at:]]))
        asked.append(f"What is the pass key of {name}?")
    return made, asked


def _words(collection: Collection, column: str, rng: np.random.Generator) -> np.ndarray:
    """The words of the collection's texts, the texts in a drawn order."""
    able = [name for name in ([column] if column else _LIKELY) if name in collection.columns]
    if not able:
        raise DataError(f"there is no column of texts; name one of {', '.join(collection.columns)} by column=")
    values = [v for v in collection.values(able[0]) if isinstance(v, str)]
    words = [word for n in rng.permutation(len(values)) for word in values[n].split()]
    if len(words) < _FEWEST_WORDS:
        raise DataError(f"the column {able[0]} holds {len(words)} words: at least {_FEWEST_WORDS} are needed")
    return np.asarray(words, dtype=object)


def _scores(q: Any, k: Any, count: int) -> np.ndarray:
    """[n, n] cosines, or MaxSim where both are lists of several vectors a text."""
    if not isinstance(k, list):
        return _checked(q, count) @ _checked(k, count).T
    if len(q) != count or len(k) != count:
        raise DataError(f"the encoder must give {count} matrices of vectors, not {len(q)} and {len(k)}")
    return np.asarray([[(_checked(a, len(a)) @ _checked(b, len(b)).T).max(1).mean() for b in k] for a in q])


def _checked(z: Any, count: int) -> np.ndarray:
    z = np.asarray(z, dtype=np.float64)
    if z.ndim != 2 or len(z) != count or not np.isfinite(z).all():
        raise DataError(f"the encoder must give {count} finite vectors, not {z.shape}")
    return z


def _first(scores: np.ndarray) -> np.ndarray:
    """[n] 1 where a query's own text is first, its share of those that tie, or 0."""
    own = np.diag(scores)[:, None]
    ahead, tied = (scores > own + 1e-9).sum(1), (np.abs(scores - own) <= 1e-9).sum(1)
    return np.where(ahead == 0, 1 / tied, 0.0)
