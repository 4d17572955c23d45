"""Searches by words see what was put in, changed and deleted since the run was made, as if the run were made anew."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from tellapart.core.collection import Collection
from tellapart.engine.fulltext import FullText, build
from tellapart.server import by_words
from tellapart.server.service import Service
from tellapart.server.taking import Given


def _changing() -> Any:
    spec = importlib.util.spec_from_file_location("tellapart_changing_words", Path(__file__).with_name("changing.py"))
    assert spec is not None and spec.loader is not None
    made = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


changing = _changing()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made: Path = changing.make(tmp_path / "run")
    build(Collection.open(made / "collection"), made / "fulltext")
    return made


def opened(folder: Path) -> Service:
    return Service(folder, model=changing.Letters(Collection.open(folder / "collection")))


def found(service: Service, words: str, **options: Any) -> list[str]:
    hits, _ = service.by_words.search(words, 500, service.live.now(), **options)
    return [i for i, _ in hits[0]]


def as_made_anew(service: Service) -> FullText:
    at, text = service.live.now(), FullText()
    text.add(at.collection.ids.tolist(), at.collection.values("positive"))
    return text


def test_hybrid_search_finds_an_item_at_once_and_in_every_process(folder: Path) -> None:
    service, other = opened(folder), opened(folder)
    assert found(service, "walrus") == found(other, "walrus") == []
    service.live.put("new", {"positive": "a walrus on the ice"})
    service.live.put("item 0003", {"positive": "another walrus"})
    for one in (service, other):
        assert set(found(one, "walrus")) == {"new", "item 0003"} and found(one, "0003") == []
        assert {r.id for r in one.search("walrus", k=2, hybrid=True).results} == {"new", "item 0003"}
    other.live.put("new", {"positive": "a seal on the ice"})
    other.live.delete("item 0003")
    for one in (service, other):
        assert found(one, "walrus") == [] and found(one, "seal") == ["new"]
    service.live.put("item 0003", {"positive": "a walrus again"})
    assert found(other, "walrus") == ["item 0003"]


def test_what_is_folded_is_still_found(folder: Path) -> None:
    service, other = opened(folder), opened(folder)
    service.live.put_all([Given(f"new {n}", {"positive": f"walrus {n}"}) for n in range(5)])
    assert len(found(other, "walrus")) == 5
    service.live.delete(["new 1", "item 0002"])
    service.live.fold()
    service.live.put("new 2", {"year": 5})
    for one in (service, other, opened(folder)):
        one.live.now()
        one.live.settle()
        assert set(found(one, "walrus")) == {"new 0", "new 2", "new 3", "new 4"}
        assert found(one, "0002") == [] and found(one, "0004") == ["item 0004"]


def test_hits_are_those_of_an_index_made_anew(folder: Path) -> None:
    service = opened(folder)
    service.live.put_all([Given(f"new {n:02d}", {"positive": f"text of item {n:04d} fresh"}) for n in range(0, 40, 2)])
    service.live.delete([f"item {n:04d}" for n in range(5)])
    service.live.put_all([Given(f"item {n:04d}", {"positive": f"fresh text {n}"}) for n in range(10, 20)])
    whole = as_made_anew(service)
    for words in ("fresh", "text", "item 0012", "0016 fresh", "nowhere", "of 15"):
        hits = whole.search(words, 500)
        assert set(found(service, words)) == {i for i, _ in hits[0]}, words
    allowed = ["new 04", "item 0012", "item 0030", "item 0003"]
    assert set(found(service, "text", allowed=allowed)) == {"new 04", "item 0012", "item 0030"}


def test_an_item_that_came_later_scores_as_its_twin_of_the_run(folder: Path) -> None:
    service = opened(folder)
    service.live.put_all([Given(f"twin {n}", {"positive": f"text of item {n:04d}"}) for n in range(3)])
    hits = dict(service.by_words.search("item 0001", 500, service.live.now())[0][0])
    assert hits["twin 1"] == pytest.approx(hits["item 0001"], rel=1e-5)
    assert hits["twin 2"] == pytest.approx(hits["item 0002"], rel=1e-5) and hits["twin 1"] > 10 * hits["twin 2"]


def test_of_too_many_the_latest_are_indexed_and_that_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_words, "MOST_TEXTS", 3)
    service = opened(folder)
    service.live.put_all([Given(f"new {n}", {"positive": "walrus"}) for n in range(5)])
    answer = service.search("walrus", k=3, hybrid=True)
    assert any(note.startswith("2 items that came or changed") for note in answer.notes), answer.notes
    assert found(service, "walrus") == ["new 2", "new 3", "new 4"]
    service.live.put("new 5", {"positive": "walrus"})
    assert found(service, "walrus") == ["new 3", "new 4", "new 5"]
    service.live.delete(["new 0", "new 1", "new 2"])
    assert not any("came or changed" in note for note in service.search("walrus", k=3, hybrid=True).notes)


def test_a_full_text_index_made_anew_is_taken_over(folder: Path) -> None:
    service = opened(folder)
    service.live.put("new", {"positive": "walrus"})
    assert found(service, "walrus") == ["new"] and found(service, "ostrich") == []
    collection = changing.collection(60)
    texts = ["ostrich", *collection.values("positive")[1:]]
    build(collection.with_column("positive", texts), folder / "fulltext")
    assert found(service, "walrus") == ["new"] and found(service, "ostrich") == ["item 0000"]


def test_pictures_are_found_by_captions_that_came_with_them(run_folder: Path, tools: Any, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run_folder, tmp_path / "run")
    service = tools.open_run(tmp_path / "run")
    service.live.put("new", {"text": "a walrus"}, file=tools.png(tools.draw("star", (214, 48, 49))))
    assert [r.id for r in service.search("walrus", k=1, hybrid=True).results] == ["new"]
