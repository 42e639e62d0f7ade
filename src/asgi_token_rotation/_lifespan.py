"""The lifespan protocol around an application that may not speak it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .types import ASGIApp, Message, Receive, Scope, Send

_LAST = ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed")


async def lifespan(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    drain: Callable[[], Awaitable[None]],
    shutdown: Callable[[], Awaitable[None]],
) -> None:
    """Pass the protocol through, with our own shutdown just before the application's is reported as done.

    Refreshes under way are waited for before the application hears of the shutdown: it may close the HTTP client that
    they use.

    An application that raises before it has received anything, or returns, does not speak lifespan (Django, Channels):
    then the server is answered in its place.
    """
    received = False

    async def receive_noted() -> Message:
        nonlocal received
        message = await receive()
        received = True
        if message["type"] == "lifespan.shutdown":
            await drain()
        return message

    async def send_last(message: Message) -> None:
        if message["type"] in _LAST:
            await shutdown()
        await send(message)

    try:
        await app(scope, receive_noted, send_last)
    except Exception:
        if received:
            await shutdown()
            raise
    if received:
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await shutdown()
    await send({"type": "lifespan.shutdown.complete"})
