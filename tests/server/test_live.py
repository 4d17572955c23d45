"""Items added, changed and deleted while others search: by one process, by threads, by two processes."""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.server import journal
from tellapart.server.limits import ID_CHARACTERS, BusyError, NoSuchItemError, TooLargeError
from tellapart.server.live import Live
from tellapart.server.taking import Given


def _changing() -> Any:
    spec = importlib.util.spec_from_file_location("tellapart_changing", Path(__file__).with_name("changing.py"))
    assert spec is not None and spec.loader is not None
    made = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


changing = _changing()


@pytest.fixture
def folder(tmp_path):
    return changing.make(tmp_path / "run")


@pytest.fixture
def live(folder):
    opened = changing.live(folder)
    yield opened
    opened.close()


def as_one_index(at):
    """An exact index of all that a snapshot holds."""
    index = make("index", "exact")
    ids = at.collection.ids.tolist()
    index.add(ids, at.vectors(ids))
    return index


def same_as_one_index(at, where=None, k=12):
    rng = np.random.default_rng(0)
    queries = np.concatenate([rng.normal(size=(6, changing.DIM)), at.vectors(at.collection.ids[-3:].tolist())])
    passing = at.passing(where or {})
    whole, allowed = as_one_index(at), None
    if where:
        rows = at.collection
        allowed = {
            i for i, kind, year in zip(rows.ids, rows.values("kind"), rows.values("year"), strict=True)
            if where.get("kind", kind) == kind and year >= where.get("year", {"from": year})["from"]
        }  # fmt: skip
        assert passing.count == len(allowed)
    for q in queries.astype(np.float32):
        found, true = at.nearest(q[None], k, passing), whole.search(q[None], k, filter=allowed)
        assert found.ids.tolist() == true.ids.tolist()
        assert found.scores.tolist() == true.scores.tolist()


class TestOneProcess:
    def test_what_was_put_is_found_as_if_it_had_been_in_the_index(self, live):
        taken = live.put("new", {"positive": "something new", "kind": "odd", "year": 2000})
        assert taken.ids == ["new"] and taken.seq == 1 and "duplicate group" in taken.notes[0]
        live.put("item 0003", {"positive": "another text"})
        live.delete(["item 0005", "item 0006"])
        at = live.now()
        assert len(at) == 59 and "item 0005" not in at
        assert at.nearest(live.model.encode_query(["something new"]), 1)[0][0][0] == "new"
        assert at.row("item 0003") == {
            "id": "item 0003", "anchor": "ask item 0003", "positive": "another text", "kind": "even", "year": 1903,
            "group": None,
        }  # fmt: skip
        for where in (None, {"kind": "odd"}, {"kind": "even", "year": {"from": 1950}}, {"year": {"from": 1999}}):
            same_as_one_index(at, where)
        same_as_one_index(at, k=200)

    def test_ties_come_by_id_wherever_the_items_lie(self, live):
        text = "text of item 0010"
        live.put_all([Given(i, {"positive": text, "kind": "odd"}) for i in ("z", "a", "item 0010x", "item 0001")])
        hits = live.now().nearest(live.model.encode_query([text]), 5)[0]
        assert [i for i, _ in hits] == ["a", "item 0001", "item 0010", "item 0010x", "z"]
        assert len({score for _, score in hits}) == 1

    def test_a_snapshot_never_changes(self, live):
        before = live.now()
        ids = before.collection.ids.tolist()
        live.put("new", {"positive": "x"})
        middle = live.now()
        live.delete(["new", *ids[:40]])
        live.put("new", {"positive": "y"})
        assert len(before) == 60 and "new" not in before and middle.row("new")["positive"] == "x"
        same_as_one_index(before)
        same_as_one_index(middle)
        same_as_one_index(live.now())

    def test_columns_alone_keep_text_and_vector(self, live):
        z = live.now().vectors(["item 0004"])
        live.put("item 0004", {"kind": "odd", "year": None})
        live.put("item 0004", {"year": 7})
        row = live.now().row("item 0004")
        assert (row["kind"], row["year"], row["positive"], row["group"]) == ("odd", 7, "text of item 0004", 4)
        assert (live.now().vectors(["item 0004"]) == z).all()

    def test_what_was_deleted_comes_back_without_what_it_was(self, live):
        live.delete("item 0004")
        with pytest.raises(DataError, match="needs a text"):
            live.put("item 0004", {"kind": "odd"})
        live.put("item 0004", {"positive": "again"})
        assert live.now().row("item 0004")["kind"] is None and len(live.now()) == 60

    def test_many_changes_of_few_items_take_no_more_room(self, live, monkeypatch):
        monkeypatch.setattr("tellapart.server.snapshot.PACK_FROM", 16)
        for i in range(80):
            live.put(f"new {i % 5}", {"positive": f"round {i}", "year": i})
        assert live.now().overlay.count < 40 and len(live.now()) == 65
        same_as_one_index(live.now())

    def test_a_given_vector_is_taken_as_it_is(self, live):
        z = np.arange(1, changing.DIM + 1, dtype=np.float64)
        live.put("new", {"positive": "x"}, vector=z.tolist())
        np.testing.assert_allclose(live.now().vectors(["new"])[0], z / np.linalg.norm(z), atol=1e-6)

    def test_opened_again_it_is_the_same(self, folder, live):
        live.put("new", {"positive": "x", "year": 3})
        live.delete("item 0000")
        again = changing.live(folder)
        assert again.now().collection.table.equals(live.now().collection.table)
        same_as_one_index(again.now())
        again.close()


