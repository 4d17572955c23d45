"""Who asks, what they may, and how often: the door before all routes, and `needs` for those that want more."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tellapart.core.errors import DataError
from tellapart.server.keys import Keys, Right, allows
from tellapart.server.limits import BODY_BYTES
from tellapart.server.rates import Rates

HOW = "send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
# the page, which asks for a key, the description of the API, and what tells whether the server lives
FREE = ("/", "/unknown", "/api/openapi.json", "/api/health", "/api/ready", "/metrics")
FREE_BELOW = "/static/"
KEY_CHARACTERS = 512


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        name: of the key; "" without one.
        right: the most that they may do; None: nothing but what is free.
        local: whether the request comes from this machine.
        body: bytes that one request may have.
    """

    name: str
    right: Right | None
    local: bool
    body: int = BODY_BYTES

    def may(self, right: Right) -> bool:
        """Whether they have this right."""
        return self.right is not None and allows(self.right, right)


@dataclass(frozen=True)
class Access:
    """Who may what.

    Attributes:
        keys: without them everybody has `everybody`'s right.
        everybody: the right of whoever comes, where there are no keys.
        rate: requests a second for a key that has no rate of its own, and for each address without a key; 0: any.
        open_metrics: whether `/metrics` is for everybody.
    """

    keys: Keys | None = None
    everybody: Right = "admin"
    rate: float = 0.0
    open_metrics: bool = False


def needs(right: Right) -> Any:
    """For the `dependencies` of a route: only who has this right comes in, and no page of another site.

    `read` is asked of every route below `/api` already, `/api/health` and `/api/ready` apart.
    """

    async def check(request: Request) -> None:
        caller: Caller = request.state.caller
        # Browsers say where a request comes from; another site must not change anything through somebody's browser.
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise HTTPException(403, "this server takes nothing through the pages of other sites")
        if caller.may(right):
            return
        if caller.name:
            raise HTTPException(403, f"the key {caller.name} has the right to {caller.right}, and this needs {right}")
        raise HTTPException(
            403, f"this needs the right to {right}; serve the run on this machine alone, or with --keys, to have it"
        )

    check.right = right  # type: ignore[attr-defined]
    return Depends(check)


class Door:
    """Finds out who asks, and lets in who may and does not come too often."""

    def __init__(self, app: ASGIApp, access: Access, rates: Rates) -> None:
        self.app, self.access, self.rates = app, access, rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        client = scope.get("client")
        address = client[0] if client else ""
        path = scope["path"]
        free = path in FREE or path.startswith(FREE_BELOW)
        refusal: JSONResponse | None = None
        rate: float | None = None
        caller = Caller("", None if self.access.keys is not None else self.access.everybody, _local(address))
        if self.access.keys is not None:
            secret = _secret(scope)
            if secret:
                try:
                    key = self.access.keys.find(secret)
                    rate = key.rate
                    body = BODY_BYTES if key.upload is None else min(BODY_BYTES, int(key.upload * 2**20))
                    caller = Caller(key.name, key.right, caller.local, body)
                except DataError as error:
                    refusal = _unknown(str(error))
            elif not free:
                refusal = _unknown(f"this server asks for a key; {HOW}")
        scope.setdefault("state", {})["caller"] = caller
        rate = rate or self.access.rate
        if rate and not (free and not path.startswith("/metrics")):
            wait = self.rates.wait(f"key {caller.name}" if caller.name else f"at {_network(address)}", rate)
            if wait:
                told = {"retry-after": str(max(1, math.ceil(wait)))}
                words = f"too many requests: {rate:g} a second are taken; try again in {wait:.1f} seconds"
                refusal = JSONResponse({"error": words}, 429, told)
        if refusal is not None and not (free and refusal.status_code == 401):
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _unknown(words: str) -> JSONResponse:
    return JSONResponse({"error": words}, 401, {"www-authenticate": "Bearer"})


def _secret(scope: Scope) -> str:
    """The key that is sent along; empty where there is none."""
    other = ""
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, given = value.decode("latin-1").partition(" ")
            if kind.lower() == "bearer" and given.strip():
                return given.strip()[:KEY_CHARACTERS]
        elif name == b"x-api-key":
            other = value.decode("latin-1").strip()[:KEY_CHARACTERS]
    return other


def _local(address: str) -> bool:
    return address in ("127.0.0.1", "::1") or address.startswith("127.")


def _network(address: str) -> str:
    """An address; of version 6, the network that one customer has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return address
