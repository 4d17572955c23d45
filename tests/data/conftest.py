"""Real files, made by the tests that read them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def noise(seed: int, width: int = 32, height: int = 24) -> Image.Image:
    """A picture unlike every other: smooth random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    """The bytes of a picture file."""
    out = io.BytesIO()
    image.save(out, format=format, **options)
    return out.getvalue()


def bomb(width: int = 100_000, height: int = 100_000) -> bytes:
    """A PNG of a few bytes whose header claims enormous sides."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with four pictures that their names describe."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed, name in enumerate(("red apple.png", "blue_car-02.jpg", "old house.webp", "green-tree.bmp")):
        noise(seed).save(folder / name)
    return folder
