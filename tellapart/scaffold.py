"""The three files of a new part: the part, its oracle, its evidence. They run as they are written."""

from __future__ import annotations

import keyword
import os
import re
from pathlib import Path
from string import Template

from tellapart.catalogue import checkout
from tellapart.core.errors import PartError, TellapartError, near
from tellapart.core.parts import FOLDERS_VARIABLE, SHAPES, cards

TEMPLATES = Path(__file__).parent / "templates"
LONGEST = 40


def new(shape: str, name: str, *, into: str | Path | None = None) -> list[Path]:
    """Write a part that works, with its oracle and the spec of its evidence; the formula is then changed to yours.

    Args:
        shape: one of the shapes of parts.
        name: in kebab-case, such as `my-loss`.
        into: a folder of your own (`FOLDER/SHAPE/`, `FOLDER/oracles/`, `FOLDER/evidence/`); None: the checkout this
            package runs from, and without one the folder `parts` here.

    Returns:
        The files: part, oracle, evidence.

    Raises:
        PartError: no such shape, a name that cannot be one or is taken.
        TellapartError: a file that is there already, or a folder that cannot be written.
    """
    if shape not in SHAPES:
        raise PartError(f"there is no shape {shape!r}; {near(shape, SHAPES)}")
    stem = _stem(name)
    root = checkout() if into is None else None
    if root is not None:
        part, oracle, evidence = root / "tellapart" / "parts", root / "tests" / "oracles", root / "evidence"
    else:
        folder = Path(into or "parts")
        part, oracle, evidence = folder, folder / "oracles", folder / "evidence"
    files = [part / shape / f"{stem}.py", oracle / f"{stem}.py", evidence / f"{name}.toml"]
    for file in files:
        if file.exists():
            raise TellapartError(f"{file} is there already; choose another name, or remove it first")
    words = {
        "name": name,
        "stem": stem,
        "shape": shape,
        "Symbol": "".join(word.capitalize() for word in name.split("-")),
        "Title": f"{name[0].upper()}{name[1:].replace('-', ' ')}: say in one line what it is",
        "stream": str(sum(ord(c) * 31**i for i, c in enumerate(stem)) % 65_521),
        "baseline": _baseline(shape),
    }
    for file, template in zip(files, (f"{shape}.part", f"{shape}.oracle", "evidence"), strict=True):
        text = Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(words)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise TellapartError(
                f"cannot write {file}: {error.strerror or error}; name another folder with --into"
            ) from None
    return files


def is_seen(folder: Path) -> bool:
    """Whether parts in a folder of one's own are found: it stands in `TELLAPART_PARTS`."""
    named = [Path(p).resolve() for p in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if p]
    return folder.resolve() in named


def _stem(name: str) -> str:
    stem = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > LONGEST:
        raise PartError(f"{name!r} cannot be a part's name: small letters, digits and single hyphens, such as my-loss")
    if keyword.iskeyword(stem) or keyword.issoftkeyword(stem):
        raise PartError(f"{name!r} is a word of Python itself; choose another name")
    for card in cards().values():
        if name in (card.name, *card.aliases):
            raise PartError(f"{name!r} is taken by the {card.shape} {card.name}; see: tellapart explain {card.name}")
    return stem


def _baseline(shape: str) -> str:
    """The plain baseline of a shape: the first of its parts that has no paper, and any part where all have one."""
    known = cards(shape)
    plain = [c.name for c in known.values() if c.paper.startswith("(plain baseline")]
    return next(iter(plain or sorted(known)), "none")
