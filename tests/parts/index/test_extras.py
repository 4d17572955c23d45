"""A backend whose library is not installed is refused with the line that installs it."""

from __future__ import annotations

import pytest

from tellapart.core import needs
from tellapart.core.errors import MissingExtraError
from tellapart.core.parts import make


@pytest.mark.parametrize(
    ("name", "extra"), [("lancedb", "lance"), ("pgvector", "pg"), ("qdrant", "qdrant"), ("faiss", "ann")]
)
def test_a_missing_library_is_named_with_its_line(monkeypatch, name, extra):
    monkeypatch.setattr(needs, "installed", lambda library: False)
    with pytest.raises(MissingExtraError, match=rf"pip install 'tellapart\[{extra}\]'"):
        make("index", name)
