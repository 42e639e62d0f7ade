"""Drives ASGI applications by hand, where a client library would hide what is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from asgi_token_rotation.types import ASGIApp, Message, Scope

Headers = Mapping[str, str] | Iterable[tuple[bytes, bytes]]


def scope_for(kind: str, path: str, headers: Headers = (), **more: Any) -> Scope:
    """A scope as a server makes it, on the host "testserver"."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    raw = [(_bytes(name).lower(), _bytes(value)) for name, value in pairs]
    if not any(name == b"host" for name, _ in raw):
        raw.append((b"host", b"testserver"))
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": raw,
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
    }
    scope |= {"method": "GET"} if kind == "http" else {"subprotocols": []}
    return scope | more


async def request(app: ASGIApp, path: str, headers: Headers = (), *, body: bytes = b"", **more: Any) -> list[Message]:
    """One HTTP request; answers the messages that the application sent."""
    coming = [{"type": "http.request", "body": body, "more_body": False}]
    return await _run(app, scope_for("http", path, headers, **more), coming, {"type": "http.disconnect"})


async def websocket_handshake(app: ASGIApp, path: str, headers: Headers = (), **more: Any) -> list[Message]:
    """One WebSocket whose client only connects; answers the messages that the application sent."""
    leaving = {"type": "websocket.disconnect", "code": 1000}
    return await _run(app, scope_for("websocket", path, headers, **more), [{"type": "websocket.connect"}], leaving)


async def _run(app: ASGIApp, scope: Scope, coming: list[Message], last: Message) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return coming.pop(0) if coming else last

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(10):
        await app(scope, receive, send)
    return sent


def set_cookies(message: Message) -> list[str]:
    """The ``Set-Cookie`` values of a message."""
    return [value.decode("latin-1") for name, value in message.get("headers", ()) if name.lower() == b"set-cookie"]


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


class Lifespan:
    """The server's side of one lifespan."""

    def __init__(self, app: ASGIApp) -> None:
        self.scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self.sent: list[Message] = []
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self.task = asyncio.ensure_future(app(self.scope, self._to_app.get, self._from_app.put))

    async def say(self, kind: str) -> Message:
        """Send ``startup`` or ``shutdown``, and wait for the answer."""
        await self._to_app.put({"type": f"lifespan.{kind}"})
        async with asyncio.timeout(10):
            message = await self._from_app.get()
        self.sent.append(message)
        return message


@asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[Lifespan]:
    """A lifespan that has started, and is shut down afterwards if it was not."""
    lifespan = Lifespan(app)
    assert await lifespan.say("startup") == {"type": "lifespan.startup.complete"}
    try:
        yield lifespan
    finally:
        if len(lifespan.sent) == 1:
            await lifespan.say("shutdown")
        async with asyncio.timeout(10):
            await lifespan.task
