"""Collections that come with packages, for demonstrations and for evidence. Each function gives a `Collection`."""

from __future__ import annotations

import gzip
import importlib.util
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, near
from tellapart.core.needs import require
from tellapart.core.progress import Progress
from tellapart.data.provenance import with_about

DATA_VARIABLE = "TELLAPART_DATA"
CLOTHES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
IDX_IMAGES, IDX_LABELS = 2051, 2049


def load(name: str, *, cache: Path | None = None, progress: Progress | None = None) -> Collection:
    """A shipped collection by name."""
    if name == "openmoji":
        return openmoji(cache=cache, progress=progress)
    if name == "openmoji-changes":
        return openmoji_changes(cache=cache, progress=progress)
    makers = {
        "digits": digits, "fashion": fashion, "wordnet": wordnet, "wordnet-relations": wordnet_relations,
        "wordnet-graph": wordnet_graph, "docstrings": docstrings, "basic-motions": basic_motions,
    }  # fmt: skip
    if name not in makers:
        raise DataError(
            f"there is no shipped collection {name!r}; {near(name, ['openmoji', 'openmoji-changes', *makers])}"
        )
    return makers[name]()


def openmoji(*, cache: Path | None = None, progress: Progress | None = None, size: int = 224) -> Collection:
    """OpenMoji drawings with their names; see `tellapart.data.openmoji`."""
    from tellapart.data import openmoji as room

    return room.openmoji(cache=cache, progress=progress, size=size)


def openmoji_changes(*, cache: Path | None = None, progress: Progress | None = None) -> Collection:
    """Drawings changed in words; see `tellapart.data.openmoji_changes`."""
    from tellapart.data import openmoji_changes as room

    return room.openmoji_changes(cache=cache, progress=progress)


def digits() -> Collection:
    """1,797 handwritten digits of 8 x 8 pixels from scikit-learn: `image` (PGM bytes), `label` (0 to 9)."""
    datasets = require("sklearn.datasets", "the collection digits")
    found = datasets.load_digits()
    pixels = np.round(found.images / 16 * 255).astype(np.uint8)
    made = _of_pixels(pixels, [f"digit-{i:04d}" for i in range(len(pixels))], [str(t) for t in found.target])
    return with_about(made, name="digits", licence="BSD-3-Clause", source="scikit-learn",
                      attribution="Optical recognition of handwritten digits, Alpaydin and Kaynak, UCI")  # fmt: skip


def fashion() -> Collection:
    """70,000 photographs of clothes, 28 x 28 grey pixels: `image` (PGM bytes), `label` (a word), `split` (train, test).

    Read from the Debian package dataset-fashion-mnist, or from the folder `TELLAPART_DATA` that it was unpacked in.

    Raises:
        DataError: the files are not there, with the line that gets them.
    """
    folder = file_of_package(
        "train-images-idx3-ubyte.gz", ("usr/share/datasets/fashion-mnist", "fashion-mnist"), "dataset-fashion-mnist"
    )
    parts, ids, labels, splits = [], [], [], []
    for stem, split, most in (("train", "train", 60_000), ("t10k", "test", 10_000)):
        images = _idx(folder / f"{stem}-images-idx3-ubyte.gz", IDX_IMAGES, most)
        classes = _idx(folder / f"{stem}-labels-idx1-ubyte.gz", IDX_LABELS, most)
        if len(images) != len(classes) or (len(classes) and classes.max() >= len(CLOTHES)):
            raise DataError(
                f"{folder} holds {len(images)} pictures and {len(classes)} labels for {split}; unpack it again"
            )
        parts.append(images)
        ids += [f"{split}-{i:05d}" for i in range(len(images))]
        labels += [CLOTHES[c] for c in classes]
        splits += [split] * len(images)
    made = _of_pixels(np.concatenate(parts), ids, labels).with_column("split", splits)
    return with_about(made, name="fashion", licence="MIT", attribution="Fashion-MNIST by Zalando SE",
                      source="Debian package dataset-fashion-mnist")  # fmt: skip


def wordnet() -> Collection:
    """The synsets of WordNet 3.0; see `tellapart.data.wordnet`."""
    from tellapart.data import wordnet as room

    return room.wordnet(file_of_package("data.noun", ("usr/share/wordnet", "wordnet"), "wordnet-base"))


def wordnet_relations() -> Collection:
    """The relations between synsets of WordNet 3.0, as pairs; see `tellapart.data.wordnet.relations`."""
    from tellapart.data import wordnet as room

    return room.relations(file_of_package("data.noun", ("usr/share/wordnet", "wordnet"), "wordnet-base"))


def wordnet_graph() -> Collection:
    """The synsets of WordNet 3.0 as nodes with typed edges; see `tellapart.data.wordnet.graph`."""
    from tellapart.data import wordnet as room

    return room.graph(file_of_package("data.noun", ("usr/share/wordnet", "wordnet"), "wordnet-base"))


