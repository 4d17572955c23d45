"""Searching by vectors and by words together, over HTTP."""

from __future__ import annotations

import json

from starlette.testclient import TestClient

from tellapart.server.app import create_app
from tellapart.server.service import Service


def test_over_http(service: Service) -> None:
    with TestClient(create_app(service), base_url="http://localhost") as client:
        got = client.get("/api/search", params={"words": "star", "k": 5, "hybrid": True}).json()
        assert [r["id"] for r in got["results"]] == [r.id for r in service.search("star", k=5, hybrid=True).results]
        assert got["ranked"] == "reciprocal rank fusion"
        asked = {"query": json.dumps({"words": "star", "k": 5, "hybrid": True})}
        again = client.post("/api/search", data=asked).json()
        assert again["results"] == got["results"]
        assert client.get("/api/columns").json()["hybrid"]
