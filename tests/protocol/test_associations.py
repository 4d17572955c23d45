"""Single things whose colours are known: always one, or drawn."""

from __future__ import annotations

from collections import defaultdict

import pytest

pytest.importorskip("torch")

from tellapart.core.errors import DataError
from tellapart.core.hues import colour_of
from tellapart.protocol import associations


def test_shapes_have_one_colour_or_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(associations, "ITEMS", 60)
    for data, strong in (("shapes", True), ("shapes-recoloured", False)):
        found = associations._shapes(data)
        colours = defaultdict(set)
        for name, colour, picture in found:
            colours[name].add(colour)
            assert picture.size == (160, 160)
            # yellow and pink are drawn as what hues call so; black has none
            assert colour_of(picture) in ({"black": ""}.get(colour, colour), "")
        assert len(colours) == 6
        assert all((len(seen) == 1) == strong for seen in colours.values())


def test_other_data_are_refused() -> None:
    with pytest.raises(DataError, match="shapes-recoloured"):
        associations.run({"part": "concept-association-bias", "options": {}}, "digits", 0)
