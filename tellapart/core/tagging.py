"""What kind of word each word of an English text is, by lists and endings, and what becomes of a text whose words move.

A tagger of a few hundred words and a dozen endings: no model, nothing to download. What no list and no ending knows is
a noun, and in other languages nearly all words are: what exchanges nouns still works there, what asks for adjectives
finds none.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import numpy as np

from tellapart.core.shortcuts import SMALL_WORDS, is_verb

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
COLOURS = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey", "gray", "beige",
    "golden", "silver",
)  # fmt: skip
_KNOWN_ADJECTIVES = """
    abandoned ancient angry asleep bad bald beautiful best big bitter blind blond bold brave bright broken busy calm
    cheap clean clear clever cold confused cool crazy cruel curly cute dark dead deaf deep dense different dirty double
    dry dull early easy elderly empty evil expensive fair false familiar famous far fast fat female few fine first flat
    foreign free fresh full funny furry gentle giant glad gold good great happy hard healthy heavy high hot huge
    human hungry ill large last late lazy left light little lonely long loud low lucky main male medium mild modern
    narrow native natural near new nice noisy odd old open other own pale plain poor pretty private proud public pure
    quick quiet rare raw ready real rich right ripe rough round royal sad safe same second several shallow sharp
    shiny short shut shy sick silly simple single slow small smart smooth soft sour special square steep sticky
    straight strange strong sweet tall tame tart tender thick thin third tight tiny tired tough triple true ugly
    upper urban vast warm weak wet whole wide wild wise wooden woolen wrong young
"""
_NO_ADJECTIVES = """
    animal arrival capital festival hospital journal medal metal mineral musical petal portal signal table cable music
    magic picnic fabric traffic mosaic ceramic clinic topic comic logic fish dish radish rubbish
"""
_PREPOSITIONS = """
    aboard about above across after against along among around at before behind below beneath beside besides between
    beyond by down during except for from in inside into like near of off on onto opposite out outside over past per
    through to toward towards under underneath until up upon via with within without