def basic_motions() -> Collection:
    """80 windows of a wrist: `series` (accelerometer), `other_series` (gyroscope), `label`, one of four activities."""
    return recordings("BasicMotions", columns={"series": "0-2", "other_series": "3-5"})


def recordings(problem: str, *, columns: Mapping[str, str] | None = None) -> Collection:
    """Labelled recordings that the package aeon ships as .ts files; it need not work, its files are all that is read.

    They are looked for where aeon is installed, or below `TELLAPART_DATA`.

    Raises:
        DataError: the files are not there, with the line that gets them.
    """
    from tellapart.data.readers import ts

    own, found = os.environ.get(DATA_VARIABLE), importlib.util.find_spec("aeon")
    bases = [Path(own)] if own else []
    bases += [Path(place).parent for place in (found.submodule_search_locations or ())] if found else []
    for base in bases:
        folder = base / "aeon" / "datasets" / "data" / problem
        if (folder / f"{problem}_TRAIN.ts").is_file():
            return with_about(ts.read(folder, columns=columns), name=problem, licence="BSD-3-Clause", source="aeon",
                              attribution=f"{problem}, UCR and UEA archives of time series")  # fmt: skip
    raise DataError(
        "the files of the package aeon are not there. Run: pip install --no-deps aeon (or pip download --no-deps aeon, "
        f"unzip it into a folder, and set {DATA_VARIABLE}=FOLDER)"
    )


def docstrings(packages: Sequence[str] = (), *, limit: int = 20_000) -> Collection:
    """Functions of installed packages and what they say of themselves; see `tellapart.data.docstrings`."""
    from tellapart.data import docstrings as room

    return room.docstrings(packages, limit=limit)


def pixels(collection: Collection) -> np.ndarray:
    """[n, height, width] uint8 of a collection of grey pictures of one size, as `digits` and `fashion` are."""
    column = collection["image"].combine_chunks()
    if not len(column) or not pa.types.is_large_binary(column.type):
        raise DataError("pixels() takes digits() or fashion(): pictures held as bytes")
    first = column[0].as_py()
    fields = first[:32].split(b"\n", 3)
    if len(fields) < 4 or fields[0] != b"P5":
        raise DataError("pixels() takes digits() or fashion(): grey pictures in PGM")
    width, height = (int(v) for v in fields[1].split())
    head = len(first) - width * height
    offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
    if not (np.diff(offsets) == len(first)).all():
        raise DataError("the pictures are not all of one size")
    raw = np.frombuffer(column.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].reshape(len(column), len(first))
    return raw[:, head:].reshape(-1, height, width)


def _of_pixels(values: np.ndarray, ids: list[str], labels: list[str]) -> Collection:
    """Grey pictures as PGM files in one buffer: header and pixels side by side, nothing encoded one by one."""
    n, height, width = values.shape
    header = np.frombuffer(f"P5\n{width} {height}\n255\n".encode(), np.uint8)
    rows = np.concatenate([np.broadcast_to(header, (n, len(header))), values.reshape(n, -1)], axis=1)
    offsets = np.arange(n + 1, dtype=np.int64) * rows.shape[1]
    image = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), n, [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(rows))]
    )
    return Collection.of({"id": ids, "image": image, "label": labels})


def _idx(file: Path, magic: int, most: int) -> np.ndarray:
    """An idx file of bytes; its size is checked against its header, which is checked against what it may claim."""
    try:
        with gzip.open(file, "rb") as opened:
            head = np.frombuffer(opened.read(4), ">u4")
            if len(head) != 1 or head[0] != magic:
                raise DataError(f"{file} is not the idx file it is named")
            shape = np.frombuffer(opened.read(4 * (int(head[0]) & 255)), ">u4").astype(int)
            if shape[0] > most or (shape[1:] > 28).any():
                raise DataError(f"{file} claims {shape.tolist()} values, more than there can be")
            values = np.frombuffer(opened.read(int(shape.prod()) + 1), np.uint8)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
    if len(values) != shape.prod():
        raise DataError(f"{file} is cut short: {len(values)} of {shape.prod()} values")
    return values.reshape(shape)


def file_of_package(file: str, below: tuple[str, ...], package: str) -> Path:
    """The folder that holds a file of a Debian package: where it installs, or below `TELLAPART_DATA`."""
    own = os.environ.get(DATA_VARIABLE)
    bases = [Path(own, part) for part in (*below, "")] if own else []
    for folder in [*bases, Path("/", below[0])]:
        if (folder / file).is_file():
            return folder
    raise DataError(
        f"the Debian package {package} is not installed. Run: apt-get install {package} (or unpack it without root: "
        f"apt-get download {package} && dpkg-deb -x {package}_*.deb FOLDER, and set {DATA_VARIABLE}=FOLDER)"
    )
