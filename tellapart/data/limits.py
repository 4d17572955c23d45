"""How much is read of anything that came from outside; what is larger is refused in words before it is read."""

from __future__ import annotations

MIB = 1 << 20

IMAGE_BYTES = 256 * MIB
IMAGE_PIXELS = 80_000_000
SIDECAR_BYTES = MIB
ORIGIN_BYTES = 2 * MIB
ORIGIN_BLOCKS = 100_000
JSON_BYTES = 256 * MIB
LINE_BYTES = 16 * MIB
TEXT_CHARS = 1_000_000
NAME_CHARS = 1024
COLUMNS = 1000
JSON_DEPTH = 32
ROW_GROUP_BYTES = 4096 * MIB
TAR_MEMBERS = 50_000_000
SERIES_BYTES = 256 * MIB
SERIES_CHANNELS = 4096
SOUND_SECONDS = 600
GRAPH_BYTES = 128 * MIB
GRAPH_NODES = 2_000_000
GRAPH_LINKS = 5_000_000
XML_DEPTH = 64
FILES = 50_000_000
SHARDS = 100_000
SPILL_BYTES = 512 * MIB
PROBLEMS = 100_000


def size_words(count: int) -> str:
    """`1536` -> `1.5 KiB`, as messages say it."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{count} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