class TestRefused:
    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (Given("", {"positive": "x"}), "needs an id"),
            (Given("a\n", {"positive": "x"}), "cannot be shown"),
            (Given("\ud800", {"positive": "x"}), "cannot be shown"),
            (Given("i" * (ID_CHARACTERS + 1), {"positive": "x"}), "an id may have"),
            (Given("new"), "needs a text"),
            (Given("new", {"positive": " "}), "no text"),
            (Given("item 0001", {"positive": None}), "no text"),
            (Given("new", {"positive": 3}), "holds string, and '3' \\(a whole number\\)"),
            (Given("new", {"positive": "x", "year": "1900"}), "holds int64, and '1900' \\(text\\)"),
            (Given("new", {"positive": "x", "year": 1.5}), "holds int64"),
            (Given("new", {"positive": "x", "year": True}), "true or false"),
            (Given("new", {"positive": "x", "year": 2**70}), "holds int64"),
            (Given("new", {"positive": "x", "yeer": 1}), "did you mean year"),
            (Given("new", {"positive": "x", "group": 1}), "made by curation"),
            (Given("new", {"positive": "x", "id": "other"}), "leave the column out"),
            (Given("new", {"positive": "x"}, b"\x89PNG"), "are texts"),
            (Given("new", {"positive": "x"}, vector=[1.0]), "16 numbers"),
            (Given("new", {"positive": "x"}, vector=[float("nan")] * 16), "not finite"),
            (Given("new", {"positive": "x"}, vector=[0.0] * 16), "zeros"),
            (Given("new", {"positive": "x"}, vector="words"), "list of numbers"),
            (Given("new", {}, vector=[1.0] * 16), "give both"),
            (Given("new", {"positive": "x" * 2_000_000}), "characters"),
        ],
    )
    def test_in_words_and_nothing_is_written(self, live, given, words):
        with pytest.raises(DataError, match=words):
            live.put_all([Given("good", {"positive": "x"}), given])
        assert len(live.now()) == 60 and live.journal.position() == (0, 0)

    def test_batches(self, live):
        with pytest.raises(DataError, match="twice"):
            live.put_all([Given("a", {"positive": "x"}), Given("a", {"positive": "y"})])
        with pytest.raises(TooLargeError, match="several batches"):
            live.delete([str(i) for i in range(1001)])
        with pytest.raises(NoSuchItemError, match="'nobody', so nothing was deleted"):
            live.delete(["item 0001", "nobody"])
        with pytest.raises(DataError, match="no id"):
            live.delete([])
        assert "item 0001" in live.now()

    def test_no_room_on_the_disk(self, folder, monkeypatch):
        monkeypatch.setattr(journal, "JOURNAL_BYTES", 2**18)
        live = changing.live(folder)
        taken = 0
        with pytest.raises(DataError, match="no room"):
            for i in range(100):
                live.put(f"new {i}", {"positive": f"{i} " * 5000})
                taken = i + 1
        assert taken and len(live.now()) == 60 + taken
        live.delete("new 0")
        live.close()
        again = changing.live(folder)
        assert len(again.now()) == 59 + taken
        again.close()


