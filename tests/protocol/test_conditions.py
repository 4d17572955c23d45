"""Pictures of two known tags, and what the protocol takes from the audit."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from tellapart.core.errors import DataError
from tellapart.parts.audit._conditions import tags
from tellapart.protocol import conditions


def test_shapes_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "PICTURES", 72)
    made = conditions._shapes()
    assert len(set(zip(made.values("attribute"), made.values("thing"), strict=True))) == 36
    assert len(set(made.values("image"))) == 72
    # what the captions say is what the columns hold
    codes, values = tags(made, "", "")
    assert [values["kind"][code] for code in codes["kind"]] == made.values("attribute")
    assert [values["thing"][code] for code in codes["thing"]] == made.values("thing")


def test_other_data_are_refused() -> None:
    with pytest.raises(DataError, match="shapes, openmoji"):
        conditions.run({"part": "genecis", "options": {}}, "digits", 0)
