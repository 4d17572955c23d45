"""A Qdrant server, played by the client library's own stand-in: the calls that are made, and one that goes away.

No server can be had from the package indexes; the same engine in this process goes through the whole contract.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from tellapart.core.errors import BackendAwayError, DataError, PartError
from tellapart.core.parts import make
from tellapart.engine.indexing import open_index

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")
ADDRESS = "http://127.0.0.1:1"


def unit(n, seed=0):
    z = np.random.default_rng(seed).normal(size=(n, 12)).astype(np.float32)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


class Door:
    """The stand-in behind a door that can be shut."""

    def __init__(self, client):
        self.client, self.open = client, True

    def __getattr__(self, name):
        if not self.open:
            from qdrant_client.http.exceptions import ResponseHandlingException

            raise ResponseHandlingException(ConnectionError("connection refused"))
        return getattr(self.client, name)


@pytest.fixture
def server(monkeypatch):
    qdrant_client = pytest.importorskip("qdrant_client")
    from tellapart.parts.index import _qdrant

    door = Door(qdrant_client.QdrantClient(":memory:"))
    monkeypatch.setattr(_qdrant, "connect", lambda place: door)
    return door


def test_a_server_holds_what_the_exact_index_holds(server, tmp_path):
    ids = [f"it's {i:03d}" for i in range(700)]
    index, exact = make("index", "qdrant", address=ADDRESS, table="glosses"), make("index", "exact")
    for one in (index, exact):
        one.add(ids, unit(700))
        one.add(ids[:50], unit(50, 1))
        one.delete(ids[600:])
    for options in ({}, {"filter": set(ids[::2])}, {"filter": lambda names: np.asarray([i < "it's 3" for i in names])}):
        mine, true = index.search(unit(4, 2), 9, **options), exact.search(unit(4, 2), 9, **options)
        np.testing.assert_array_equal(mine.ids, true.ids)
        np.testing.assert_array_equal(mine.scores, true.scores)
    assert index.search(unit(2, 3), 900).ids.shape == (2, 600)
    with pytest.raises(DataError, match="unknown ids"):
        index.delete([ids[0], "nobody"])
    index.save(tmp_path)
    facts = json.loads((tmp_path / "current.json").read_text())
    assert facts["name"].startswith("glosses_") and facts["options"]["address"] == ADDRESS
    again = open_index(tmp_path)
    assert len(again) == 600 and again.dim == 12
    np.testing.assert_array_equal(again.vectors(ids[:60]), exact.vectors(ids[:60]))


def test_a_server_that_goes_away_and_comes_back(server):
    index = make("index", "qdrant", address=ADDRESS)
    index.add(["a", "b"], unit(2))
    server.open = False
    for call in (
        lambda: index.search(unit(1), 1),
        lambda: index.add(["c"], unit(1, 1)),
        lambda: index.delete(["a"]),
        lambda: index.ready(),
    ):
        with pytest.raises(BackendAwayError, match="does not answer"):
            call()
    server.open = True
    assert index.search(unit(1), 1).ids[0, 0] == "a" and len(index) == 2


def test_a_build_that_is_never_saved_takes_its_collection_away(server):
    index = make("index", "qdrant", address=ADDRESS)
    index.add(["a"], unit(1))
    assert len(server.get_collections().collections) == 1
    index._unsaved()
    assert not server.get_collections().collections


def test_nobody_there_is_said_in_words():
    pytest.importorskip("qdrant_client")
    index = make("index", "qdrant", address=ADDRESS)
    with pytest.raises(BackendAwayError, match="does not answer"):
        index.add(["a"], unit(1))


@pytest.mark.parametrize("address", ["http://user:secret@host", "localhost:6333", "http://host?api_key=secret"])
def test_an_address_that_would_keep_a_password(address):
    with pytest.raises(PartError, match="address"):
        make("index", "qdrant", address=address)