class TestFold:
    def test_a_fold_changes_nothing_but_where_it_lies(self, folder, live):
        live.put_all([Given(f"new {i}", {"positive": f"n{i}", "kind": "odd", "year": i}) for i in range(9)])
        live.put("item 0002", {"year": 5})
        live.delete(["item 0001", "new 4"])
        before = live.now()
        folded = live.fold()
        at = live.now()
        assert folded.items == len(at) == len(before) == 67 and folded.version == "v0001"
        assert not at.changed
        assert at.collection.table.to_pylist() == before.collection.table.to_pylist()
        for k in (5, 100):
            for q in np.random.default_rng(1).normal(size=(4, 1, changing.DIM)).astype(np.float32):
                assert at.nearest(q, k).ids.tolist() == before.nearest(q, k).ids.tolist()
        assert live.fold() is None
        live.put("item 0001", {"positive": "back"})
        live.delete("new 5")
        assert live.fold().version == "v0002"
        again = changing.live(folder)
        assert again.now().base.version == "v0002" and len(again.now()) == 67
        same_as_one_index(again.now())
        again.close()

    @pytest.mark.parametrize("spec", ["sign-bits", "ivf(cells=4)"])
    def test_other_indexes_fold_too(self, tmp_path, spec):
        live = changing.live(changing.make(tmp_path / "run", spec=spec))
        live.put("new", {"positive": "x"})
        live.delete("item 0000")
        assert live.fold().items == 60
        assert live.now().nearest(live.model.encode_query(["x"]), 1)[0][0][0] == "new"
        live.close()

    def test_a_run_or_an_index_made_anew_keeps_what_was_taken(self, folder, live):
        live.put("new", {"positive": "x"})
        live.put("item 0002", {"year": 5})
        live.delete("item 0001")
        live.fold()
        changing.make(folder, n=50)
        for opened in (changing.live(folder), live):
            opened.now()
            opened.settle()
            at = opened.now()
            assert len(at) == 50 and "new" in at and "item 0001" not in at and at.row("item 0002")["year"] == 5
            same_as_one_index(at)
            opened.close()

    def test_another_model_makes_the_vectors_anew(self, folder, live):
        live.put("new", {"positive": "x"})
        live.put("item 0002", {"year": 5})
        live.close()
        (folder / "model" / "model.json").write_text("{}")

        class Other(type(live.model)):
            def encode_document(self, items, batch_size=32):
                return super().encode_document([f"other {i}" for i in items])

        model = Other(Collection.open(folder / "collection"))
        again = Live(folder, model)
        assert (again.now().vectors(["new"]) == model.encode_document(["x"])).all()
        again.close()

    def test_when_everything_is_gone_there_is_nothing_to_fold(self, live):
        live.delete(live.now().collection.ids.tolist())
        assert len(live.now()) == 0 and live.now().nearest(np.ones((1, changing.DIM), np.float32), 3).ids.shape == (
            1,
            0,
        )
        with pytest.raises(DataError, match="every item was deleted"):
            live.fold()

    def test_no_room_leaves_the_old_version(self, folder, live, monkeypatch):
        live.put("new", {"positive": "x"})

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("tellapart.core.vectors.os.rename", full)
            with pytest.raises(DataError, match="No space left"):
                live.fold()
        assert "new" in changing.live(folder).now() and not list((folder / "served").glob(".writing*"))
        assert live.fold().items == 61

    def test_a_journal_that_is_gone_is_told(self, folder, live):
        live.put("new", {"positive": "x"})
        live.fold()
        live.close()
        for file in folder.glob("journal.sqlite*"):
            file.unlink()
        with pytest.raises(DataError, match="another journal"):
            changing.live(folder)

    def test_it_begins_by_itself(self, folder, monkeypatch):
        monkeypatch.setattr("tellapart.server.live.FOLD_FROM", 5)
        live = changing.live(folder, folding=True)
        for i in range(8):
            live.put(f"new {i}", {"positive": f"n{i}"})
        live.settle()
        live.now()
        live.settle()
        assert live.now().base.version.startswith("v") and len(live.now()) == 68
        live.close()


