"""The lifespan protocol around an application that may not speak it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ._log import logger, where
from .types import ASGIApp, Message, Receive, Scope, Send

_LAST = ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed")


async def lifespan(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    drain: Callable[[], Awaitable[bool]],
    shutdown: Callable[[], Awaitable[None]],
    let_go: Callable[[], Awaitable[None]],
) -> None:
    """Pass the protocol through, with our own shutdown just before the application's is reported as done.

    Refreshes under way are waited for before the application hears of the shutdown: it may close the HTTP client that
    they use. ``drain`` answers whether all are done; where one hangs, ``let_go`` stands for ``shutdown``, which would
    wait for it once more.

    An application that raises before it has received anything, or returns, does not speak lifespan (Django, Channels):
    then the server is answered in its place.

    What fails in a shutdown of ours is logged and hides nothing of the application's: a server that is told of no end
    waits for it, or takes the application's lifespan for unsupported.
    """
    received = closed = hangs = False

    async def close() -> None:
        nonlocal closed
        if not closed:
            closed = True
            await _logged(let_go if hangs else shutdown)

    async def receive_noted() -> Message:
        nonlocal received, hangs
        message = await receive()
        received = True
        if message["type"] == "lifespan.shutdown":
            hangs = await _logged(drain) is False
        return message

    async def send_last(message: Message) -> None:
        if message["type"] in _LAST:
            await close()
        await send(message)

    try:
        await app(scope, receive_noted, send_last)
    except Exception:
        if received:
            await close()
            raise
    if received:
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await close()
    await send({"type": "lifespan.shutdown.complete"})


async def _logged(step: Callable[[], Awaitable[bool | None]]) -> bool | None:
    try:
        return await step()
    except Exception as error:  # noqa: BLE001 it must not keep the server from hearing of the end
        logger.error("The shutdown of TokenRotation failed: %s", where(error))
        return None
