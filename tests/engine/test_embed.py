"""Embedding: content keys, blocks, resume after a kill, faults in words."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, TellapartError
from tellapart.engine import embed as engine
from tellapart.engine.embed import embed


class Letters:
    """A text encoder whose vectors are a hash of the text; it counts what it is asked for."""

    modality, dim = "text", 5

    def __init__(self, fingerprint: str = "letters", stop_after: int | None = None) -> None:
        self.fingerprint, self.stop_after = fingerprint, stop_after
        self.seen: list[str] = []
        self.calls = 0

    def encode(self, items, *, batch_size: int = 64) -> np.ndarray:
        if self.stop_after is not None and self.calls >= self.stop_after:
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls += 1
        self.seen += list(items)
        return np.asarray([self.vector(i) for i in items], np.float32)

    @staticmethod
    def vector(text: str) -> list[float]:
        return [b / 255 for b in hashlib.sha256(text.encode()).digest()[:5]]


class Mean:
    """An image encoder: the mean colour."""

    modality, dim, fingerprint = "image", 3, "mean"

    def encode(self, items, *, batch_size: int = 64) -> np.ndarray:
        return np.asarray([np.asarray(items[i]).reshape(-1, 3).mean(0) for i in range(len(items))], np.float32)


def texts(n: int, start: int = 0) -> Collection:
    return Collection.of({"text": [f"text {i}" for i in range(start, start + n)]})


def expected(collection: Collection) -> np.ndarray:
    return np.asarray([Letters.vector(t) for t in collection.values("text")], np.float32)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(engine, "ITEMS_A_BLOCK", 8)
    monkeypatch.setattr(engine, "ROWS_A_COPY", 7)


def test_rows_are_those_of_the_items_and_mapped(tmp_path: Path) -> None:
    collection, done = texts(50), []
    z = embed(collection, "text", Letters(), cache=tmp_path, progress=lambda a, b: done.append((a, b)))
    assert isinstance(z, np.memmap)
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, expected(collection))
    assert done[0] == (0, 50)
    assert done[-1] == (50, 50)
    assert [a for a, _ in done] == sorted(a for a, _ in done)


def test_a_second_call_embeds_nothing(tmp_path: Path) -> None:
    embed(texts(20), "text", Letters(), cache=tmp_path)
    again = Letters()
    z = embed(texts(20), "text", again, cache=tmp_path)
    assert again.seen == []
    np.testing.assert_array_equal(z, expected(texts(20)))
    assert not list(tmp_path.rglob("block-*"))


def test_equal_items_are_embedded_once(tmp_path: Path) -> None:
    encoder = Letters()
    z = embed(Collection.of({"text": ["a", "b", "a", "a"]}), "text", encoder, cache=tmp_path)
    assert sorted(encoder.seen) == ["a", "b"]
    np.testing.assert_array_equal(z[0], z[2])


def test_a_changed_collection_embeds_what_changed(tmp_path: Path) -> None:
    embed(texts(40), "text", Letters(), cache=tmp_path)
    changed = Collection.of({"text": ["new", *reversed([f"text {i}" for i in range(40)]), "newer"]})
    encoder = Letters()
    z = embed(changed, "text", encoder, cache=tmp_path)
    assert sorted(encoder.seen) == ["new", "newer"]
    np.testing.assert_array_equal(z, expected(changed))


def test_another_fingerprint_shares_nothing(tmp_path: Path) -> None:
    embed(texts(5), "text", Letters("a"), cache=tmp_path)
    other = Letters("b")
    embed(texts(5), "text", other, cache=tmp_path)
    assert len(other.seen) == 5


def _embed_and_die(folder: Path, calls: int) -> None:
    embed(texts(60), "text", Letters(stop_after=calls), cache=folder)


@pytest.mark.parametrize("calls", [0, 1, 4])
def test_killed_in_the_middle_goes_on_with_the_same_bits(tmp_path: Path, calls: int) -> None:
    process = multiprocessing.get_context("fork").Process(target=_embed_and_die, args=(tmp_path / "a", calls))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    encoder = Letters()
    resumed = embed(texts(60), "text", encoder, cache=tmp_path / "a")
    assert len(encoder.seen) == 60 - 8 * calls
    whole = embed(texts(60), "text", Letters(), cache=tmp_path / "b")
    assert resumed.tobytes() == whole.tobytes()


@pytest.mark.parametrize("step", range(6))
def test_stopped_at_any_write_leaves_nothing_half_written(tmp_path: Path, monkeypatch, step: int) -> None:
    real, count = os.replace, [0]

    def replace(a, b):
        if count[0] == step:
            raise KeyboardInterrupt
        count[0] += 1
        real(a, b)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        embed(texts(30), "text", Letters(), cache=tmp_path)
    monkeypatch.setattr(os, "replace", real)
    assert not list(tmp_path.rglob(".*.npy.*"))
    np.testing.assert_array_equal(embed(texts(30), "text", Letters(), cache=tmp_path), expected(texts(30)))


def test_a_full_disk_is_said_and_what_was_finished_stays(tmp_path: Path, monkeypatch) -> None:
    real, count = os.fsync, [0]

    def fsync(number):
        count[0] += 1
        if count[0] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(TellapartError, match=r"disk .* is full"):
        embed(texts(30), "text", Letters(), cache=tmp_path)
    monkeypatch.setattr(os, "fsync", real)
    encoder = Letters()
    np.testing.assert_array_equal(embed(texts(30), "text", encoder, cache=tmp_path), expected(texts(30)))
    assert len(encoder.seen) == 14


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_args, **_keywords):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(TellapartError, match=r"cannot be written .* another cache folder"):
        embed(texts(3), "text", Letters(), cache=tmp_path / "cache")


def test_a_damaged_table_is_made_anew(tmp_path: Path) -> None:
    embed(texts(9), "text", Letters(), cache=tmp_path)
    table = next(f for f in tmp_path.rglob("table-*.npy") if ".keys" not in f.name)
    table.write_bytes(table.read_bytes()[:150])
    np.testing.assert_array_equal(embed(texts(9), "text", Letters(), cache=tmp_path), expected(texts(9)))


def test_pickled_files_in_the_cache_are_not_loaded(tmp_path: Path) -> None:
    embed(texts(3), "text", Letters(), cache=tmp_path)
    np.save(tmp_path / "letters" / "block-evil.npy", np.asarray([{"a": 1}], object), allow_pickle=True)
    np.testing.assert_array_equal(embed(texts(4), "text", Letters(), cache=tmp_path), expected(texts(4)))


def test_vectors_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    encoder = Letters()
    encoder.encode = lambda items, **_: np.full((len(items), 5), np.nan, np.float32)  # type: ignore[method-assign]
    with pytest.raises(TellapartError, match="not finite"):
        embed(texts(3), "text", encoder, cache=tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_pictures_from_paths_and_bytes_are_the_same(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 200, 30), (7, 8, 9)]
    for i, colour in enumerate(colours):
        Image.new("RGB", (9, 7), colour).save(tmp_path / f"{i}.png")
    names = [f"{i}.png" for i in range(3)]
    by_path = Collection.of({"image": names}, root=tmp_path)
    by_bytes = Collection.of({"image": [(tmp_path / n).read_bytes() for n in names]})
    z = embed(by_path, "image", Mean(), cache=tmp_path / "cache")
    np.testing.assert_array_equal(z, np.asarray(colours, np.float32))
    np.testing.assert_array_equal(embed(by_bytes, "image", Mean(), cache=tmp_path / "other"), z)


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"nothing of the sort")
    collection = Collection.of({"id": ["x7"], "image": ["bad.png"]}, root=tmp_path)
    with pytest.raises(DataError, match=r"item .x7.: .*curate"):
        embed(collection, "image", Mean(), cache=tmp_path / "cache")
    missing = Collection.of({"id": ["x8"], "image": ["none.png"]}, root=tmp_path)
    with pytest.raises(DataError, match="item 'x8'"):
        embed(missing, "image", Mean(), cache=tmp_path / "cache")


def test_a_missing_text_is_named_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="item '00000001'"):
        embed(Collection.of({"text": ["a", None]}), "text", Letters(), cache=tmp_path)
    assert embed(Collection.of({"text": [""]}), "text", Letters(), cache=tmp_path).shape == (1, 5)


def test_no_items_give_no_rows(tmp_path: Path) -> None:
    empty = texts(3).take([])
    assert embed(empty, "text", Letters(), cache=tmp_path).shape == (0, 5)
