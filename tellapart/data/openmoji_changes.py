"""Composed queries with known answers, made of OpenMoji: a drawing, what is to change in words, the drawing that is so.

Drawings of one base (a name without skin tone, gender, hair, colour and direction) differ in known ways. A reference, a
template for one or two of these ways, and the drawing of the same base that differs from the reference in just them are
a row. A fine change names the new value ("with dark skin tone"); a coarse one only what changes ("with another skin
tone"), so that several drawings are right, one row each.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.plan import generator
from tellapart.core.progress import Progress
from tellapart.data.openmoji import TONE, openmoji
from tellapart.data.provenance import about, with_about

FINE, COARSE = 20, 4
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "brown", "black", "white")
WAYS = ("left", "right", "up", "down")
HAIR = re.compile(r"^(?:man|woman|person) (red hair|curly hair|white hair|bald|blond hair)$")
TONES = re.compile(TONE.pattern.replace("_", " "))
WORDS: dict[str, tuple[str, ...]] = {
    "skin tone": ("with {} skin tone", "but with {} skin", "make the skin tone {}", "the same with {} skin tone"),
    "gender": ("as a {}", "make it a {}", "but a {}", "the same with a {} in it"),
    "hair": ("with {}", "but {}", "make it {}"),
    "colour": ("but {}", "make it {}", "the same in {}", "in {} instead"),
    "direction": ("pointing {}", "but {}", "turned so that it points {}"),
    "way": ("facing {}", "but looking to the {}", "turned to the {}"),
}
OPEN = {
    "skin tone": "with another skin tone", "gender": "with another gender", "hair": "with other hair",
    "colour": "in another colour", "direction": "pointing elsewhere", "way": "facing the other way",
}  # fmt: skip
NEUTRAL = {"skin tone": "yellow", "gender": "person", "way": "left"}
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "other_image", "text", "image", "concept", "title", "reference_title")]
    + [("change", pa.string()), ("coarse", pa.bool_())]
)


def openmoji_changes(*, cache: Path | None = None, progress: Progress | None = None) -> Collection:
    """The rows; columns `other_image` (reference), `text` (the change), `image` (target), `concept` (the base: what a
    split must not cut), `title`, `reference_title` (names of both), `change` (what differs), `coarse`.

    At most `FINE` fine and `COARSE` coarse questions a base, drawn with a fixed seed.

    Raises:
        MissingExtraError, DataError: as `openmoji`.
    """
    drawings = openmoji(cache=cache, progress=progress)
    assert drawings.root is not None
    bases: dict[str, dict[tuple[tuple[str, str], ...], tuple[str, str]]] = {}
    for text, tone, gender, concept, image in zip(
        *(drawings.values(name) for name in ("text", "skin_tone", "gender", "concept", "image")), strict=True
    ):
        if (read := facts(text, tone, gender, concept)) is not None:
            base, ways = read
            bases.setdefault(base, {}).setdefault(tuple(sorted(ways.items())), (image, text))
    drawn = {
        image: hashlib.sha256((drawings.root / image).read_bytes()).hexdigest()
        for members in bases.values()
        for image, _ in members.values()
    }
    rows, rng = [], generator(17, 0)
    for base, members in sorted(bases.items()):
        asked = list(questions(members, drawn))
        fine, coarse = ([a for a in asked if (len(a[2]) > 1 or a[4]) == many] for many in (False, True))
        for among, most in ((fine, FINE), (coarse, COARSE)):
            for at in sorted(rng.permutation(len(among))[:most].tolist()):
                reference, change, targets, kind, is_coarse = among[at]
                said = change[int(rng.integers(len(change)))]
                for image, title in targets:
                    rows.append({"id": f"{len(rows):05d}", "other_image": reference[0], "text": said, "image": image,
                                 "concept": base, "title": title, "reference_title": reference[1], "change": kind,
                                 "coarse": is_coarse})  # fmt: skip
    made = Collection(pa.Table.from_pylist(rows, SCHEMA), root=drawings.root)
    known = about(drawings)
    kept = {name: known[name] for name in ("licence", "licence_url", "attribution", "source", "notes")}
    return with_about(made, name="openmoji-changes", **kept)


def facts(text: str, tone: str, gender: str, concept: str) -> tuple[str, dict[str, str]] | None:
    """(base, what members of the base differ in) of a drawing; None for one of several people or skin tones."""
    if gender == "both" or len(TONES.findall(text)) > 1:
        return None
    ways = {"skin tone": tone, "gender": gender}
    plain = TONES.sub("", text)
    if (hair := HAIR.match(plain)) is not None:
        return "head with hair", {**ways, "hair": hair[1]}
    if tone or gender or concept != plain:
        ways["way"] = "right" if plain.endswith("facing right") else ""
        return f"{concept} (people)", ways
    words = plain.split()
    for name, values in (("colour", COLOURS), ("direction", WAYS)):
        at = [i for i, word in enumerate(words) if word in values or word.removesuffix("wards") in values]
        if len(at) == 1 and len(words) > 1:
            value = words[at[0]].removesuffix("wards")
            return " ".join([*words[: at[0]], "*", *words[at[0] + 1 :]]), {name: value}
    return f"{concept} (people)", {**ways, "way": ""}


def questions(
    members: dict[tuple[tuple[str, str], ...], tuple[str, str]], drawn: Mapping[str, str]
) -> Iterator[tuple[tuple[str, str], tuple[str, ...], list[tuple[str, str]], str, bool]]:
    """(reference, ways to say the change, right drawings, what changes, whether it is coarse) of one base.

    Args:
        drawn: a drawing's content: a change that shows nothing is not asked for.
    """
    known = [(dict(key), drawing) for key, drawing in members.items()]
    for ways, reference in known:
        others = [(w, d) for w, d in known if w.keys() == ways.keys() and drawn[d[0]] != drawn[reference[0]]]
        moved = [(tuple(n for n in ways if ways[n] != w[n]), w, d) for w, d in others]
        for names, w, drawing in moved:
            if 1 <= len(names) <= 2:
                yield reference, tuple(said(names, w)), [drawing], " and ".join(names), False
        for name in ways:
            right = [d for names, _, d in moved if names == (name,)]
            if len(right) > 1:
                yield reference, (OPEN[name],), right, name, True


def said(names: tuple[str, ...], ways: dict[str, Any]) -> Iterator[str]:
    """A change in words, by every template of its first part."""
    parts = [[t.format(ways[n] or NEUTRAL[n]) for t in WORDS[n]] for n in names]
    for at, first in enumerate(parts[0]):
        yield ", ".join([first, *(more[at % len(more)] for more in parts[1:])])
