"""Captions that are one another but for a few words, and what is to change to get from one to the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tellapart.core.plan import generator
from tellapart.data.identity import normal

PLAIN = "a photo of"
BOTH = ("with {new}", "but {new}", "make it {new}", "{new} instead of {old}", "{new} in place of {old}")
MORE = ("with {new}", "but {new}", "the same with {new}", "and {new}")
LESS = ("without {old}", "no {old}", "the same without {old}")
LONGEST = 40
MARKS = ".,;:!?()[]\"'"

Frame = tuple[tuple[str, ...], tuple[str, ...]]


class Rewrite(NamedTuple):
    """Numbers of two captions, and the words that change the first into the second."""

    reference: int
    words: str
    target: int


def rewrites(texts: Sequence[str], *, most_words: int = 3, each: int = 4, seed: int = 0) -> list[Rewrite]:
    """Up to `each` rewrites of every caption that is another one but for one run of up to `most_words` words.

    "a red house by the sea" and "a blue house by the sea" give "with blue", "blue instead of red" or another of a few
    templates. Drawn, with the seed, is first where a caption is to differ, and then what is to stand there, so that
    what has few values is changed as often as what has many; where a longer run holds the words that differ, it may be
    taken whole. Words are compared without case and marks around them; captions of more than 40 words are left
    out. Time and memory grow with the words of all captions.
    """
    rng = generator(seed, 0)
    cut = [tuple(word for said in normal(text).split() if (word := said.strip(MARKS))) for text in texts]
    frames: dict[Frame, list[tuple[int, tuple[str, ...]]]] = {}
    for row, words in enumerate(cut):
        for frame, run in _runs(words, most_words):
            frames.setdefault(frame, []).append((row, run))
    several = {frame: held for frame, held in frames.items() if len({run for _, run in held}) > 1}
    made = []
    for row, words in enumerate(cut):
        own = [(frame, run) for frame, run in _runs(words, most_words) if frame in several]
        taken = set[int]()
        for at in rng.permutation(len(own))[:each].tolist():
            frame, old = own[at]
            others = [(other, new) for other, new in several[frame] if new != old and other not in taken]
            if not others:
                continue
            other, new = others[int(rng.integers(len(others)))]
            taken.add(other)
            forms = BOTH if old and new else MORE if new else LESS
            said = forms[int(rng.integers(len(forms)))].format(old=" ".join(old), new=" ".join(new))
            made.append(Rewrite(row, said, other))
    return made


def _runs(words: tuple[str, ...], most: int) -> Iterator[tuple[Frame, tuple[str, ...]]]:
    """(what stands before and after, run) of every run of up to so many words, also of none, that is not all of it."""
    if len(words) > LONGEST:
        return
    for start in range(len(words) + 1):
        for end in range(start, min(start + most, len(words)) + 1):
            if end - start < len(words):
                yield (words[:start], words[end:]), words[start:end]
