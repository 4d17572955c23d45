"""Questions about captions, made by rules or by a writer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.judging import Judge
from tellapart.core.questions import YES_NO, Question, folded
from tellapart.core.tagging import KINDS, kinds, words_of

_MOST_VALUES, _ENTAILED, _MOST_WORDS = 60, 0.5, 40
_APART = ("id", "split", "group", "near", "target", "image", "version")
_LINE = re.compile(r"^\s*(?:\d+[.)]\s*)?(.+?)\s*\|\s*(.+?)\s*\|\s*(.+?)\s*\|\s*(.+?)\s*$")
_TASK = (
    "Write one question about the picture that this caption describes for each of these words: {words}. Write a line "
    "for each: the word | the question | the answers to choose from, with ; between | the right answer."
)


@dataclass(frozen=True)
class Asked:
    """A question about a caption: its words, which of the answers the caption gives, and what kind of thing it asks."""

    text: str
    answers: tuple[str, ...]
    right: str
    words: tuple[str, ...]
    skill: str
    column: str = ""


def groundable(caption: str) -> list[str]:
    """The words of a caption that a picture can show or not, in small letters, each once."""
    words = words_of(caption)[:_MOST_WORDS]
    shown = [
        w.lower() for w, kind in zip(words, kinds(words), strict=True) if kind in (*KINDS, "number", "preposition")
    ]
    return list(dict.fromkeys(shown))


def values_of(collection: Collection, wanted: Sequence[str], *, but: Sequence[str]) -> dict[str, list[str]]:
    """The different values of the columns that rules ask for; without `wanted`, of all that hold few words."""
    out = {}
    for name in wanted or [c for c in collection.columns if c not in (*_APART, *but)]:
        held = {v for v in collection.values(name) if v is not None and v != ""}
        if wanted or (2 <= len(held) <= _MOST_VALUES and all(isinstance(v, str) for v in held)):
            out[name] = sorted(str(v) for v in held)
    return out


def asked_by_rules(
    captions: Sequence[str], values: Mapping[str, Sequence[str]], choices: int, rng: np.random.Generator, *, words: bool
) -> list[list[Asked]]:
    """Of each caption: a question for every column of which it names a value, the longest that it names; with `words`
    one, yes or no, for every word that is left."""
    sought = {c: sorted(((f" {folded(v)} ", v) for v in vs), key=lambda fv: (-len(fv[0]), fv[1]))
              for c, vs in values.items()}  # fmt: skip
    out = []
    for caption in captions:
        plain, mine = f" {folded(caption)} ", []
        for column, found in sought.items():
            right = next((v for f, v in found if f in plain), None)
            others = [v for v in values[column] if v != right]
            if right is None or not others:
                continue
            chosen = rng.choice(len(others), min(choices - 1, len(others)), replace=False)
            answers = tuple(sorted([right, *(others[i] for i in chosen)]))
            name = column.replace("_", " ")
            mine.append(Asked(f"What is the {name}?", answers, right, tuple(groundable(right)), name, column))
        if words:
            told = {w for a in mine for w in a.words}
            left = [w for w in groundable(caption) if w not in told]
            mine += [Asked(f"Does the picture show this: {w}?", YES_NO, "yes", (w,), kind)
                     for w, kind in zip(left, kinds(left), strict=True)]  # fmt: skip
        out.append(mine)
    return out


def asked_in_words(writer: Judge, captions: Sequence[str]) -> list[list[Asked]]:
    """Of each caption the questions that a writer writes and, asked about the caption alone, answers as it wrote."""
    words = [groundable(caption) for caption in captions]
    said = writer.say(Question(_TASK.format(words=", ".join(w) or "-"), texts=(c,))
                      for c, w in zip(captions, words, strict=True))  # fmt: skip
    made = [_read(text, set(mine)) for text, mine in zip(said, words, strict=True)]
    flat = [(i, a) for i, each in enumerate(made) for a in each]
    sure = writer.chances(Question(a.text, a.answers, texts=(captions[i],)) for i, a in flat)
    out: list[list[Asked]] = [[] for _ in captions]
    for (i, a), p in zip(flat, sure, strict=True):
        if p.sum() > 0 and p[a.answers.index(a.right)] / p.sum() > _ENTAILED:
            out[i].append(a)
    return out


def _read(text: str, known: set[str]) -> list[Asked]:
    """The lines that are questions about a word of the caption, with 2 to 20 answers and the right one among them."""
    out = []
    for line in text.splitlines():
        if (match := _LINE.match(line)) is None:
            continue
        word, question, listed, right = match.groups()
        answers = tuple({folded(a): a.strip() for a in listed.split(";") if folded(a)}.values())
        true = next((a for a in answers if folded(a) == folded(right)), None)
        about = tuple(w for w in groundable(word) if w in known)
        if true is not None and about and 2 <= len(answers) <= 20:
            out.append(Asked(question, answers, true, about, kinds([about[0]])[0]))
    return out
