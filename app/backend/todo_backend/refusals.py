"""Requests that no route gets to see: too large a body, a malformed Origin."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT = 1024 * 1024  # bytes; the frontends' body limit is the same
# A client that still sends when the connection closes would lose the answer: it may go on for so long (RFC 9112, 9.6).
LINGER_BYTES, LINGER_SECONDS = 4 * BODY_LIMIT, 1.0
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@\\,]+", re.IGNORECASE)


class Refusals:
    """Answers 413 to a body over BODY_LIMIT and 400 to an Origin that is none, and closes the connection.

    A body whose length is announced is refused before any of it is read. One that comes in chunks is counted while the
    application reads it, and nothing is read beyond the limit.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        if not all(map(is_origin, headers.getlist("origin"))):
            return await _refuse(400, "the Origin header is malformed", receive, send)
        if int(headers.get("content-length", 0)) > BODY_LIMIT:
            return await _refuse_body(receive, send)
        if "transfer-encoding" not in headers:
            return await self._app(scope, receive, send)
        await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, ended, started, refused = 0, False, False, False

        async def counted() -> Message:
            nonlocal size, ended, refused
            message = await receive()
            size += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if size > BODY_LIMIT:
                if not started:
                    refused = True
                    await _refuse_body(receive, send)
                raise HTTPException(413)
            return message

        async def unless_refused(message: Message) -> None:
            nonlocal started
            if refused:
                return  # what the application says to the exception above
            started = True
            if message["type"] == "http.response.start" and not ended:
                MutableHeaders(scope=message)["Connection"] = "close"  # else the server would read the rest
            await send(message)

        try:
            await self._app(scope, counted, unless_refused)
        except HTTPException:
            if not refused:
                raise


def is_origin(text: str) -> bool:
    """Whether `text` is what the Origin header may hold: `null`, or a scheme, a host and perhaps a port."""
    try:
        parts = urlsplit(text)
        return text == "null" or bool(ORIGIN.fullmatch(text) and parts.hostname and parts.port != 0)
    except ValueError:  # an IPv6 address or a port that is none
        return False


async def _refuse_body(receive: Receive, send: Send) -> None:
    await _refuse(413, f"the body is larger than {BODY_LIMIT} bytes", receive, send)


async def _refuse(status: int, detail: str, receive: Receive, send: Send) -> None:
    """The client has the whole answer, and the connection is closed once it has read it or keeps on sending."""
    answer = JSONResponse({"detail": detail}, status, {"Connection": "close"})
    await send({"type": "http.response.start", "status": status, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    discarded, more = 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while more and discarded < LINGER_BYTES:
                message = await receive()
                discarded += len(message.get("body", b""))
                more = message.get("more_body", False)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
