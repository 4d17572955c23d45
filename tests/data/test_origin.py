"""What files written by Pillow, with the words that generators leave in them, say of how they were made."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tellapart import finding
from tellapart.core.collection import Collection
from tellapart.data import curate
from tellapart.data import origin as room
from tellapart.data.origin import origin

WEB_UI = "a lighthouse\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"
COMFY = '{"3": {"class_type": "KSampler", "inputs": {"seed": 1}}}'
TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" {}/></rdf:RDF></x:xmpmeta>'
)
MANIFEST = b"\0\0\0\x40jumb\0\0\0\x1ejumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0"
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8))


def png(packed: bool = False, /, **texts: str) -> bytes:
    info, file = PngInfo(), io.BytesIO()
    for key, value in texts.items():
        info.add_text(key, value, zip=packed)
    PICTURE.save(file, "PNG", pnginfo=info)
    return file.getvalue()


def saved(format: str, **options) -> bytes:
    file = io.BytesIO()
    PICTURE.save(file, format, **options)
    return file.getvalue()


def exif(comment: bytes = b"", **tags: str) -> Image.Exif:
    made = Image.Exif()
    for name, value in tags.items():
        made[{"Software": 0x0131, "ImageDescription": 0x010E, "Make": 0x010F}[name]] = value
    if comment:
        made.get_ifd(0x8769)[0x9286] = comment
    return made


def with_chunk(kind: bytes, data: bytes) -> bytes:
    """The picture as PNG with one more chunk before its end."""
    whole = png()
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return whole[:-12] + chunk + whole[-12:]


def with_segments(*parts: bytes) -> bytes:
    """The picture as JPEG with a box in several APP11 segments, as C2PA lies there."""
    whole, made = saved("JPEG"), b""
    for number, part in enumerate(parts, 1):
        data = b"JP\0\1" + struct.pack(">I", number) + (b"\0\0\0\x40jumb" if number > 1 else b"") + part
        made += b"\xff\xeb" + struct.pack(">H", len(data) + 2) + data
    return whole[:2] + made + whole[2:]


def riff(kind: bytes, data: bytes) -> bytes:
    whole = saved("WEBP", exif=exif(Make="Camera"))
    whole += kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


GENERATED = {
    "web UI, PNG": (png(parameters=WEB_UI), "settings of a Stable Diffusion web UI in its text 'parameters'"),
    "web UI, packed": (png(True, parameters=WEB_UI), "web UI"),
    "web UI, not Latin": (png(parameters="灯台 " + WEB_UI), "web UI"),
    "ComfyUI": (png(prompt=COMFY), "settings of ComfyUI in its text 'prompt'"),
    "NovelAI": (png(Software="NovelAI", Comment='{"uncond_scale": 1.0}'), "NovelAI"),
    "InvokeAI": (png(invokeai_metadata="{}"), "InvokeAI"),
    "Midjourney": (png(Description="a lighthouse --v 5 Job ID: 01234567-89ab-cdef-0123-456789abcdef"), "Midjourney"),
    "web UI, JPEG": (
        saved("JPEG", exif=exif(b"UNICODE\0" + WEB_UI.encode("utf-16-be"))), "web UI in its EXIF 'UserComment'"
    ),
    "web UI, WebP": (saved("WEBP", exif=exif(b"UNICODE\0" + WEB_UI.encode("utf-16-le"))), "web UI"),
    "ASCII comment": (saved("JPEG", exif=exif(b"ASCII\0\0\0" + WEB_UI.encode())), "web UI"),
    "description": (saved("JPEG", exif=exif(ImageDescription=WEB_UI)), "'ImageDescription'"),
    "software": (saved("JPEG", exif=exif(Software="Adobe Firefly 3")), "Adobe Firefly in its EXIF 'Software'"),
    "comment of JPEG": (saved("JPEG", comment=WEB_UI.encode()), "web UI in its text 'comment'"),
    "XMP, JPEG": (
        saved("JPEG", xmp=XMP.format(f'e:DigitalSourceType="{TYPE}trainedAlgorithmicMedia"').encode()),
        "digital source type trainedAlgorithmicMedia in its XMP",
    ),
    "XMP, WebP": (saved("WEBP", xmp=XMP.format(f'e:DST="{TYPE}trainedAlgorithmicMedia"').encode()), "in its XMP"),
    "XMP, PNG": (png(**{"XML:com.adobe.xmp": XMP.format('xmp:CreatorTool="DALL-E"')}), "DALL-E"),
    "C2PA, PNG": (with_chunk(b"caBX", MANIFEST + f"{TYPE}trainedAlgorithmicMedia".encode()), "content credentials"),
    "C2PA, cut in two": (with_segments(MANIFEST + TYPE.encode(), b"trainedAlgorithmicMedia\0"), "content credentials"),
    "C2PA, WebP": (riff(b"C2PA", MANIFEST + f"{TYPE}trainedAlgorithmicMedia".encode()), "content credentials"),
}  # fmt: skip
NOTHING = {
    "plain PNG": png(),
    "plain JPEG": saved("JPEG"),
    "camera": saved("JPEG", exif=exif(b"ASCII\0\0\0a walk", Make="Camera", Software="GIMP 2.10")),
    "a caption that names one": png(Description="how I met Midjourney and Stable Diffusion"),
    "other parameters": png(parameters="exposure 1/60", prompt="press any key"),
    "other format": saved("GIF"),
    "nothing": b"",
    "no picture": b"RIFF\0\0\0\0WEBP" + b"\xff" * 30,
    "no lengths": b"\xff\xd8\xff\xe1\0\0\xff\xe1\0",
}


@pytest.mark.parametrize("name", GENERATED)
def test_generated(name):
    data, where = GENERATED[name]
    said = origin(data)
    assert said.startswith("generated; ") and where in said, said


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_is_said(name):
    assert origin(NOTHING[name]) == ""


def test_composites_and_bare_credentials():
    composite = XMP.format(f'e:DigitalSourceType="{TYPE}compositeWithTrainedAlgorithmicMedia"')
    assert origin(saved("JPEG", xmp=composite.encode())).startswith("partly generated; digital source type composite")
    both = MANIFEST + f"{TYPE}trainedAlgorithmicMedia {TYPE}compositeWithTrainedAlgorithmicMedia".encode()
    assert origin(with_chunk(b"caBX", both)).startswith("partly generated; ")
    assert origin(with_segments(MANIFEST)) == "content credentials; a C2PA manifest that does not name a generator"
    assert origin(with_chunk(b"caBX", b"\0\0\0\x08free")) == ""


def test_what_stands_before_the_damage_counts(tmp_path):
    whole = GENERATED["web UI, PNG"][0]
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole[: whole.index(b"IDAT") + 9])
    assert origin(cut).startswith("generated; ")


def test_reading_is_bounded(monkeypatch):
    """A text that unpacks to 8 MiB, pixels, and a chunk that claims 4 GiB: little of them is read."""
    bomb = with_chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"a" * (8 << 20)))
    kinds = {kind: len(data) for kind, data in room._bounded(room._blocks(io.BytesIO(bomb)))}
    assert 0 < kinds["text:parameters"] <= room.ORIGIN_BYTES
    end, chunk = bomb[-12:], bomb[len(png()) - 12 : -12]
    many = room._bounded(room._blocks(io.BytesIO(bomb[:-12] + 20 * chunk + end)))
    assert sum(len(data) for _, data in many) <= room.ORIGIN_BYTES
    claims = png()[:8] + struct.pack(">I", 0xFFFFFFFF) + b"tEXt" + b"parameters\0" + b"a" * 100
    assert origin(claims) == ""

    class Counted(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    file = Counted(with_chunk(b"IDAT", bytes(1 << 20)))
    assert list(room._bounded(room._blocks(file))) == [] and file.taken < 200
    monkeypatch.setattr(room, "ORIGIN_BLOCKS", 2)
    assert origin(with_chunk(b"tEXt", b"parameters\0" + WEB_UI.encode())) == ""


def test_from_files_to_a_column_and_findings(tmp_path: Path):
    contents = {
        "a.png": GENERATED["web UI, PNG"][0], "b.jpg": NOTHING["camera"], "c.png": with_chunk(b"caBX", MANIFEST)
    }  # fmt: skip
    for number, (name, data) in enumerate(contents.items()):
        (tmp_path / name).write_bytes(data)
        Image.new("RGB", (30, 30), (80 * number, 0, 0)).save(tmp_path / f"plain{number}.png")
    names = [*contents, "plain0.png"]
    given = Collection.of({"id": names, "image": names, "text": [f"text {n}" for n in names]}, root=tmp_path)
    for _ in range(2):
        made = curate(given, cache=tmp_path / "cache")
        words = [str(said).partition(";")[0] for said in made.values("origin")]
        assert words == ["generated", "", "content credentials", ""]
    found = finding.find(made, ["says-generated"])
    assert [(row["item"], row["action"]) for row in found.proposed().rows()] == [("a.png", "drop")]
    assert "says-generated" in finding.fitting(made) and len(made) == 4
    plain = curate(given.take(np.array([1, 3])))
    assert "origin" not in plain.columns and "says-generated" not in finding.fitting(plain)
