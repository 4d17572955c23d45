"""Topics named by keywords, and the items of a run that belong to them: what `tellapart topics` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Example, Examples, Report, Table, Text
from tellapart.data.writing import check_writable, write_items
from tellapart.runs import LATEST, Run

MOST_TOPICS, MOST_WORDS, MOST_CHARACTERS = 1000, 100, 200
SHOWN = 12


def topics(
    run: str | Path = LATEST,
    *,
    of: Mapping[str, Sequence[str]],
    part: str = "lbl2vec",
    out: str | Path | None = None,
    stages: Stages | None = None,
) -> Report:
    """Sort the items of a run by topics of one's own, each named by a few words; no labels are needed.

    Words and items are compared in the space of the run's model, so that words find pictures where it reads both.

    Args:
        run: the folder of a run whose model reads text.
        of: by topic, its keywords.
        part: a `classify` part of the trait `topics`, such as `lbl2vec` and `rocchio`.
        out: a .jsonl, .csv or .parquet file for id, topic, cosine with it, and margin to the next of every item.

    Raises:
        DataError: fewer than two topics, one without words, or a model that reads no text.
        PartError: a part of another kind.
    """
    stages = stages or Silence()
    check_writable(out)
    named = checked(of)
    if "unlabelled" not in card_of("classify", parse_spec(part)[0]).traits or not hasattr(
        make("classify", part), "similarity"
    ):
        raise DataError(f"{part} learns no topic from words and items: take lbl2vec or rocchio")
    opened = Run(run, stages=stages)
    if "text" not in opened.model.modalities:
        raise DataError(
            f"the model of {run} reads no text, so it cannot be told a topic in words; run on data with text"
        )
    words = [word for topic in named for word in named[topic]]
    side = "query" if opened.model.sides.query.modality == "text" else "document"
    with stages.stage("read the keywords"):
        x = opened.model.encode_query(words) if side == "query" else opened.model.encode_document(words)
    with opened.searched() as (ids, z):
        z = np.asarray(z)
    y = np.repeat(list(named), [len(named[topic]) for topic in named])
    with stages.stage(f"fit {parse_spec(part)[0]}"):
        fitted = make("classify", part).fit(x, y, unlabelled=z)
    cosine = fitted.similarity(z)
    return _report(opened, np.asarray(ids, object), fitted.classes_, cosine, named, part, out)


def checked(of: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Topics with their words, without repetition and empty ones; `DataError` where that leaves nothing to learn."""
    found = {
        str(topic).strip(): list(dict.fromkeys(w.strip() for w in words if w.strip())) for topic, words in of.items()
    }
    if len(found) < 2:
        raise DataError("give at least two topics: --topic fruit=apple,pear --topic tool=hammer,saw")
    if len(found) > MOST_TOPICS:
        raise DataError(f"at most {MOST_TOPICS} topics are sorted by, and {len(found)} are given")
    for topic, words in found.items():
        if not topic or not words:
            raise DataError(f"the topic {topic!r} has no words: write --topic {topic or 'NAME'}=word,word")
        if len(words) > MOST_WORDS or any(len(w) > MOST_CHARACTERS for w in words):
            raise DataError(f"the topic {topic!r} may have at most {MOST_WORDS} words of {MOST_CHARACTERS} characters")
    return found


def parse(given: Sequence[str]) -> dict[str, list[str]]:
    """`name=word,word` of a command line; a name given twice has the words of both."""
    found: dict[str, list[str]] = {}
    for text in given:
        name, sign, words = text.partition("=")
        if not sign:
            raise DataError(f"--topic {text}: write a name and its words, such as --topic fruit=apple,pear")
        found.setdefault(name.strip(), []).extend(words.split(","))
    return found


def _report(
    opened: Run,
    ids: np.ndarray,
    classes: np.ndarray,
    cosine: np.ndarray,
    named: dict[str, list[str]],
    part: str,
    out: Any,
) -> Report:
    best = cosine.argmax(1)
    two = np.sort(cosine, 1)[:, -2:]
    report = Report(f"{len(ids)} items by {len(classes)} topics: {part}")
    rows: list[list[Any]] = []
    for place, topic in enumerate(classes.tolist()):
        of = np.flatnonzero(best == place)
        near = float(np.median(cosine[of, place])) if len(of) else None
        rows.append([topic, ", ".join(named[topic]), len(of), len(of) / max(len(ids), 1), near])
    columns = ["topic", "keywords", "items", "share", "median cosine"]
    report.add(Table("Topics", columns, rows, note="each item is counted with the topic of greatest cosine"))
    caption = _captions(opened)
    for place, topic in enumerate(classes.tolist()):
        order = np.argsort(-cosine[:, place], kind="stable")[:SHOWN]
        shown = [Example((str(ids[i]),), caption(str(ids[i])), (float(cosine[i, place]),)) for i in order]
        report.add(Examples(f"Nearest to {topic}", shown))
    report.add(
        Text("A cosine says how near, not whether: look at the last items of a topic before you trust it.", "note")
    )
    if out is not None:
        table = {
            "id": ids.tolist(),
            "topic": classes[best].tolist(),
            "cosine": two[:, 1],
            "margin": two[:, 1] - two[:, 0],
        }
        report.add(Text(f"Every item's topic is in {write_items(Collection.of(table), Path(out))}.", "next"))
    report.facts = {"items": len(ids), "topics": len(classes), "part": part}
    return report


def _captions(opened: Run) -> Any:
    found = opened.corpus.documents if opened.corpus is not None else opened.collection
    column = next((c for c in ("text", "caption", "title", "positive", "anchor") if c in found.columns), None)

    def caption(id_: str) -> str:
        said = found.values(column)[found.row_of[id_]] if column is not None else None
        return str(said)[:120] if said else id_

    return caption
