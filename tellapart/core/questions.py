"""Questions that judges are asked, and how answers are compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

YES_NO = ("yes", "no")
MOST_ANSWERS, LONGEST, MOST_PICTURES = 20, 20_000, 8


@dataclass(frozen=True)
class Question:
    """One question about pictures, texts or both.

    Attributes:
        text: as a person would be asked.
        answers: what can be answered; () asks for words (`Judge.say`).
        pictures: what is asked about, in the order in which the text speaks of them.
        texts: likewise, below the question.
        item: the id of the item that is asked about; what a rule looks up.
        column, value: where the answer stands. With `value`, "yes" where the item's cell is that value (or has it in
            its list) and otherwise "no"; without, the cell is the answer.
    """

    text: str
    answers: Sequence[str] = ()
    pictures: Sequence[Image.Image] = ()
    texts: Sequence[str] = ()
    item: str = ""
    column: str = ""
    value: str = ""


Answered = str | Mapping[str, float] | None
Answerer = Callable[[Question], Answered]


def folded(text: str) -> str:
    """A text as answers are compared: its letters and digits in lower case, signs and more spaces left out."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))
