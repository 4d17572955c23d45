"""What the columns of a table mean, read off their names as sentence-transformers and Hugging Face write them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tellapart.core.collection import Modality, modality_of
from tellapart.core.errors import DataError, near
from tellapart.data.images import SUFFIXES
from tellapart.data.limits import COLUMNS, NAME_CHARS

Kind = Literal["image", "pair", "series", "text"]

# The name itself first; then what others call it.
ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("_id", "item_id", "uid", "uuid", "key", "__key__"),
    "image": (
        "img", "picture", "photo", "filepath", "file_path", "image_path", "img_path", "file_name", "filename",
        "image_file", "image_file_name", "image_filename", "path",
    ),
    "text": ("caption", "captions", "title", "sentence", "description", "alt_text", "txt"),
    "anchor": ("query", "question", "sentence1", "sentence_1", "premise", "text1"),
    "positive": ("document", "answer", "sentence2", "sentence_2", "passage", "hypothesis", "response", "text2"),
    "negative": ("hard_negative",),
    "label": ("labels", "class", "class_name", "category", "cls"),
    "score": ("scores", "similarity", "similarity_score", "relevance"),
    "split": (),
    "concept": (),
    "target": (),
    "alternatives": (),
    "regions": ("boxes", "bboxes", "objects"),
    "attributes": ("tags",),
    "series": ("time_series", "timeseries", "sound", "audio"),
    "other_series": ("series_2", "series2"),
}  # fmt: skip
# Of a picture that words change into another; understood where a table has the first two.
CHANGED = {
    "other_image": (
        "reference_image", "source_image", "candidate_image", "query_image", "ref_image", "candidate", "before_image",
        "image_before",
    ),
    "image": ("target_image", "target_hard", "after_image", "image_after", "target"),
    "text": (
        "modification", "instruction", "modification_text", "relative_caption", "change", "edit", "edit_instruction",
    ),
}  # fmt: skip
LISTS = ("regions", "attributes")
WINDOWS = ("series", "other_series")
DERIVED = ("hash", "group", "near", "link")
# What curation and decisions write, too, where they have something to say.
RESERVED = (*DERIVED, "origin", "dropped", "label_given")
MORE_NEGATIVES = re.compile(r"^negative_[1-9]\d*$")
FURTHER = re.compile(r"^other_(image|text|series)(_[1-9]\d*)?$")
MORE_CAPTIONS = re.compile(r"^caption_[1-9]\d*$")
SPLITS = {
    "train": "train", "training": "train", "trainset": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "validate": "validation", "dev": "validation", "devel": "validation",
    "development": "validation", "test": "test", "testing": "test", "testset": "test", "eval": "test",
    "evaluation": "test", "held_out": "test", "holdout": "test",
}  # fmt: skip
NUMBERED = re.compile(r"^([a-z_]+?)_?\d+(_of_\d+)?$")


@dataclass(frozen=True)
class Roles:
    """Which source column plays which role.

    Attributes:
        kind: what an item is: a picture, a pair of texts, a window of a recording or two, one text.
        of: role -> source column.
        filters: source columns kept under their own (or a new) name, never taken as input: source -> name.
        captions: source columns of further captions of a picture (`caption_1` …), which come to its `alternatives`.
    """

    kind: Kind
    of: dict[str, str]
    filters: dict[str, str]
    notes: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()

    @property
    def further(self) -> dict[str, Modality]:
        """The roles that are neither of the two sides, and what they hold; an item may lack them."""
        if self.kind == "image":
            sides = {"image", "text"} if "text" in self.of else {"image", "other_image"}
        else:
            sides = {"pair": {"anchor", "positive"}, "series": {"series", "text", "other_series"}}.get(
                self.kind, {"text", "other_text"}
            )
        held = {role: modality_of(role) for role in self.of if role not in sides}
        return {role: modality for role, modality in held.items() if modality is not None}


def plain(name: str) -> str:
    """`" Image Path"` -> `"image_path"`."""
    return re.sub(r"[\s\-]+", "_", name.strip().lower())


def split_of(name: str, *, first_word: bool = False) -> str:
    """The part of a split that a word or a name stands for: `Dev` -> `validation`, `train-00000-of-00004` -> `train`,
    `val2017` -> `validation`; "" when it stands for none.

    Args:
        first_word: the first word decides, as in `validation_matched`.
    """
    words = plain(name)
    match = NUMBERED.match(words)
    found = SPLITS.get(words) or (SPLITS.get(match[1]) if match else None)
    return found or (SPLITS.get(words.split("_")[0], "") if first_word else "")


def roles(
    names: Iterable[str],
    source: str,
    given: Mapping[str, str] | None = None,
    *,
    nested: Collection[str] = (),
    windows: Collection[str] = (),
) -> Roles:
    """What the columns mean.

    Args:
        given: role -> source column, as a caller said it; wins over names.
        nested: columns that hold lists or records; no other is taken for `regions` or `attributes` by its name.
        windows: columns that could hold windows of recordings; no other is taken for `series` by its name.

    Raises:
        DataError: no column that an item could be made of, two that could be the same, repeated or empty names; the
            message says how to rename or which `columns=` to give.
    """
    names = list(names)
    _check_names(names, source)
    of: dict[str, str] = {}
    for role, column in (given or {}).items():
        if role not in ALIASES and role != "other_image":
            raise DataError(f"columns= names the role {role!r}; {near(role, ALIASES)}")
        if column not in names:
            raise DataError(f"columns= names {column!r}, which {source} does not have; {near(column, names)}")
        of[role] = column
    doubtful: dict[str, list[str]] = {}
    of |= _changed(names, of)
    for role, aliases in ALIASES.items():
        if role in of:
            continue
        able = nested if role in LISTS else windows if role in WINDOWS else names
        free = [n for n in names if n not in of.values() and n in able]
        exact = [n for n in free if plain(n) == role]
        also = [n for n in free if plain(n) in aliases]
        if exact or len(also) == 1:
            of[role] = (exact or also)[0]
        elif also:
            doubtful[role] = also
    kind = _kind(of, doubtful, names, source)
    wanted = _wanted(kind, of)
    for role in wanted:
        if role in doubtful:
            raise DataError(
                f"{source} has several columns that could be {role!r}: {', '.join(doubtful[role])}. "
                f"Rename one to {role!r}, or say {_said(role, doubtful[role][0])}"
            )
    of = {role: column for role, column in of.items() if role in wanted}
    for name in names:
        if "negative" in wanted and MORE_NEGATIVES.match(plain(name)):
            of[plain(name)] = name
        role = plain(name)
        further = FURTHER.match(role) if role not in ALIASES and name not in of.values() else None
        if further and (further[1] != "series" or name in windows):
            of.setdefault(role, name)
    captions = [n for n in names if MORE_CAPTIONS.match(plain(n)) and n not in of.values()] if kind == "image" else []
    if captions and "text" not in of:
        of["text"] = captions.pop(0)
    filters, notes = _filters([n for n in names if n not in of.values() and n not in captions])
    return Roles(kind, of, filters, tuple(notes), tuple(captions))


def _changed(names: list[str], given: Mapping[str, str]) -> dict[str, str]:
    """Roles of a table of reference pictures, changes in words and target pictures, by the names that it gives them."""
    by_name = {plain(name): name for name in names if name not in given.values()}
    free = {
        role: [by_name[alias] for alias in aliases if alias in by_name]
        for role, aliases in CHANGED.items()
        if role not in given
    }
    target = "image" in by_name or "image" in given or any(alias in by_name for alias in ALIASES["image"])
    if target and "candidate" in by_name:
        free["other_image"] = [name for name in free.get("other_image", []) if name != by_name["candidate"]]
    if not free.get("other_image") or not (target or free.get("image")) or "other_image" in by_name:
        return {}
    found = {"other_image": free["other_image"][0]}
    if not target:
        found["image"] = free["image"][0]
    if free.get("text") and "text" not in by_name:
        found["text"] = free["text"][0]
    return found


def _check_names(names: list[str], source: str) -> None:
    if len(names) > COLUMNS:
        raise DataError(
            f"{source} has {len(names):,} columns, and at most {COLUMNS:,} are read; leave out what is not needed"
        )
    if not any(n.strip() for n in names):
        raise DataError(f"{source} has no column names; its first row must name the columns")
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DataError(f"{source} has {names.count(twice[0])} columns named {twice[0]!r}; give each a name of its own")
    for name in names:
        if len(name) > NAME_CHARS:
            raise DataError(f"{source} has a column name of {len(name):,} characters; is its first row the header?")


def _kind(of: dict[str, str], doubtful: dict[str, list[str]], names: list[str], source: str) -> Kind:
    image, pair = "image" in of or "image" in doubtful, "anchor" in of and "positive" in of
    if image and pair:
        raise DataError(
            f"{source} has a picture ({of.get('image') or doubtful['image'][0]}) and a pair of texts ({of['anchor']}, "
            f"{of['positive']}); leave out one of them, or say which is the text: {_said('text', of['anchor'])}"
        )
    if image:
        if "text" not in of and "text" not in doubtful and "anchor" in of:
            of["text"] = of.pop("anchor")
        return "image"
    if pair:
        return "pair"
    if "series" in of or "series" in doubtful:
        return "series"
    if "other_series" in of:
        raise DataError(
            f"{source} has {of['other_series']!r} (other_series), the second sensor of each window, but no `series` "
            f"beside it. Name the first one so, or say {_said('series', 'ITS NAME')}"
        )
    if "text" in of or "text" in doubtful:
        return "text"
    for one, other in (("anchor", "positive"), ("positive", "anchor")):
        if one in of:
            raise DataError(
                f"{source} has {of[one]!r} ({one}) but no {other!r} beside it; the columns are "
                f"{', '.join(names[:20])}. Name the other one {other!r}, or say {_said(other, 'ITS NAME')}"
            )
    raise DataError(
        f"cannot tell what the items of {source} are: give a column `image` (paths of pictures) with `text` or "
        f"`label`, a pair `anchor` and `positive`, `series` (windows of recordings: .npy files or lists of numbers) "
        f"with `other_series` or `label`, or `text` with `label`. The columns are {', '.join(names[:20])}"
        f"{', …' if len(names) > 20 else ''}"
    )


def _said(role: str, column: str) -> str:
    return f"--column {role}={column!r}, in Python columns={{{role!r}: {column!r}}}"


def _wanted(kind: Kind, of: dict[str, str]) -> set[str]:
    always = {"id", "label", "score", "split", "concept", "target"}
    if kind == "image" and "text" in of:
        always.add("negative")
    own = {
        "image": {"image", "text", "other_image", *WINDOWS, "alternatives", *LISTS},
        "pair": {"anchor", "positive", "negative"},
        "series": {*WINDOWS, "text"},
        "text": {"text", "alternatives"},
    }
    return always | own[kind]


def _filters(names: list[str]) -> tuple[dict[str, str], list[str]]:
    taken = {*ALIASES, *RESERVED}
    filters: dict[str, str] = {}
    notes: list[str] = []
    for name in names:
        new = name.strip()
        if not new:
            continue
        if new in taken:
            new = f"source_{new}"
            notes.append(
                f"the column {name!r} is kept as {new!r}, because {name.strip()!r} has a meaning of its own here"
            )
        while new in filters.values():
            new += "_"
        filters[name] = new
    return filters, notes


def looks_like_pictures(values: list[object]) -> bool:
    """Whether a column that should hold text holds paths of pictures."""
    texts = [v for v in values if isinstance(v, str) and v.strip()][:100]
    hits = sum(v.strip().lower().endswith(tuple(SUFFIXES)) and " " not in v.strip() for v in texts)
    return bool(texts) and hits > len(texts) / 2
