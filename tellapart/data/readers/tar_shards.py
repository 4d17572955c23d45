"""Tar shards as webdataset writes them: files of one name are one sample (.jpg with .txt, .json or .cls)."""

from __future__ import annotations

import itertools
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.progress import Progress
from tellapart.data.images import SUFFIXES as PICTURES
from tellapart.data.images import UNREAD
from tellapart.data.limits import IMAGE_BYTES, NAME_CHARS, SHARDS, SIDECAR_BYTES, TAR_MEMBERS, size_words
from tellapart.data.lines import record
from tellapart.data.problems import Problems
from tellapart.data.tables import Row, collect

ORDER = 40
SUFFIXES = (".tar", ".tar.gz", ".tgz")
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")
TEXTS = {"txt": "text", "text": "text", "caption": "text", "cls": "label", "id": "id"}
ROWS = 64
ADVICE = "A shard holds pictures (.jpg, .png, …) and, under the same name, captions (.txt, .json) or classes (.cls)."


def accepts(path: Path) -> bool:
    """A .tar file, a pattern such as shards/{0000..0003}.tar, or a folder with .tar files."""
    if path.is_dir():
        return any(p.name.lower().endswith(SUFFIXES) for p in path.iterdir())
    return path.name.lower().endswith(SUFFIXES) and (path.is_file() or bool(RANGE.search(str(path))))


def read(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """Samples of one or many shards; pictures are kept as bytes, nothing is unpacked to disk."""
    shards = _shards(path)
    problems = Problems()
    base = path if path.is_dir() else shards[0].parent
    return collect(
        _blocks(shards, problems), source=path.name, root=root or base, columns=columns, cache=cache, progress=progress,
        problems=problems, advice=ADVICE,
    )  # fmt: skip


def expand(pattern: str) -> list[str]:
    """`a{00..02}.tar` -> a00.tar, a01.tar, a02.tar; `{x,y}` likewise. At most `SHARDS` names."""
    match = RANGE.search(pattern)
    if match is None:
        return [pattern]
    if match[3] is not None:
        middle = match[3].split(",")
    else:
        low, high, width = int(match[1]), int(match[2]), len(match[1])
        if high < low or high - low >= SHARDS:
            raise DataError(f"the range {match[0]} must rise and name at most {SHARDS:,} shards")
        middle = [f"{i:0{width}d}" for i in range(low, high + 1)]
    rest = expand(pattern[match.end() :])
    if len(middle) * len(rest) > SHARDS:
        raise DataError(f"{pattern} names more than {SHARDS:,} shards")
    return [pattern[: match.start()] + m + r for m in middle for r in rest]


def _shards(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.name.lower().endswith(SUFFIXES) and p.is_file())
    shards = [path] if path.is_file() else [Path(p) for p in expand(str(path))]
    missing = [p for p in shards if not p.is_file()]
    if missing:
        raise DataError(f"there is no shard {missing[0]} ({len(missing)} of {len(shards)} are missing)")
    return shards


def _blocks(shards: list[Path], problems: Problems) -> Iterator[list[Row]]:
    samples = itertools.chain.from_iterable(_samples(shard, problems) for shard in shards)
    while block := list(itertools.islice(samples, ROWS)):
        yield block


def _samples(shard: Path, problems: Problems) -> Iterator[Row]:
    key = ""
    sample: dict[str, Any] = {}
    for name, suffix, data in _members(shard, problems):
        if name != key and sample:
            yield f"{shard.name}:{key}", sample
            sample = {}
        key = name
        try:
            _add(sample, key, suffix, data)
        except DataError as error:
            problems.add(key, f"{shard.name}:{key}.{suffix}", str(error))
    if sample:
        yield f"{shard.name}:{key}", sample


def _add(sample: dict[str, Any], key: str, suffix: str, data: bytes) -> None:
    sample.setdefault("id", key)
    last = suffix.rsplit(".", 1)[-1]
    if f".{last}" in PICTURES:
        sample.setdefault("image", data)
    elif last in TEXTS:
        try:
            sample[TEXTS[last]] = data.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise DataError("not valid UTF-8") from None
    elif last == "json":
        try:
            fields = record(data.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise DataError("not valid UTF-8") from None
        for name, value in fields.items():
            sample.setdefault("label" if name == "cls" else name, value)


def _members(shard: Path, problems: Problems) -> Iterator[tuple[str, str, bytes]]:
    """(key, suffix, bytes) of the files of a shard, in their order; each is bounded before it is read."""
    count = 0
    try:
        with tarfile.open(shard, mode="r|*") as tar:
            for member in tar:
                count += 1
                if count > TAR_MEMBERS:
                    raise DataError(f"{shard} has more than {TAR_MEMBERS:,} members")
                found = _wanted(member, shard, problems)
                if found is None:
                    continue
                stream = tar.extractfile(member)
                if stream is not None:
                    yield (*found, stream.read())
                tar.members = []  # type: ignore[attr-defined]
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        problems.add("", shard.name, f"the shard is damaged or cut short: {error}; what came before is kept")


def _wanted(member: tarfile.TarInfo, shard: Path, problems: Problems) -> tuple[str, str] | None:
    name = member.name.removeprefix("./")
    base = name.rsplit("/", 1)[-1]
    if member.isdir() or base.startswith((".", "_")):
        return None
    place = f"{shard.name}:{name[:NAME_CHARS]}"
    if name.startswith(("/", "\\")) or ".." in re.split(r"[\\/]", name) or len(name) > NAME_CHARS:
        problems.add(name[:NAME_CHARS], place, "a name that leads out of the shard with '..' or '/'; it is not read")
        return None
    if not member.isfile():
        problems.add(name, place, "a link or a device in a shard; it is not read")
        return None
    stem, _, suffix = base.partition(".")
    suffix = suffix.lower()
    last = suffix.rsplit(".", 1)[-1]
    if f".{last}" in UNREAD:
        problems.add(name, place, f"{UNREAD[f'.{last}']}, which is not read: convert it to PNG or JPEG")
        return None
    picture = f".{last}" in PICTURES
    if not picture and last not in TEXTS and last != "json":
        return None
    limit = IMAGE_BYTES if picture else SIDECAR_BYTES
    if member.size > limit:
        problems.add(name, place, f"too large: {size_words(member.size)}, and at most {size_words(limit)} are read")
        return None
    return name[: len(name) - len(base)] + stem, suffix
