"""What a run folder answers, without HTTP."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.server import confusions, filters
from tellapart.server.limits import (
    EXAMPLES,
    QUERY_CHARACTERS,
    RESULTS,
    UPLOAD_BYTES,
    NoSuchItemError,
    TooLargeError,
)
from tellapart.server.service import Service

CALIBRATION = '{"calibration": {"method": "platt", "x": [%s], "y": [], "count": 9, "matches": 3}, "threshold": %s}'


def colours(ids):
    return {i.split("-")[0] for i in ids}


def other(service, *, collection=None, index=None):
    """The same service over another collection or index."""
    return Service(
        service.folder, model=service.model, index=index or service.index, collection=collection or service.collection
    )


def ids_of(found):
    return [r.id for r in found.results]


class TestSearch:
    def test_words_find_what_they_name(self, service):
        found = service.search("a red thing", k=6)
        assert colours(ids_of(found)) == {"red"}
        assert [r.score for r in found.results] == sorted((r.score for r in found.results), reverse=True)
        assert found.searched == 60
        assert not found.nothing_here

    def test_a_picture_finds_its_colour(self, service, tools):
        assert colours(ids_of(service.search(image=tools.png(tools.draw("star", tools.COLOURS["blue"])), k=6))) == {
            "blue"
        }

    def test_words_and_a_picture_are_added(self, service, tools):
        found = service.search("red", image=tools.png(tools.draw("star", tools.COLOURS["blue"])), k=12)
        assert colours(ids_of(found)) == {"red", "blue"}

    def test_like_uses_the_stored_vector_and_is_not_shown_again(self, service):
        found = service.search(like=["green-star"], k=5)
        assert colours(ids_of(found)) == {"green"}
        assert "green-star" not in ids_of(found)
        assert len(found.results) == 5

    def test_the_query_stands_at_a_right_angle_to_what_is_unliked(self, service):
        z, _ = service.asking.vector("red blue", None, [], ["red-circle"])
        away = service.index.vectors(["red-circle"])[0]
        assert abs(float(z @ away)) < 1e-5
        assert abs(float(np.linalg.norm(z)) - 1) < 1e-5
        assert colours(ids_of(service.search("red blue", unlike=["red-circle"], k=6))) == {"blue"}

    def test_what_already_points_away_is_left_as_it_is(self, service):
        with_it, _ = service.asking.vector("blue", None, [], [])
        service.index.z[service.index.row["red-ring"]] *= -1
        without, _ = service.asking.vector("blue", None, [], ["red-ring"])
        assert float(with_it @ service.index.vectors(["red-ring"])[0]) < 0
        np.testing.assert_allclose(without, with_it, atol=1e-6)

    def test_unlike_alone_finds_the_least_alike(self, service):
        found = service.search(unlike=["red-circle"], k=50)
        assert "red" not in colours(ids_of(found))
        assert "least like" in found.notes[0]

    def test_opposites_cancel_in_words(self, service):
        with pytest.raises(DataError, match="cancel out"):
            service.search(like=["red-circle"], unlike=["red-circle"])

    def test_nothing_at_all_shows_items_from_all_over(self, service):
        found = service.search(k=10)
        assert len(found.results) == 10
        assert found.results[0].id == "red-circle" and found.results[-1].id == "black-cross"
        assert all(r.score is None for r in found.results)

    def test_filters_restrict_and_are_counted(self, service):
        found = service.search("red", where={"form": ["star", "ring"], "year": {"from": 1950, "to": 1979}}, k=48)
        assert {i.split("-")[1] for i in ids_of(found)} == {"star", "ring"}
        assert found.searched == len(found.results) == 6

    def test_no_item_passes(self, service):
        found = service.search("red", where={"form": "star", "round": True})
        assert found.results == () and "No item passes" in found.notes[0]

    def test_model_without_pictures_says_so(self, run_folder, tools):
        service = tools.open_run(run_folder)
        service.asking.reads = ("text",)
        with pytest.raises(DataError, match="does not read a picture; search with words"):
            service.search(image=tools.png(tools.draw("star", (1, 2, 3))))

    def test_long_text_is_said_to_be_cut(self, service):
        class Encoder:
            truncated_ = 0
            max_tokens = 256

        encoder, whole = Encoder(), service.model.encode_query

        def encode(items):
            encoder.truncated_ += len(items[0]) > 20
            return whole(items)

        service.model.encoders, service.model.encode_query = {"text": encoder}, encode
        assert "cut after 256 tokens" in service.search("red " * 20).notes[0]
        assert service.search("red").notes == ()


class TestCalibration:
    def test_nothing_here(self, service):
        found = service.search("zebra", k=5)
        assert found.nothing_here and found.results == ()
        assert len(found.closest) == 5 and not any(r.passes for r in found.closest)

    def test_probability_is_the_logistic_of_the_score(self, service):
        assert service.probability(0.5) == pytest.approx(0.5)
        assert service.probability(1.0) == pytest.approx(1 / (1 + np.exp(-6)))
        assert service.probability(-1e9) == 0.0 and service.probability(1e9) == 1.0

    def test_the_threshold_is_a_score(self, tmp_path, tools):
        folder = tools.make_run(tmp_path / "run")
        service = tools.open_run(folder)
        found = service.search("red blue", k=60)
        assert [r.passes for r in found.results] == [r.score >= 0.5 for r in found.results]
        assert sum(r.passes for r in found.results) == 12

    def test_only_the_query_that_was_calibrated_has_a_probability(self, service, tools):
        assert all(r.probability is not None for r in service.search("red").results)
        image = tools.png(tools.draw("star", tools.COLOURS["red"]))
        for found in (service.search("red", like=["red-star"]), service.search(image=image), service.search()):
            assert all(r.probability is None and r.passes for r in found.results)

    def test_without_calibration_there_is_only_the_score(self, tmp_path, tools):
        folder = tools.make_run(tmp_path / "run")
        (folder / "model" / "calibration.json").unlink()
        found = tools.open_run(folder).search("zebra")
        assert not found.nothing_here and len(found.results) == 24
        assert found.results[0].probability is None

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "[]",
            "{}",
            '{"calibration": {}, "threshold": {"value": 1}}',
            CALIBRATION % ("1", '{"value": 1}'),
            CALIBRATION % ("1, NaN", '{"value": 1}'),
            CALIBRATION % ("1, 2", '{"value": NaN}'),
            CALIBRATION % ("1, 2", "1"),
        ],
    )
    def test_a_damaged_calibration_is_said(self, tmp_path, tools, content):
        folder = tools.make_run(tmp_path / "run")
        (folder / "model" / "calibration.json").write_text(content)
        with pytest.raises(DataError, match="damaged"):
            tools.open_run(folder).search("red")


class TestLimits:
    def test_each_limit_is_kept_in_words(self, service):
        with pytest.raises(TooLargeError, match=str(QUERY_CHARACTERS)):
            service.search("a" * (QUERY_CHARACTERS + 1))
        with pytest.raises(TooLargeError, match="MiB"):
            service.search(image=b"x" * (UPLOAD_BYTES + 1))
        with pytest.raises(DataError, match=f"between 1 and {RESULTS}"):
            service.search("red", k=RESULTS + 1)
        with pytest.raises(DataError, match=f"at most {EXAMPLES}"):
            service.search(like=[str(i) for i in range(EXAMPLES + 1)])
        with pytest.raises(NoSuchItemError, match="nope"):
            service.search(like=["nope"])
        with pytest.raises(DataError, match="picture you gave"):
            service.search(image=b"no picture")

    def test_a_bomb_is_refused_before_it_is_decoded(self, service, tools):
        bomb = tools.png(Image.new("1", (9000, 9000)))
        assert len(bomb) < 100_000
        with pytest.raises(DataError, match=r"50,000,000"):
            service.search(image=bomb)


class TestItems:
    def test_an_item_has_its_caption_and_columns(self, service):
        item = service.item("red-circle")
        assert (item.caption, item.modality, item.picture, item.text) == ("a red circle", "image", True, "")
        assert item.columns["year"] == 1950 and item.columns["round"] is True

    def test_a_thumbnail_is_small_and_kept(self, service):
        data = service.picture("red-circle", 96)
        import io

        with Image.open(io.BytesIO(data)) as image:
            assert max(image.size) == 96 and image.format == "WEBP"
        assert service.picture("red-circle", 96) is data

    def test_sizes_are_few(self, service):
        with pytest.raises(DataError, match="96, 192, 384, 768"):
            service.picture("red-circle", 100_000)

    @pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../secret.png", "link.png", "x\x00.png"])
    def test_nothing_outside_the_root_is_read(self, tmp_path, tools, path):
        folder = tools.make_run(tmp_path / "run")
        tools.draw("star", (1, 2, 3)).save(tmp_path / "run" / "secret.png")
        os.symlink(folder / "secret.png", folder / "pictures" / "link.png")
        columns = {"id": ["a"], "image": [path], "text": ["out"]}
        Collection.of(columns, root=folder / "pictures").save(folder / "collection")
        service = Service(folder, model=tools.ColourModel(Collection.of(columns).sides()), index=object())
        with pytest.raises(DataError, match=r"outside|cannot be read"):
            service.picture("a")
        assert service.source("a") is None

    def test_a_lost_or_broken_picture_is_said(self, tmp_path, tools):
        folder = tools.make_run(tmp_path / "run")
        (folder / "pictures" / "red-circle.png").unlink()
        (folder / "pictures" / "red-star.png").write_bytes(b"\x89PNG broken")
        columns = Collection.open(folder / "collection")
        service = Service(folder, model=tools.ColourModel(columns.sides()), index=object())
        with pytest.raises(DataError, match="no longer"):
            service.picture("red-circle")
        with pytest.raises(DataError):
            service.picture("red-star")

    def test_pictures_held_in_the_collection_itself(self, tmp_path, tools):
        data = tools.png(tools.draw("star", (9, 9, 200)))
        tools.make_run(tmp_path / "run")
        columns = Collection.of({"id": ["a/b"], "image": [data], "text": ["x"]})
        columns.save(tmp_path / "run" / "collection")
        service = Service(tmp_path / "run", model=tools.ColourModel(columns.sides()), index=object())
        assert service.picture("a/b", 96)[8:12] == b"WEBP"
        assert "image" not in service.item("a/b").columns

    def test_the_memory_of_thumbnails_is_bounded(self, service, monkeypatch):
        from tellapart.server import pictures

        monkeypatch.setattr(pictures, "THUMBNAIL_BYTES", 2500)
        for form in ("circle", "square", "star", "ring"):
            service.picture(f"red-{form}", 192)
        assert service._pictures._bytes <= 2500
        assert service._pictures._bytes == sum(map(len, service._pictures._kept.values()))

    def test_odd_values_are_made_plain(self, tmp_path, tools):
        folder = tools.make_run(tmp_path / "run")
        columns = {"id": ["a"], "text": ["x" * 30_000], "label": ["l"], "n": [float("nan")], "list": [[1, 2]]}
        Collection.of(columns).save(folder / "collection")
        service = Service(folder, model=tools.ColourModel(Collection.of(columns).sides()), index=object())
        item = service.item("a")
        assert item.columns["n"] is None and item.columns["list"] == [1, 2] and len(item.text) == 20_000
        json.dumps(dict(item.columns), allow_nan=False)


class TestColumns:
    def test_kinds_values_and_ranges(self, service):
        columns = {c.name: c for c in service.columns()}
        assert list(columns) == ["form", "colour", "year", "weight", "round"]
        assert columns["form"].kind == "choice" and ("star", 10) in columns["form"].values
        assert (columns["year"].kind, columns["year"].low, columns["year"].high) == ("number", 1950, 2045)
        assert dict(columns["round"].values) == {False: 40, True: 20}

    def test_what_says_nothing_is_left_out(self):
        columns = filters.filterable(
            Collection.of(
                {"one": ["a"] * 300, "many": [str(i) for i in range(300)], "none": [None] * 300, "list": [[1]] * 300}
            )
        )
        assert [(c.name, c.kind) for c in columns] == [("many", "other")]

    @pytest.mark.parametrize(
        ("where", "message"),
        [
            ({"forn": "star"}, "did you mean form"),
            ({"year": "soon"}, "numbers"),
            ({"year": {"from": 2, "to": 1}}, "empty"),
            ({"year": {"since": 2}}, "'from' and 'to'"),
            ({"form": {"from": 1}}, "no numbers"),
            ({"form": []}, "1 to"),
            ({"form": [None]}, "text"),
            ({"round": "perhaps"}, "true or false"),
            ({"year": 10**30}, "out of its range"),
            ({"year": float("inf")}, "numbers"),
            ({f"c{i}": 1 for i in range(17)}, "at most 16"),
        ],
    )
    def test_what_cannot_be_filtered_is_said(self, service, where, message):
        with pytest.raises(DataError, match=message):
            service.search("red", where=where)

    def test_missing_values_pass_no_condition(self):
        collection = Collection.of({"n": [1, None, 3], "s": ["a", None, "b"], "x": [1.5, float("nan"), None]})
        assert filters.mask(collection, {"n": {"from": 0}}).tolist() == [True, False, True]
        assert filters.mask(collection, {"s": ["a", "b"]}).tolist() == [True, False, True]
        assert filters.mask(collection, {"x": {"from": None, "to": 9}}).tolist() == [True, False, False]
        assert filters.mask(collection, {"n": [1.5]}).tolist() == [False, False, False]

    def test_large_ids_are_not_rounded(self):
        collection = Collection.of({"n": [2**53, 2**53 + 1]})
        assert filters.mask(collection, {"n": str(2**53 + 1)}).tolist() == [False, True]

    def test_conditions_as_text(self, service):
        read = filters.parse(["form=star", "form=ring", "year=1960..", "weight=..2.5"], service.collection)
        assert read == {"form": ["star", "ring"], "year": {"from": "1960"}, "weight": {"to": "2.5"}}
        for wrong in (["form"], ["=x"], ["year=1..2", "year=3"], ["year=1..2", "year=3..4"], ["nope=1..2"]):
            with pytest.raises(DataError):
                filters.parse(wrong, service.collection)


def plainly(ids, q, k, right, kin, own):
    """Confusions of every query by two loops."""
    found = {}
    for i in range(len(ids)):
        rights, wrongs = [], []
        for j in range(len(ids)):
            score = float(q[i] @ k[j])
            if i == j:
                if own:
                    rights.append((score, j))
            elif right[i] == right[j] != -1:
                rights.append((score, j))
            elif not any(codes[i] == codes[j] != -1 for codes in kin):
                wrongs.append((score, j))
        if rights and wrongs and max(wrongs)[0] >= max(rights)[0]:
            found[ids[i]] = (ids[max(rights)[1]], ids[max(wrongs)[1]])
    return found


class TestConfusions:
    @pytest.mark.parametrize("own", [True, False])
    def test_blocks_find_what_loops_find(self, monkeypatch, own):
        monkeypatch.setattr(confusions, "ROWS", 7)
        monkeypatch.setattr(confusions, "COLUMNS", 11)
        draws = np.random.default_rng(3)
        n = 60
        q = draws.normal(size=(n, 5)).astype(np.float32)
        k = (q + draws.normal(size=(n, 5))).astype(np.float32)
        right = draws.integers(-1, 12, n)
        kin = (draws.integers(-1, 20, n), draws.integers(-1, 8, n))
        ids = np.asarray([f"i{i:02d}" for i in range(n)], dtype=object)
        rows = np.arange(n)
        belonging = confusions.Belonging(right, kin, own)
        seen = []
        found, asked = confusions.find(ids, rows, belonging, lambda r: q[r], lambda r: k[r], rows, progress=seen.append)
        expected = plainly(ids, q, k, right, kin, own)
        assert asked == len(expected) > 0
        assert {frozenset((c.query, c.wrong)) for c in found} == {frozenset((i, w)) for i, (_, w) in expected.items()}
        for c in found:
            assert expected[c.query] == (c.right, c.wrong)
            assert c.both_ways == (expected.get(c.wrong, (None, None))[1] == c.query)
        gaps = [c.wrong_score - c.right_score for c in found]
        assert gaps == sorted(gaps, reverse=True) and gaps[-1] >= 0
        assert seen[-1] == 1.0

    def test_a_model_of_colours_confuses_forms(self, service):
        found = service.pairs.confusions(10)
        assert found.asked == found.of == found.confused == 60
        for pair in found.pairs:
            assert pair.query.split("-")[0] == pair.wrong.split("-")[0]
            assert pair.query == pair.right != pair.wrong

    def test_they_are_kept_until_a_file_changes(self, tmp_path, tools):
        folder = tools.make_run(tmp_path / "run")
        first = tools.open_run(folder).pairs.confusions(5)
        again = tools.open_run(folder)
        again.model.encode_query = None
        assert again.pairs.confusions(5) == first
        tools.write_calibration(folder, slope=10.25)
        changed = tools.open_run(folder)
        changed.model.encode_query = None
        with pytest.raises(TypeError):
            changed.pairs.confusions(5)

    @pytest.mark.parametrize("content", ["", "{}", "[1]", '{"version": 1, "pairs": [{"no": 1}]}'])
    def test_a_damaged_file_is_made_anew(self, tmp_path, tools, content):
        folder = tools.make_run(tmp_path / "run")
        (folder / "confusions.json").write_text(content)
        assert tools.open_run(folder).pairs.confusions(1).total > 0

    def test_a_large_collection_is_sampled_from_what_was_held_out(self, service, monkeypatch):
        from tellapart.server import pairs as module

        monkeypatch.setattr(module, "CONFUSION_QUERIES", 20)
        split = ["test" if i % 4 == 0 else "train" for i in range(60)]
        service = other(service, collection=service.collection.with_column("split", split))
        rows = service.pairs._asked(service.live.base)
        assert len(rows) == len(set(rows.tolist())) == 20
        assert sum(split[r] == "test" for r in rows) == 15


class TestOldIndex:
    def test_items_that_only_one_of_both_holds(self, tmp_path, tools):
        service = tools.open_run(tools.make_run(tmp_path / "run"))
        keep = service.index
        index = tools.PlainIndex(keep.ids[:-1].tolist(), keep.z[:-1])
        service = other(service, collection=service.collection.take(range(6, 60)), index=index)
        found = service.search("red black", k=60)
        assert len(found.results) == 53 and "red" not in colours(ids_of(found))
        assert service.pairs.confusions(1).asked == 53


class TestOtherCollections:
    def test_labels_in_one_space(self, tmp_path, tools):
        folder = tools.make_run(tmp_path / "run")
        old = Collection.open(folder / "collection")
        table = old.table.drop_columns(["text"]).rename_columns({"colour": "label"})
        Collection(table).save(folder / "collection")
        service = tools.open_run(folder)
        assert service.asking.reads == ("image",)
        with pytest.raises(DataError, match="does not read words; search with a picture"):
            service.search("red")
        assert colours(ids_of(service.search(image=tools.png(tools.draw("star", tools.COLOURS["red"])), k=4))) == {
            "red"
        }
        assert service.pairs.confusions(5).total == 0
        assert service.item("red-star").caption == "red"

    def test_texts_searched_by_pictures(self, tmp_path, tools):
        from tellapart.core.collection import Side, Sides

        folder = tools.make_run(tmp_path / "run")
        collection = Collection.open(folder / "collection")
        model = tools.ColourModel(Sides(Side("image", "image"), Side("text", "text")))
        index = tools.PlainIndex(collection.values("id"), model.encode_document(collection.values("text")))
        service = Service(folder, model=model, index=index)
        assert service.pairs.confusions(1).asked == 60
        item = service.item("red-star")
        assert (item.modality, item.text, item.picture) == ("text", "a red star", True)

    def test_texts(self, tmp_path, tools):
        folder = tools.make_run(tmp_path / "run")
        words = list(tools.COLOURS)
        columns = Collection.of({"id": words, "anchor": words, "positive": [f"it is {w}, they said" for w in words]})
        columns.save(folder / "collection")
        model = tools.ColourModel(columns.sides())
        index = tools.PlainIndex(words, model.encode_document(columns.values("positive")))
        service = Service(folder, model=model, index=index)
        assert service.search("blue").results[0].id == "blue"
        item = service.item("blue")
        assert (item.modality, item.caption, item.text, item.picture) == (
            "text",
            "blue",
            "it is blue, they said",
            False,
        )
        with pytest.raises(NoSuchItemError, match="no pictures"):
            service.picture("blue")


class TestAbout:
    def test_licence_and_attribution_travel_with_the_collection(self, service):
        from tellapart.data.provenance import with_about

        assert service.about == {}
        known = with_about(service.collection, name="drawn", licence="CC0", attribution="us", notes=["x"])
        assert other(service, collection=known).about == {"name": "drawn", "licence": "CC0", "attribution": "us"}


class TestFolder:
    def test_what_is_no_run_says_what_to_do(self, tmp_path):
        with pytest.raises(DataError, match="tellapart run"):
            Service(tmp_path / "nothing")
        with pytest.raises(DataError, match="no saved collection"):
            Service(tmp_path)

    def test_serving_needs_no_torch(self, run_folder):
        import subprocess
        import sys

        code = (
            "import sys; sys.modules['torch'] = None\n"
            "import importlib.util as u\n"
            f"spec = u.spec_from_file_location('c', {str(Path(__file__).with_name('conftest.py'))!r})\n"
            "c = u.module_from_spec(spec); spec.loader.exec_module(c)\n"
            "from pathlib import Path\n"
            f"s = c.open_run(Path({str(run_folder)!r}))\n"
            "assert s.search('red', like=['red-star'], where={'form': 'ring'}).results\n"
            "assert s.pairs.confusions(1) and s.picture('red-star')\n"
            "from tellapart.server.app import create_app; create_app(s)\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
