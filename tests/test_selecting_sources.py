"""`select` by a score that spends a budget over the sources of a pool."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tellapart import apply
from tellapart.contract.score import planted_texts
from tellapart.core.collection import Collection
from tellapart.core.errors import TellapartError
from tellapart.data.sources import read
from tellapart.data.texts import Texts

pytest.importorskip("sklearn")
SCORE = "l1-a-mtrl"


@pytest.fixture
def like(tmp_path):
    texts, wanted = planted_texts(1)
    return Collection.of({"text": [text for text, mark in zip(texts, wanted, strict=True) if mark]}).save(
        tmp_path / "l"
    )


def pool(folder, source=None):
    texts, wanted = planted_texts(0)
    source = source or ["sea" if mark else f"kitchen {i % 3}" for i, mark in enumerate(wanted)]
    return Collection.of({"text": [*texts, " "], "source": [*source, None]}).save(folder)


def test_a_budget_goes_to_the_source_that_is_like_the_target(like, tmp_path, monkeypatch):
    monkeypatch.setattr("tellapart.data.texts.TEXTS_A_BLOCK", 7)
    out = tmp_path / "picked.jsonl"
    report = apply.select(pool(tmp_path / "pool"), like=like, keep="20", score=SCORE, out=out)
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(written) == 20 and np.mean([row["source"] == "sea" for row in written]) > 0.8
    (table,) = (b for b in report.blocks if getattr(b, "title", "") == "Sources by relevance")
    assert table.rows[0][:2] == ["sea", 30] and table.rows[0][2] > table.rows[1][2]
    assert {row[0]: row[3] for row in table.rows if row[3]} == {
        name: sum(row["source"] == name for row in written) for name in {row["source"] for row in written}
    }
    found = Texts(read(tmp_path / "pool"))
    assert len(list(found.beside("source"))) == 60 and None not in found.beside("source")


def test_a_pool_without_sources_is_refused(like, tmp_path):
    for words, source in (
        ("no column `source`", like),
        ("are of 1: two are needed", pool(tmp_path / "one", ["a"] * 60)),
        ("needs the source of every text", pool(tmp_path / "hole", ["a"] * 20 + [None] * 40)),
    ):
        with pytest.raises(TellapartError, match=words):
            apply.select(source, like=like, score=SCORE)
