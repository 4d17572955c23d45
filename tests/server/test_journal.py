"""The journal alone: what is written is there, all of it or nothing."""

from __future__ import annotations

import sqlite3
import threading

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.server.journal import FILE, Change, Journal
from tellapart.server.limits import BusyError, TooLargeError

Z = np.arange(4, dtype=np.float32) / 4


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path)
    yield made
    made.close()


def write(journal, *changes):
    with journal.writing() as writing:
        return writing.write(changes)


def test_without_a_change_there_is_no_file(journal, tmp_path):
    assert journal.position() == (0, 0) and journal.since(0) == (0, []) and journal.files() == {}
    assert journal.file("a") is None and journal.name == "" and not list(tmp_path.iterdir())


def test_the_latest_state_of_each_item_in_the_order_of_changes(journal, tmp_path):
    write(journal, Change("a", vector=Z))
    write(journal, Change("b", file=b"bytes", model="m"), Change("c", patch=True))
    write(journal, Change("a", gone=True))
    again = Journal(tmp_path)
    seq, changes = again.since(0)
    assert seq == 4 and [(c.seq, c.id, c.gone, c.patch, c.filed) for c in changes] == [
        (2, "b", False, False, True), (3, "c", False, True, False), (4, "a", True, False, False),
    ]  # fmt: skip
    assert again.since(3)[1][0].id == "a" and again.since(4)[1] == []
    assert again.file("b") == b"bytes" and again.file("c") is None and again.files() == {"b": 2}
    assert again.name == journal.name and len(again.name) == 32
    again.close()


def test_vectors_and_columns_come_back_to_the_bit(journal):
    columns = {"text": "ä😀\x00", "year": 2**60, "share": 0.1, "words": ["a", None], "none": None}
    write(journal, Change("a", columns=columns, vector=Z, model="m"))
    change = journal.since(0)[1][0]
    assert change.columns == columns and change.vector.tobytes() == Z.tobytes() and change.model == "m"


def test_every_commit_is_on_the_disk_before_it_is_told(journal):
    write(journal, Change("a"))
    assert journal._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._writer.execute("PRAGMA synchronous").fetchone() == (2,)


def test_an_error_in_the_middle_writes_nothing(journal):
    with pytest.raises(ZeroDivisionError), journal.writing() as writing:
        writing.write([Change("a")])
        assert writing.latest(["a", "b"]).keys() == {"a"}
        1 / 0  # noqa: B018
    assert journal.since(0)[1] == []
    with pytest.raises(TooLargeError, match="larger than the journal takes"), journal.writing() as writing:
        writing.write([Change("a"), Change("b" * 2000)])
    assert journal.since(0)[1] == []
    write(journal, Change("c"))
    assert [c.id for c in journal.since(0)[1]] == ["c"]


def test_what_is_pruned_is_told(journal):
    write(journal, Change("a", gone=True), Change("b", gone=True), Change("c"))
    write(journal, Change("d", gone=True))
    with journal.writing() as writing:
        writing.prune(3, lambda id_: id_ == "b")
    assert [c.id for c in journal.since(0)[1]] == ["b", "c", "d"] and journal.position() == (4, 3)
    write(journal, Change("e"))
    assert journal.position() == (5, 3)


def test_several_make_it_and_write_at_once(tmp_path):
    wrong = []

    def work(n):
        journal = Journal(tmp_path)
        try:
            for i in range(10):
                write(journal, Change(f"{n} {i}"), Change("shared", columns={"by": n}))
        except Exception as error:
            wrong.append(error)
        finally:
            journal.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal = Journal(tmp_path)
    seq, changes = journal.since(0)
    assert not wrong and seq == 80 and len(changes) == 41 and [c.seq for c in changes] == sorted(c.seq for c in changes)
    journal.close()


def test_one_that_waits_too_long_is_told(journal, tmp_path, monkeypatch):
    monkeypatch.setattr("tellapart.server.journal.PATIENCE", 0.01)
    other = Journal(tmp_path)
    write(other, Change("z"))
    write(journal, Change("a"))
    with other.writing() as writing:
        writing.write([Change("b")])
        assert [c.id for c in journal.since(0)[1]] == ["z", "a"]
        with pytest.raises(BusyError, match="another process is writing"):
            write(journal, Change("c"))
    assert [c.id for c in journal.since(0)[1]] == ["z", "a", "b"]
    other.close()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_file_is_told(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    journal = Journal(tmp_path)
    for call in (journal.position, lambda: write(journal, Change("a"))):
        with pytest.raises(DataError, match="damaged"):
            call()
    journal.close()


def test_a_later_version_is_refused(journal, tmp_path):
    write(journal, Change("a"))
    journal.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    for call in (journal.position, lambda: write(journal, Change("a"))):
        with pytest.raises(DataError, match="update tellapart"):
            call()


def test_a_kill_before_the_tables_are_made_is_no_harm(journal, tmp_path):
    (tmp_path / FILE).touch()
    assert journal.position() == (0, 0)
    write(journal, Change("a"))
    assert journal.position() == (1, 0)
