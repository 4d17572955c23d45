"""What stands before every route: bodies within bounds, and headers that keep a browser safe."""

from __future__ import annotations

import anyio
from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tellapart.server.limits import BODY_BYTES
from tellapart.server.workers import went_away

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


_ENCODED = {k.encode(): v.encode() for k, v in {**HEADERS, "cache-control": "no-cache"}.items()}


class Guard:
    """Counts the bytes of a body as they come and refuses the rest; adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > (most := _most(scope)):
                raise HTTPException(413, _too_large(most))
            return message

        async def gone() -> bool:
            # once a route computes, nothing is left to come but that the client leaves
            with anyio.CancelScope() as now:
                now.cancel()
                return (await receive())["type"] == "http.disconnect"
            return False

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                have = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in _ENCODED.items() if pair[0] not in have)]
            await send(message)

        went_away.set(gone)
        declared = next((v for n, v in scope["headers"] if n == b"content-length"), b"0")
        if declared.isdigit() and int(declared[:20]) > BODY_BYTES:
            words = {"error": _too_large(BODY_BYTES)}
            await JSONResponse(words, 413, {"connection": "close"})(scope, receive, with_headers)
            return
        await self.app(scope, counted, with_headers)


def _most(scope: Scope) -> int:
    """The bytes that one request of this caller may have."""
    caller = scope.get("state", {}).get("caller")
    return BODY_BYTES if caller is None else caller.body


def _too_large(most: int) -> str:
    return f"a request of yours may have at most {most / 2**20:.3g} MiB; send a smaller picture"
