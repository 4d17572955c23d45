"""Full-text search: words are words, changes are whole, and lists are fused by their places."""

from __future__ import annotations

import collections
import math
import os
import threading

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.hits import Hits
from tellapart.engine import fulltext
from tellapart.engine.fulltext import FullText, build, words_of
from tellapart.engine.fusion import fused

TEXTS = {
    "a": "A brass valve, DN50",
    "b": "Steel valves and more valves",
    "c": "Café crème",
    "d": "brass brass brass",
    "e": "",
}


@pytest.fixture
def text() -> FullText:
    made = FullText()
    made.add(list(TEXTS), list(TEXTS.values()))
    return made


def found(text: FullText, words: str, k: int = 10, **options) -> list[str]:
    return [i for i, _ in text.search(words, k, **options)[0]]


def bm25(texts: dict[str, str], asked: list[str]) -> dict[str, float]:
    """The formula, written out: k1 1.2, b 0.75, an inverse document frequency of at least 1e-6."""
    split = {i: words_of_a_text(t) for i, t in texts.items()}
    mean = sum(map(len, split.values())) / len(split)
    scores: dict[str, float] = collections.defaultdict(float)
    for word in asked:
        holding = [i for i, words in split.items() if word in words]
        rarity = max(1e-6, math.log((len(texts) - len(holding) + 0.5) / (len(holding) + 0.5)))
        for i in holding:
            often, length = split[i].count(word), len(split[i])
            scores[i] += rarity * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * length / mean))
    return scores


def words_of_a_text(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def test_scores_are_bm25(text: FullText) -> None:
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(30)]
    texts = {f"{n:03d}": " ".join(rng.choice(words, rng.integers(1, 20))) for n in range(60)}
    made = FullText()
    made.add(list(texts), list(texts.values()))
    asked = ["w3", "w17", "nothing"]
    true = bm25(texts, asked)
    hits = made.search(" ".join(asked), 60)
    assert dict(hits[0]) == pytest.approx(true, rel=1e-5)
    order = sorted(true, key=lambda i: (-np.float32(true[i]), i))
    assert [true[i] for i in hits.ids[0]] == pytest.approx([true[i] for i in order])


def test_case_and_diacritics_do_not_count(text: FullText) -> None:
    assert found(text, "CAFE creme") == ["c"]
    assert found(text, "cafe\u0301") == ["c"]


def test_endings_count_unless_asked_otherwise(text: FullText) -> None:
    assert found(text, "valve") == ["a"]
    stems = FullText(stem=True)
    stems.add(list(TEXTS), list(TEXTS.values()))
    assert set(found(stems, "valve")) == {"a", "b"}


@pytest.mark.parametrize(
    "odd",
    [
        '"',
        "brass AND valve",
        "NEAR(brass valve)",
        "text:brass",
        "brass*",
        "-brass",
        "(brass",
        "brass OR",
        '" OR "',
        "^brass",
    ],
)
def test_nothing_is_a_query_language(text: FullText, odd: str) -> None:
    """What FTS5 would read as syntax is looked for as the words in it."""
    assert found(text, odd) == found(text, " ".join(words_of(odd)))
    assert ("a" in found(text, odd)) == ("brass" in odd)


def test_nothing_to_look_for(text: FullText) -> None:
    assert text.search("?! …", 5).ids.shape == (1, 0)
    assert text.search("zebra", 5).ids.shape == (1, 0)
    assert FullText().search("brass", 5).ids.shape == (1, 0)


def test_many_words_are_bounded() -> None:
    assert len(words_of(" ".join(map(str, range(1000))))) == fulltext.MOST_WORDS
    made = FullText()
    made.add(["x"], ["255"])
    assert found(made, " ".join(map(str, range(1000)))) == ["x"]


def test_filters(text: FullText) -> None:
    assert found(text, "brass", filter=["a", "unknown"]) == ["a"]
    assert found(text, "brass", filter=lambda ids: ids == "d") == ["d"]
    assert found(text, "brass", without={"d"}) == ["a"]
    assert found(text, "brass", filter=set()) == []
    assert found(text, "brass", 1) == ["d"]
    with pytest.raises(DataError, match="at least 1"):
        text.search("brass", 0)


def test_add_replaces_and_delete_removes(text: FullText) -> None:
    text.add(["a"], ["an iron valve"])
    assert found(text, "brass") == ["d"] and found(text, "iron") == ["a"] and len(text) == 5
    text.delete(["a", "d"])
    assert found(text, "brass valve") == [] and text.ids.tolist() == ["b", "c", "e"]
    with pytest.raises(DataError, match="not in the full-text index"):
        text.delete(["b", "a"])
    assert found(text, "steel") == ["b"], "a refused deletion must delete nothing"
    with pytest.raises(DataError, match="different ids"):
        text.add(["x", "x"], ["1", "2"])


