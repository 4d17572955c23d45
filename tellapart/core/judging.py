"""Judges, captioners and writers of questions: whoever answers questions about items, found by spec.

- `columns`: nobody; the answer stands in a column of the collection, which a question names (rules of known truth).
- `local:FOLDER`: a language model, with or without pictures, in a folder of the library transformers.
- `http://HOST/v1` or `https://HOST/v1`: a server that speaks the OpenAI protocol; `#MODEL` behind it names the model.
- a name that a program has given a function of its own by `offer`.

A captioner is a judge that is asked for words (`say`) about pictures, and a writer of questions one that is asked about
texts. No spec names code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, final

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.questions import LONGEST, MOST_ANSWERS, MOST_PICTURES, YES_NO, Answered, Answerer, Question, folded

COLUMNS, BLOCK = "columns", 32
_BUILT_IN = (COLUMNS, "local", "http", "https")


class Backend(Protocol):
    """What stands behind a judge. Of a question with answers: {answer: probability}; of others: words."""

    def __call__(self, questions: Sequence[Question]) -> Sequence[Answered]: ...


@final
class Judge:
    """Asks whatever stands behind it, in blocks, and checks what it says.

    Attributes:
        name: as a report names it; without a key.
        asked: how many questions it was asked.
    """

    def __init__(self, name: str, backend: Backend) -> None:
        self.name, self._backend, self.asked = name, backend, 0

    def chances(self, questions: Iterable[Question]) -> list[np.ndarray]:
        """For each question [answers] probabilities, 0 or more, whose sum is at most 1.

        What is missing to 1 is what was said that is none of the answers; all are 0 where nothing was said.
        Questions may be made one by one (a generator): so many pictures need not be open at once.

        Raises:
            DataError: a question without answers, or one that the judge cannot be asked.
            PartError: the judge gives what is no answer, cannot be loaded, or cannot be reached.
        """
        return [_chances(question, said, self.name) for question, said in self._told(questions, choice=True)]

    def say(self, questions: Iterable[Question]) -> list[str]:
        """What it says to each question in words; "" where it says nothing. Errors as in `chances`."""
        out = []
        for _, said in self._told(questions, choice=False):
            if not isinstance(said, str | None):
                raise PartError(f"{self.name} gave {type(said).__name__} where words were asked for")
            out.append((said or "").strip()[:LONGEST])
        return out

    def _told(self, questions: Iterable[Question], *, choice: bool) -> Iterator[tuple[Question, Answered]]:
        left = iter(questions)
        while block := list(islice(left, BLOCK)):
            for question in block:
                _check(question, choice=choice)
            said = list(self._backend(block))
            if len(said) != len(block):
                raise PartError(f"{self.name} was asked {len(block)} questions and answered {len(said)}")
            self.asked += len(block)
            yield from zip(block, said, strict=True)


_offered: dict[str, Answerer] = {}


def offer(name: str, answer: Answerer) -> None:
    """Give this process a judge of its own: `judge='NAME'` then asks it.

    Args:
        name: lower case, digits and hyphens.
        answer: `answer(question)`: one of the question's answers, {answer: probability}, words where there are no
            answers, or None where it cannot say.

    Raises:
        PartError: a name that cannot be one, or what is no function.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or name in _BUILT_IN:
        raise PartError(f"{name!r} cannot name a judge: take lower case letters, digits and hyphens, none built in")
    if not callable(answer):
        raise PartError(f"the judge {name} is no function of a question")
    _offered[name] = answer


def open_judge(spec: str, collection: Collection | None = None) -> Judge:
    """The judge of a spec.

    Args:
        collection: whose columns `columns` reads.

    Raises:
        PartError: there is none of that name, or its folder or address cannot be one.
    """
    kind, colon, rest = spec.partition(":")
    if spec == COLUMNS:
        if collection is None:
            raise PartError("the judge columns reads a collection, and was given none")
        return Judge(COLUMNS, _columns(collection))
    if kind == "local" and colon:
        from tellapart.core.judging_local import LocalModel

        return Judge(spec, LocalModel(rest))
    if kind in ("http", "https") and colon:
        from tellapart.core.judging_server import Server

        server = Server(spec)
        return Judge(server.address, server)
    if spec in _offered:
        answer = _offered[spec]
        return Judge(spec, lambda questions: [answer(question) for question in questions])
    raise PartError(
        f"there is no judge {spec!r}: use columns, local:FOLDER, http://HOST/v1, or a function of your own that was "
        "given by tellapart.core.judging.offer in this process"
    )


def _columns(collection: Collection) -> Backend:
    cells: dict[str, list[Any]] = {}

    def answered(question: Question) -> str | None:
        if not question.column:
            raise DataError(f"the judge columns cannot answer {question.text!r}: the question names no column")
        if question.column not in cells:
            if question.column not in collection.columns:
                raise DataError(f"there is no column {question.column!r}; there are {', '.join(collection.columns)}")
            cells[question.column] = collection[question.column].to_pylist()
        if question.item not in collection.row_of:
            raise DataError(f"the question is about {question.item!r}, which is no item of the collection")
        cell = cells[question.column][collection.row_of[question.item]]
        held = [str(c) for c in (cell if isinstance(cell, list) else [cell]) if c is not None and str(c) != ""]
        if not held:
            return None
        if question.value:
            return YES_NO[0] if folded(question.value) in {folded(h) for h in held} else YES_NO[1]
        return ", ".join(held)

    return lambda questions: [answered(question) for question in questions]


def _check(question: Question, *, choice: bool) -> None:
    what = repr(question.text[:60])
    if not question.text.strip() or len(question.text) + sum(map(len, question.texts)) > LONGEST:
        raise DataError(f"a question has 1 to {LONGEST:,} letters with its texts: {what}")
    if len(question.pictures) > MOST_PICTURES:
        raise DataError(f"a question is about at most {MOST_PICTURES} pictures: {what}")
    if not choice:
        return
    names = [folded(answer) for answer in question.answers]
    if not 2 <= len(names) <= MOST_ANSWERS or len(set(names)) < len(names) or not all(names):
        raise DataError(f"give 2 to {MOST_ANSWERS} different answers to {what}, with letters or digits in each")


def _chances(question: Question, said: Answered, judge: str) -> np.ndarray:
    place = {folded(answer): i for i, answer in enumerate(question.answers)}
    p = np.zeros(len(question.answers))
    if isinstance(said, str):
        if (at := place.get(folded(said))) is not None:
            p[at] = 1.0
    elif isinstance(said, Mapping):
        for answer, chance in said.items():
            if folded(answer) not in place:
                raise PartError(f"{judge} gave the answer {answer!r}, which is none of {', '.join(question.answers)}")
            p[place[folded(answer)]] += float(chance)
    elif said is not None:
        raise PartError(f"{judge} gave {type(said).__name__} where an answer or {{answer: probability}} is expected")
    if not np.isfinite(p).all() or p.min() < 0 or p.sum() > 1 + 1e-6:
        raise PartError(f"{judge} gave {p.tolist()} as probabilities: they are 0 or more, and at most 1 in all")
    return p
