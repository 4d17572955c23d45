"""Searching by vectors and by words together: what is fused, what is said of it, and where it is refused."""

from __future__ import annotations

import shutil

import pytest

import tellapart
from tellapart.core.errors import DataError
from tellapart.server.service import Service


def ids_of(found) -> list[str]:
    return [r.id for r in found.results]


def test_words_that_the_model_does_not_know_are_found(service: Service) -> None:
    """The model sees colours alone; forms stand in the captions."""
    plain, both = service.search("star", k=10), service.search("star", k=10, hybrid=True)
    assert sum("star" in i for i in ids_of(plain) or [r.id for r in plain.closest]) < 10
    assert all("star" in i for i in ids_of(both))
    assert {i.split("-")[0] for i in ids_of(service.search("a red star", k=6, hybrid=True))} == {"red"}


def test_scores_are_places_and_have_no_probability(service: Service) -> None:
    found = service.search("a red star", k=5, hybrid=True)
    assert found.ranked == "reciprocal rank fusion"
    expected = []
    for i in ids_of(found):
        lists = service.search("a red star", k=60), service.by_words.search("a red star", 60, service.live.now())[0]
        places = [1 + [r.id for r in lists[0].results].index(i), 1 + lists[1].ids[0].tolist().index(i)]
        expected.append(sum(1 / (60 + place) for place in places))
    assert [r.score for r in found.results] == pytest.approx(sorted(expected, reverse=True))
    assert all(r.probability is None and r.passes for r in found.results) and not found.nothing_here
    assert any("two searches together" in note for note in found.notes)


def test_filters_and_examples_hold_for_both_lists(service: Service) -> None:
    found = service.search("star", where={"colour": ["red", "blue"]}, k=20, hybrid=True)
    assert {i.split("-")[0] for i in ids_of(found)} == {"red", "blue"} and found.searched == 12
    found = service.search("star", like=["red-star"], unlike=["blue-star"], k=20, hybrid=True)
    assert not {"red-star", "blue-star"} & set(ids_of(found))


def test_without_words_it_is_said(service: Service) -> None:
    found = service.search(like=["red-star"], k=4, hybrid=True)
    assert any("No words were given" in note for note in found.notes) and not found.ranked
    assert len(service.search(k=4, hybrid=True).results) == 4


def test_too_many_words_are_said(service: Service) -> None:
    found = service.search(" ".join(f"x{n}" for n in range(300)), k=3, hybrid=True)
    assert any("first 256 words" in note for note in found.notes)


def test_a_run_without_text_says_so(run_folder, tools, tmp_path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    shutil.rmtree(folder / "fulltext")
    service = tools.open_run(folder)
    assert not service.by_words.has_text
    with pytest.raises(DataError, match="holds no full-text index"):
        service.search("star", hybrid=True)


def test_from_python(run_folder, service: Service, monkeypatch) -> None:
    monkeypatch.setattr("tellapart.server.search.Service", lambda folder: service)
    found = tellapart.search("star", run=run_folder, k=5, hybrid=True)
    assert ids_of(found) == ids_of(service.search("star", k=5, hybrid=True))