def test_text_of_any_kind_is_taken(text: FullText) -> None:
    text.add(["x", "y", "z"], ["before\0after", "half \ud800 a pair", None])
    assert found(text, "after") == ["x"] and found(text, "pair") == ["y"]


def test_saved_and_opened(text: FullText, tmp_path) -> None:
    text.save(tmp_path / "t")
    read = FullText.open(tmp_path / "t")
    assert found(read, "brass") == found(text, "brass") and len(read) == len(text)
    with pytest.raises(DataError, match="cannot be changed"):
        read.add(["new"], ["text"])


def test_damage_is_said(text: FullText, tmp_path) -> None:
    text.save(tmp_path / "t")
    file = next((tmp_path / "t").glob("v*/text.db"))
    file.write_bytes(os.urandom(file.stat().st_size))
    with pytest.raises(DataError, match="damaged"):
        FullText.open(tmp_path / "t")
    file.write_bytes(b"short")
    with pytest.raises(DataError, match="damaged"):
        FullText.open(tmp_path / "t")
    with pytest.raises(DataError, match="no saved index"):
        FullText.open(tmp_path / "none")


def test_built_of_what_is_found(tmp_path) -> None:
    """The documents' words where they are texts; of pictures, their captions; an equal call opens what is there."""
    pairs = Collection.of({"id": ["1", "2"], "anchor": ["question", "why"], "positive": ["answer", "because"]})
    made = build(pairs, tmp_path / "p")
    assert found(made, "answer") == ["1"] and found(made, "question") == []
    first = (tmp_path / "p" / "current.json").read_text()
    assert found(build(pairs, tmp_path / "p"), "because") == ["2"]
    assert (tmp_path / "p" / "current.json").read_text() == first
    other = Collection.of({"id": ["1"], "anchor": ["question"], "positive": ["reply"]})
    assert found(build(other, tmp_path / "p"), "reply answer") == ["1"]
    assert len(list((tmp_path / "p").glob("v*"))) == 1


def test_of_a_build_that_fails_nothing_stays(tmp_path, monkeypatch) -> None:
    pairs = Collection.of({"id": ["1"], "anchor": ["question"], "positive": ["answer"]})
    build(pairs, tmp_path / "p").close()
    more = Collection.of({"id": ["1"], "anchor": ["question"], "positive": ["reply"]})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fulltext, "_insert", full)
    with pytest.raises(DataError, match="No space left"):
        build(more, tmp_path / "p")
    assert found(FullText.open(tmp_path / "p"), "answer reply") == ["1"]
    assert not list((tmp_path / "p").glob(".*")), "a half-written version was left"


def test_threads_share_one(text: FullText) -> None:
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.extend(found(text, "brass") for _ in range(50))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [["d", "a"]] * 200


def hits(*lists: list[str]) -> Hits:
    width = max(map(len, lists))
    ids = np.asarray([[*ids, *[""] * (width - len(ids))] for ids in lists])
    return Hits(ids, np.where(ids == "", -np.inf, -np.arange(width, dtype=np.float32)), calls=2)


def test_fusion_is_by_places() -> None:
    one, other = hits(["a", "b", "c"], ["x"]), hits(["c", "a"], ["y", "x"])
    made = fused([one, other], 5)
    expected = {"a": 1 / 61 + 1 / 62, "c": 1 / 63 + 1 / 61, "b": 1 / 62}
    assert dict(made[0]) == pytest.approx(expected)
    assert [i for i, _ in made[0]] == ["a", "c", "b"]
    assert dict(made[1]) == pytest.approx({"x": 1 / 61 + 1 / 62, "y": 1 / 61})
    assert made.calls == 4
    assert fused([one, other], 1).ids.tolist() == [["a"], ["x"]]
    assert [s for _, s in fused([one], 3, constant=1.0)[0]] == pytest.approx([1 / 2, 1 / 3, 1 / 4])


def test_fusion_of_nothing_and_ties() -> None:
    nothing = Hits(np.empty((1, 0), str), np.empty((1, 0), np.float32))
    assert fused([nothing, nothing], 5).ids.shape == (1, 0)
    assert fused([hits(["b"]), hits(["a"])], 5).ids.tolist() == [["a", "b"]]
