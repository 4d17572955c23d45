"""The protocol of records on planted tables: what is told apart, how texts are misread, what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.protocol import records

LEVELS = (0.0, 0.3)


@pytest.fixture
def planted(monkeypatch):
    rng = np.random.default_rng(0)
    cause, words = rng.normal(size=(60, 5)), [f"{i:04d} {i * 7919 % 10007:05d}" for i in range(60)]
    maps = rng.normal(size=(5, 9)), rng.normal(size=(5, 12))
    x, text = {}, {}
    for table in (0, 1):
        for level in LEVELS:
            x[table, level] = (cause @ maps[0] + (0.2 + 6 * level) * rng.normal(size=(60, 9))).astype(np.float32)
            text[table, level] = words if not level else words[::-1] if table else words
    v = tuple((cause @ maps[1] + 1.5 * rng.normal(size=(60, 12))).astype(np.float32) for _ in (0, 1))
    made = records.Records(text, x, v)
    monkeypatch.setattr(records, "records", lambda data, most, levels: made)
    return made


def test_every_figure_is_an_accuracy_on_the_same_entities(planted):
    options = {
        "noise": list(LEVELS), "epochs": 2, "batch_size": 60, "head": "linear-head(dim=8)",
        "baseline": {"weights": [0.5], "ngrams": [3]},
        "variant": {"strategy": "clippings(depth=5)", "objective": "supcon(temperature=0.2)"},
        "controls": [{"name": "no labels", "strategy": "clippings(first=1)", "labels": False},
                     {"name": "towers", "strategy": "two-tower"}],
    }  # fmt: skip
    found = records.run({"options": options}, "noto", 0)
    assert len(found) == len(LEVELS) * 6
    assert all(a.shape == b.shape == (21,) and {*a, *b} <= {0.0, 1.0} for a, b in found.values())
    base, texts, pictures = (found[f"accuracy@1, noise 0{words}"][0].mean()
                             for words in ("", ", against texts alone", ", against pictures alone"))  # fmt: skip
    assert texts > pictures and base > pictures
    strings = [found[f"accuracy@1, noise {level:g}, against TF-IDF of characters"][0].mean() for level in LEVELS]
    assert strings[0] == 1 and strings[1] < 0.2


def test_the_weight_is_the_share_of_the_texts(planted):
    rows = np.arange(20)
    for weight, q, z in ((1.0, *(planted.x[t, 0.0] for t in (0, 1))), (0.0, *planted.v)):
        q, z = (x[rows] / np.linalg.norm(x[rows], axis=1, keepdims=True) for x in (q, z))
        expected = ((q @ z.T).argmax(1) == rows).astype(float)
        assert (records._frozen(planted, weight, (0.0,), (rows,))[0][0.0] == expected).all()


def test_misreading_changes_about_as_much_as_it_says_and_no_seed_twice():
    text = "the quick brown fox jumps over the lazy dog" * 20
    assert records.misread(text, 0.0, seed=(1, 0)) == text
    made = records.misread(text, 0.3, seed=(1, 0))
    assert made == records.misread(text, 0.3, seed=(1, 0)) != records.misread(text, 0.3, seed=(2, 0))
    assert 0.6 * len(text) < len(made) < 1.2 * len(text)
    assert all(records.misread("a", 1.0, seed=(at, 0)) for at in range(20))


def test_no_entity_is_in_two_parts_and_wrong_names_are_refused():
    parts = records.parted(100, 3)
    assert [len(part) for part in parts] == [50, 15, 35] and len(set(np.concatenate(parts).tolist())) == 100
    with pytest.raises(PartError, match="no option 'epoch'"):
        records.run({"options": {"epoch": 3}}, "noto", 0)
    with pytest.raises(DataError, match="noto, altered"):
        records.records("digits", 10, LEVELS)


def test_the_other_table_has_another_drawing_always_the_same():
    sink = io.BytesIO()
    plain = Image.new("RGB", (64, 64), "white")
    plain.paste((200, 30, 0), (10, 10, 50, 40))
    plain.save(sink, "PNG")
    made = Collection.of({"image": [sink.getvalue()]})
    drawn = [records._drawn("altered", code, sink.getvalue(), made) for code in ("1F34E", "1F34E", "1F34C")]
    assert drawn[0] == drawn[1] != drawn[2]
    assert Image.open(io.BytesIO(drawn[0])).size == (48, 48)