class TestTogether:
    def test_readers_never_see_half_of_a_batch_while_another_writes_and_folds(self, live):
        """Each batch moves ten items to a new round: whatever a reader sees is of one round."""
        names = [f"new {i}" for i in range(10)]
        end, wrong, seen = threading.Event(), [], set()

        def write(round_):
            live.put_all([Given(i, {"positive": f"{i} {round_}", "year": round_}) for i in names])

        def read():
            q = np.random.default_rng(0).normal(size=(1, changing.DIM)).astype(np.float32)
            while not end.is_set():
                at = live.now()
                years = {at.row(i)["year"] for i in names}
                ids = at.nearest(q, 80).ids[0].tolist()
                seen.update(years)
                if len(years) != 1 or len(ids) != len(set(ids)) or len(ids) != len(at) or len(at) != 70:
                    wrong.append((years, len(ids), len(at)))

        write(0)
        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for round_ in range(1, 21):
            write(round_)
            if round_ % 10 == 0:
                live.fold()
        end.set()
        for reader in readers:
            reader.join()
        assert not wrong and len(seen) > 1
        same_as_one_index(live.now())

    def test_another_process_sees_a_change_at_once_and_a_fold_soon(self, folder):
        """Two `Live` share nothing but the folder, as two processes do."""
        one, other = changing.live(folder), changing.live(folder)
        one.put("new", {"positive": "x"})
        assert other.behind() == 1 and "new" in other.now() and other.behind() == 0
        other.delete("new")
        assert "new" not in one.now()
        one.put("newer", {"positive": "y"})
        one.fold()
        assert "newer" in other.now()
        other.settle()
        assert (one.behind(), other.behind()) == (0, 0)
        assert other.now().base.version == "v0001" and len(other.now()) == 61
        other.put("newest", {"positive": "z"})
        assert len(one.now()) == 62
        same_as_one_index(one.now())
        same_as_one_index(other.now())
        one.close(), other.close()

    def test_what_was_deleted_before_a_fold_stays_deleted_for_one_that_slept(self, folder):
        one, other = changing.live(folder), changing.live(folder)
        one.put("new", {"positive": "x"})
        assert "new" in other.now()
        one.delete("new")
        one.put("newer", {"positive": "x"})
        one.fold()
        one.delete("newer")
        one.put("last", {"positive": "x"})
        one.fold()
        at = other.now()
        assert "new" not in at and "newer" not in at and "last" in at and len(at) == 61
        one.close(), other.close()

    def test_one_folds_at_a_time(self, folder, live):
        live.put("new", {"positive": "x"})
        with changing.live(folder)._alone(), pytest.raises(BusyError, match="another process is folding"):
            live.fold()


@pytest.mark.processes
def test_kill_9_anywhere(tmp_path):
    """Processes that change a run are killed: nothing that was taken is lost, no half index is served."""
    kills = changing.Kills()
    kills.run(tmp_path / "run", 4, seed=1, longest=0.3)
    assert kills.points == 4 and kills.opened > 4
    assert (kills.lost, kills.half) == (0, 0)
