"""Planted words, each with what is to come of it."""

from __future__ import annotations

import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

CASES: list[dict] = [{}]
PLANTED = {
    "a": ("generated; settings of ComfyUI in its text 'prompt'", 1.0, "drop"),
    "b": ("partly generated; digital source type in its XMP", 0.75, "look"),
    "c": ("content credentials; a C2PA manifest", 0.25, None),
    "d": (None, 0.0, None),
    "e": ("", 0.0, None),
}


def check(build, options):
    def of(words):
        return Collection.of({"id": list(PLANTED)[: len(words)], "image": ["x.png"] * len(words), "origin": words})

    found = build(**options)({}, of([word for word, _, _ in PLANTED.values()]))
    assert {row["item"]: row["score"] for row in found.rows()} == {k: v[1] for k, v in PLANTED.items()}
    proposed = {row["item"]: row for row in found.proposed().rows()}
    assert {k: row["action"] for k, row in proposed.items()} == {k: v[2] for k, v in PLANTED.items() if v[2]}
    assert "says of itself that it was generated: settings of ComfyUI in its text" in proposed["a"]["reason"]
    with pytest.raises(DataError, match="'painted' is no origin"):
        build(**options)({}, of(["painted; by hand"]))
    with pytest.raises(DataError, match="run curate first"):
        build(**options)({}, Collection.of({"image": ["x.png"]}))
