"""What a picture's file says of how it was made: read from its text, EXIF, XMP and content credentials, never decoded.

A column `origin` holds for each picture one of

    generated; WHERE IT SAYS SO                the file says of itself that a generator made it
    partly generated; WHERE IT SAYS SO         that generated parts were put into it
    content credentials; ...                   it holds a C2PA manifest, which does not say either

or nothing. A file without a word may be generated all the same, and one with a word may be lying: signatures are not
checked, and pixels are not looked at.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.images import image_source
from tellapart.data.limits import ORIGIN_BLOCKS, ORIGIN_BYTES

COLUMN = "origin"
# To be raised whenever the code below reads something else out of the same file.
RULE = 1
GENERATED, PARTLY, CREDENTIALS = "generated", "partly generated", "content credentials"

XMP_KEY, XMP_HEAD, EXIF_HEAD = "XML:com.adobe.xmp", b"http://ns.adobe.com/xap/1.0/\0", b"Exif\0\0"
EXIF_TAGS = {0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software"}
EXIF_PRIVATE, USER_COMMENT = 0x8769, 0x9286

# Names count where a program names itself; anybody may write of them in a caption.
NAMING = {"software", "source", "creatortool", "credit"}
NAMES = re.compile(
    r"\b(stable diffusion|novelai|midjourney|dall[-. \u00b7]?e|comfyui|invokeai|fooocus|adobe firefly|dreamstudio"
    r"|draw things|made with google ai)\b",
    re.IGNORECASE,
)
KEYS = {
    "invokeai_metadata": "InvokeAI", "invokeai_graph": "InvokeAI", "sd-metadata": "InvokeAI", "dream": "InvokeAI",
    "fooocus_scheme": "Fooocus",
}  # fmt: skip
SETTINGS = {
    "a Stable Diffusion web UI": re.compile(r"\bSteps: \d{1,6}, .{0,400}?\bSampler: ", re.DOTALL),
    "ComfyUI": re.compile(r'"class_type"\s*:|"last_node_id"\s*:'),
    "Midjourney": re.compile(r"\bJob ID: [0-9a-f]{8}-[0-9a-f]{4}-"),
    "NovelAI": re.compile(r'"(?:noise_schedule|uncond_scale|signed_hash)"\s*:'),
}
SOURCE_TYPE = re.compile(rb"digitalsourcetype/(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia)\b")
XMP_TOOL = re.compile(rb"(CreatorTool|Credit)\s*(?:=\s*[\"']|>)([^\"'<]{1,200})")

Block = tuple[str, bytes]


def with_origin(collection: Collection) -> Collection:
    """The collection with a column `origin`, where any of its pictures has something to say."""

    def one(value: bytes | str | None) -> str:
        try:
            return origin(image_source(value, collection.root))
        except (DataError, OSError):
            return ""

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = list(pool.map(one, collection.values("image")))
    if not any(found):
        return collection
    return collection.with_column(COLUMN, found, by={"part": "curate", "origin": RULE})


def origin(source: bytes | Path) -> str:
    """What the file of a picture says, as the column has it; "" for nothing, for damage and for other formats.

    PNG, JPEG and WebP are read block by block: those of pixels are skipped, and of the others together at most
    `ORIGIN_BYTES` are read, as of what is packed in them.
    """
    with ExitStack() as stack:
        opened: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
        file = stack.enter_context(opened)
        said = set()
        try:
            for kind, data in _bounded(_blocks(file)):
                said.add(_said(kind, data))
        except (struct.error, ValueError, EOFError):
            # What was read before the damage still counts.
            pass
    for word in (PARTLY, GENERATED, CREDENTIALS):
        if where := sorted(s for s in said if s.startswith(word + ";")):
            return where[0]
    return ""


def _said(kind: str, data: bytes) -> str:
    """What one block says: C2PA, XMP, EXIF, or a text under its key."""
    if kind in ("C2PA", "XMP"):
        types = set(SOURCE_TYPE.findall(data))
        where = "its content credentials" if kind == "C2PA" else "its XMP"
        if types:
            # Credentials tell of what a picture was made from as well, so a composite names both.
            partly = b"compositeWithTrainedAlgorithmicMedia" in types
            word, type_ = (PARTLY, max(types, key=len)) if partly else (GENERATED, types.pop())
            return f"{word}; digital source type {type_.decode()} in {where}"
        if kind == "C2PA":
            return f"{CREDENTIALS}; a C2PA manifest that does not name a generator" if b"c2pa" in data else ""
        texts = [(tag.decode(), value.decode("utf-8", "replace")) for tag, value in XMP_TOOL.findall(data)]
        return _of_texts(texts, "XMP")
    if kind == "EXIF":
        return _of_texts(_exif(data), "EXIF")
    key = kind.partition(":")[2]
    return _of_texts([(key, data.decode("utf-8", "replace"))], "text")


def _of_texts(texts: list[tuple[str, str]], where: str) -> str:
    for key, value in texts:
        place = f"in its {where} {key[:40]!r}"
        if name := KEYS.get(key.lower()):
            return f"{GENERATED}; settings of {name} {place}"
        if key.lower() in NAMING and (found := NAMES.search(value)):
            return f"{GENERATED}; {found[1]} {place}"
        for name, pattern in SETTINGS.items():
            if pattern.search(value):
                return f"{GENERATED}; settings of {name} {place}"
    return ""


def _exif(data: bytes) -> list[tuple[str, str]]:
    try:
        exif = Image.Exif()
        exif.load(data if data.startswith(EXIF_HEAD) else EXIF_HEAD + data)
        found = [(name, exif.get(tag)) for tag, name in EXIF_TAGS.items()]
        found.append(("UserComment", exif.get_ifd(EXIF_PRIVATE).get(USER_COMMENT)))
    except Exception:
        # As when a picture is turned: EXIF that cannot be read says nothing.
        return []
    return [(name, value if isinstance(value, str) else _comment(value))
            for name, value in found if isinstance(value, str | bytes)]  # fmt: skip


def _comment(value: bytes) -> str:
    """A comment behind the eight letters that say how it is written."""
    if not value.startswith(b"UNICODE\0"):
        return value[8:].decode("utf-8", "replace")
    # Writers disagree on the order of bytes: in Latin letters every other byte is 0, first in big-endian.
    big = value[8:4096:2].count(0) >= value[9:4096:2].count(0)
    return value[8:].decode("utf-16-be" if big else "utf-16-le", "replace")


def _bounded(blocks: Iterator[tuple[str, int, IO[bytes]]]) -> Iterator[Block]:
    """Blocks that may say something, as (kind, what is in them), until there were too many or too much was read."""
    left, parts = ORIGIN_BYTES, []
    for number, (kind, length, file) in enumerate(blocks):
        if number >= ORIGIN_BLOCKS or left <= 0:
            break
        if not kind:
            continue
        data = file.read(min(length, left))
        left -= len(data)
        if kind == "C2PA":
            parts.append(data)
        else:
            found = _unpacked(kind, data, left)
            left -= max(0, len(found[1]) - len(data))
            yield found
    if parts:
        yield "C2PA", b"".join(parts)


def _unpacked(kind: str, data: bytes, most: int) -> Block:
    """A block of text in PNG under its key, unpacked where it was packed; a segment of JPEG without its head."""
    if kind == "APP1":
        if data.startswith(XMP_HEAD):
            return "XMP", data[len(XMP_HEAD) :]
        return ("EXIF", data) if data.startswith(EXIF_HEAD) else ("", b"")
    if kind not in ("tEXt", "zTXt", "iTXt"):
        return kind, data
    key, _, rest = data.partition(b"\0")
    packed = kind == "zTXt"
    if packed:
        rest = rest[1:]
    elif kind == "iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].split(b"\0", 2)[-1]
    else:
        rest = rest.decode("latin-1").encode()
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, max(1, most))
        except zlib.error:
            rest = b""
    name = key.decode("latin-1")
    return ("XMP", rest) if name == XMP_KEY else (f"text:{name}", rest)


def _blocks(file: IO[bytes]) -> Iterator[tuple[str, int, IO[bytes]]]:
    """(kind, bytes, file at its start) of each block of PNG, JPEG or WebP; kind "" for those that are skipped."""
    head = file.read(12)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        file.seek(8)
        kinds = {"tEXt": "tEXt", "zTXt": "zTXt", "iTXt": "iTXt", "eXIf": "EXIF", "caBX": "C2PA"}
        yield from _chunks(file, ">I4s", kinds, 4, 1)
    elif head[:4] == b"RIFF" and head[8:] == b"WEBP":
        yield from _chunks(file, "<4sI", {"EXIF": "EXIF", "XMP ": "XMP", "C2PA": "C2PA"}, 0, 2)
    elif head.startswith(b"\xff\xd8"):
        file.seek(2)
        yield from _segments(file)


def _chunks(
    file: IO[bytes], form: str, kinds: dict[str, str], after: int, multiple: int
) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Chunks with a head of length and name in some order, `after` bytes behind each, padded to a multiple."""
    while len(head := file.read(8)) == 8:
        one, other = struct.unpack(form, head)
        length, name = (one, other) if isinstance(one, int) else (other, one)
        start = file.tell()
        yield kinds.get(name.decode("latin-1"), ""), length, file
        file.seek(start + -(-length // multiple) * multiple + after)


def _segments(file: IO[bytes]) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Segments of JPEG before its pixels; the parts of a box in APP11 without what each repeats."""
    while (mark := file.read(2)) and len(mark) == 2 and mark[0] == 0xFF:
        if mark[1] == 0xFF:
            file.seek(-1, os.SEEK_CUR)
            continue
        if mark[1] in (0xD9, 0xDA):
            return
        (length,) = struct.unpack(">H", file.read(2))
        start = file.tell()
        if mark[1] == 0xEB:
            head = file.read(8)
            skipped = 8 if head[4:] == b"\0\0\0\1" else 16
            file.seek(start + skipped)
            kind = "C2PA" if head[:2] == b"JP" else ""
            yield kind, max(0, length - 2 - skipped), file
        else:
            yield {0xE1: "APP1", 0xFE: "text:comment"}.get(mark[1], ""), length - 2, file
        file.seek(start + length - 2)