"""
_ENDINGS = ("ful", "less", "ous", "ive", "able", "ible", "ish", "al", "ic", "ary", "ese", "est")
KINDS = ("noun", "adjective", "adverb", "verb")


def kinds(words: list[str]) -> list[str]:
    """noun, adjective, adverb, verb, preposition, number or small (articles, pronouns, conjunctions) of each word."""
    lower = [word.lower() for word in words]
    found = [_kind(word, first=place == 0) for place, word in enumerate(lower)]
    for place, (word, after) in enumerate(itertools.pairwise(lower)):
        if word in ("left", "right", "front", "top") and after == "of":
            found[place] = "preposition"
    for place, word in enumerate(lower):
        before, after = (found[at] if 0 <= at < len(found) else "" for at in (place - 1, place + 1))
        led = before == "adjective" or (place > 0 and lower[place - 1] in ("a", "an", "the"))
        if found[place] == "adjective" and word not in COLOURS and led and after not in ("adjective", "noun"):
            found[place] = "noun"  # "a red square", "on the left"
    return found


def pieces(text: str) -> tuple[list[str], list[int]]:
    """A text cut into pieces that make it up again, and the places of its words among them."""
    found, places, end = [], [], 0
    for match in _WORD.finditer(text):
        if match.start() > end:
            found.append(text[end : match.start()])
        places.append(len(found))
        found.append(match.group())
        end = match.end()
    return ([*found, text[end:]] if end < len(text) else found), places


def words_of(text: str) -> list[str]:
    """The words of a text, without what stands between them."""
    return _WORD.findall(text)


Order = Callable[[list[str], np.random.Generator], list[int] | None]


def reordered(text: str, order: Order, rng: np.random.Generator, *, tries: int = 8) -> str | None:
    """The text with its words in another order; what stands between them stays. None where no other order was drawn.

    Args:
        order: from the words to the number of the word that stands at each place, or None where there is none.
    """
    found, places = pieces(text)
    words = [found[at] for at in places]
    before = [word.lower() for word in words]
    for _ in range(tries):
        if (drawn := order(words, rng)) is None:
            return None
        if [before[at] for at in drawn] != before:
            made = list(found)
            for place, at in zip(places, drawn, strict=True):
                made[place] = words[at]
            return "".join(made)
    return None


def nouns_and_adjectives(words: list[str], rng: np.random.Generator) -> list[int] | None:
    """Nouns among the places of nouns, adjectives among those of adjectives."""
    kind, order = kinds(words), list(range(len(words)))
    for one in ("noun", "adjective"):
        at = [place for place, found in enumerate(kind) if found == one]
        for place, drawn in zip(at, rng.permutation(at).tolist(), strict=True):
            order[place] = drawn
    return order


def all_but_those(words: list[str], rng: np.random.Generator) -> list[int] | None:
    """All words but nouns and adjectives among their places."""
    kind, order = kinds(words), list(range(len(words)))
    at = [place for place, found in enumerate(kind) if found not in ("noun", "adjective")]
    for place, drawn in zip(at, rng.permutation(at).tolist(), strict=True):
        order[place] = drawn
    return order


def trigrams(words: list[str], rng: np.random.Generator) -> list[int] | None:
    """Runs of three words in another order, each as it was."""
    runs = [list(range(start, min(start + 3, len(words)))) for start in range(0, len(words), 3)]
    return [place for run in rng.permutation(len(runs)) for place in runs[run]]


def within_trigrams(words: list[str], rng: np.random.Generator) -> list[int] | None:
    """The words of each run of three in another order."""
    starts = range(0, len(words), 3)
    return [int(p) for start in starts for p in rng.permutation(range(start, min(start + 3, len(words))))]


def swapped(*chosen: str) -> Order:
    """Two different words of one kind exchanged; the kind is drawn among the `chosen` of which there are two.

    Words joined by "and" or "or", and adjectives side by side, mean the same when they are exchanged, and are not.
    """

    def order(words: list[str], rng: np.random.Generator) -> list[int] | None:
        kind, lower = kinds(words), [word.lower() for word in words]
        pairs: dict[str, list[tuple[int, int]]] = {}
        for a, one in enumerate(kind):
            for b in range(a + 1, len(kind)):
                between = set(lower[a + 1 : b]) - {"a", "an", "the"}
                joined = (bool(between) and between <= {"and", "or", "nor"}) or (b == a + 1 and one != "noun")
                if one in chosen and one == kind[b] and lower[a] != lower[b] and not joined:
                    pairs.setdefault(one, []).append((a, b))
        if not pairs:
            return None
        able = pairs[sorted(pairs)[rng.integers(len(pairs))]]
        a, b = able[rng.integers(len(able))]
        made = list(range(len(words)))
        made[a], made[b] = b, a
        return made

    return order


def _kind(word: str, *, first: bool) -> str:
    if any(sign.isdigit() for sign in word):
        return "number"
    if word in _BETWEEN:
        return "preposition"
    if word in _ADJECTIVES:
        return "adjective"
    if word in _SMALL:
        return "small"
    if is_verb(word):
        # A caption hardly begins with its verb: "smiling face", "running shoes", but "call centre".
        return "verb" if not first else "adjective" if word.endswith(("ing", "ed")) else "noun"
    if len(word) > 4 and word.endswith("ly"):
        return "adverb"
    if len(word) > 4 and word.endswith(_ENDINGS) and word not in _NOUNS:
        return "adjective"
    return "noun"


_ADJECTIVES = frozenset(_KNOWN_ADJECTIVES.split()) | frozenset(COLOURS)
_NOUNS = frozenset(_NO_ADJECTIVES.split())
_BETWEEN = frozenset(_PREPOSITIONS.split())
_SMALL = frozenset(SMALL_WORDS) - _BETWEEN
