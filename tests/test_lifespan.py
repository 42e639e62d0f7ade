from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asgi import Lifespan, running
from asgi_token_rotation import TokenRotation, TokenRotationMiddleware
from asgi_token_rotation._lifespan import lifespan
from asgi_token_rotation.types import ASGIApp, Receive, Scope, Send

COMPLETE = {"type": "lifespan.startup.complete"}
OVER = {"type": "lifespan.shutdown.complete"}


def around(app: ASGIApp, closed: list[str], *, hangs: bool = False) -> ASGIApp:
    """An application whose lifespan is passed on, with a shutdown of ours that notes when it ran."""

    async def drain() -> bool:
        closed.append("drained")
        return not hangs

    async def shutdown() -> None:
        closed.append("ours")

    async def let_go() -> None:
        closed.append("ours, without a wait")

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        await lifespan(app, scope, receive, send, drain=drain, shutdown=shutdown, let_go=let_go)

    return wrapped


async def test_the_protocol_passes_through_with_our_shutdown_before_the_end_is_reported() -> None:
    """R23: the application starts and stops as if we were not there, and ours runs before its shutdown is reported."""
    order: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["client"] = "the application's"
        await send(COMPLETE)
        assert (await receive())["type"] == "lifespan.shutdown"
        order.append("the application's")
        await send(OVER)

    async with running(around(app, order)) as server:
        assert server.scope["state"] == {"client": "the application's"}
        assert order == []
        assert await server.say("shutdown") == OVER
    assert order == ["drained", "the application's", "ours"]


async def test_an_application_that_raises_before_its_first_receive_is_answered_for() -> None:
    """R23: Django and Channels raise at a lifespan scope; start-up and shutdown are answered in their place."""
    closed: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("Django can only handle ASGI/HTTP connections, not lifespan.")

    async with running(around(app, closed)) as server:
        assert closed == []
        assert await server.say("shutdown") == OVER
    assert closed == ["ours"]


async def test_an_application_that_returns_is_answered_for() -> None:
    """R23: an application that ignores the lifespan scope keeps the server's lifespan alive all the same."""
    closed: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        return

    async with running(around(app, closed)) as server:
        assert await server.say("shutdown") == OVER
    assert closed == ["ours"]


async def test_a_failed_start_up_is_reported_as_it_is() -> None:
    """R23: an application that says that its start-up failed is heard, after our own shutdown."""
    closed: list[str] = []
    failed = {"type": "lifespan.startup.failed", "message": "no database"}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(failed)

    server = Lifespan(around(app, closed))
    assert await server.say("startup") == failed
    await server.task
    assert closed == ["ours"]


async def test_an_exception_during_start_up_reaches_the_server() -> None:
    """R23: an application that raises after its first receive speaks lifespan, so its exception is the server's to judge."""
    closed: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise LookupError("no database")

    server = Lifespan(around(app, closed))
    server._to_app.put_nowait({"type": "lifespan.startup"})
    with pytest.raises(LookupError, match="no database"):
        await server.task
    assert closed == ["ours"]
    assert server._from_app.empty()


async def test_an_exception_during_shutdown_reaches_the_server() -> None:
    """R23: an application whose shutdown raises is heard, and ours has run."""
    closed: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        raise LookupError("no database any more")

    server = Lifespan(around(app, closed))
    assert await server.say("startup") == COMPLETE
    server._to_app.put_nowait({"type": "lifespan.shutdown"})
    with pytest.raises(LookupError, match="no database any more"):
        await server.task
    assert closed == ["drained", "ours"]


async def test_a_failed_shutdown_is_reported_as_it_is() -> None:
    """R23: ``lifespan.shutdown.failed`` passes through, after our own shutdown, which runs once."""
    closed: list[str] = []
    failed = {"type": "lifespan.shutdown.failed", "message": "too late"}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        await send(failed)

    async with running(around(app, closed)) as server:
        assert await server.say("shutdown") == failed
    assert closed == ["drained", "ours"]


async def test_a_refresh_that_hangs_is_waited_for_once() -> None:
    """I5: a shutdown waits ``shutdown_wait`` seconds at most, and not a second time before it lets go."""
    closed: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        await send(OVER)

    async with running(around(app, closed, hangs=True)) as server:
        assert await server.say("shutdown") == OVER
    assert closed == ["drained", "ours, without a wait"]


async def test_a_cancelled_lifespan_is_not_taken_for_one_that_does_not_speak_it() -> None:
    """R23: a server that cancels the lifespan ends it; nothing waits for messages that never come."""
    closed: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    server = Lifespan(around(app, closed))
    await asyncio.sleep(0)
    server.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.task


async def test_other_scopes_pass_untouched() -> None:
    """A scope that is neither http, websocket nor lifespan goes straight to the application."""
    seen: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope))

    middleware = TokenRotationMiddleware(app, rotation=TokenRotation(secret="s" * 32))

    async def nothing(*_: Any) -> Any:
        raise AssertionError("nothing is received or sent")

    await middleware({"type": "something"}, nothing, nothing)
    assert seen == [{"type": "something"}]
