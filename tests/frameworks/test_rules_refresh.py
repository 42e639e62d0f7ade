"""ASGI's rules about the refresh: who waits for it, who may cancel it, and where its result goes."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asgi import Lifespan, request, set_cookies, websocket_handshake
from asgi_token_rotation import (
    JWT,
    RefreshOptions,
    TokenRotation,
    TokenRotationMiddleware,
    TokenSet,
    get_access_token,
)
from asgi_token_rotation.stores import MemoryStore
from asgi_token_rotation.types import ASGIApp, Message, Receive, Scope, Send
from rig import COOKIE, Rig, cleared, until, user_of, written

ADA = "ada@example.com"


@pytest.fixture
def rig() -> Rig:
    return Rig()


def as_header(browser: httpx.AsyncClient) -> dict[str, str]:
    """The Cookie header that a browser would send."""
    return {"cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}


async def old_cookie(rig: Rig) -> dict[str, str]:
    """The Cookie header of somebody whose access token has expired."""
    header = as_header(await rig.signed_in())
    rig.past_expiry()
    return header


async def test_a_natively_cancelled_request_cancels_no_refresh(rig: Rig) -> None:
    """ASGI R15: Quart, Django and servers at their shutdown cancel a request's task; the refresh goes on and is published."""
    header = await old_cookie(rig)
    rig.server.hold("after")
    leaving = [asyncio.ensure_future(request(rig.app, "/me", header)) for _ in range(3)]
    await rig.server.arrived()
    for task in leaving:
        task.cancel()
    assert [type(answer) for answer in await asyncio.gather(*leaving, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 3
    rig.server.release()
    await until(lambda: len(rig.heard("refreshed")) == 1)
    assert len(set_cookies((await request(rig.app, "/me", header))[0])) == 1
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


async def test_the_refresh_has_a_context_of_its_own() -> None:
    """ASGI R15: whoever happens to ask first, the refresh of all who wait sees nothing of his context variables."""
    rig, seen = Rig(), list[str]()
    variable = contextvars.ContextVar("variable", default="nobody's")

    async def refresh(token: JWT) -> TokenSet:
        seen.append(variable.get())
        return await rig.server.refresh(token)

    rig = Rig(clock=rig.clock, server=rig.server, providers=[], refresh=refresh)
    header = await old_cookie(rig)
    variable.set("a request's")
    await request(rig.app, "/me", header)
    assert seen == ["nobody's"]


async def test_an_answer_that_was_not_delivered_is_given_again(rig: Rig) -> None:
    """ASGI R16: no server tells that an answer was lost, so whoever comes back with the old cookie gets the new one."""
    browser = await rig.signed_in()
    rig.past_expiry()
    lost = await request(rig.app, "/me", as_header(browser))  # the browser never saw it
    assert len(set_cookies(lost[0])) == 1
    copies = [await rig.copy(browser) for _ in range(3)]
    responses = await asyncio.gather(*(copied.get("/me") for copied in copies))
    assert [(user_of(response), written(response)) for response in responses] == [(ADA, True)] * 3
    rig.clock.advance(3600)  # the next rotation is lost, too, an hour later
    await request(rig.app, "/me", as_header(browser))
    assert written(await browser.get("/me"))
    assert (rig.server.rotations, rig.server.reuses) == (2, 0)


async def test_a_sign_out_ends_what_is_given_again(rig: Rig) -> None:
    """ASGI R16: after the sign-out the old cookie, too, gets nothing of what was kept for it."""
    browser = await rig.signed_in()
    late = await rig.copy(browser)
    rig.past_expiry()
    await browser.get("/me")
    await browser.get("/logout")
    assert user_of(await late.get("/me")) is None
    assert rig.server.refresh_calls == 1


async def test_workers_meet_in_the_store(rig: Rig) -> None:
    """ASGI R17: 12 parallel requests at three workers that share a store spend one refresh token, and all are answered."""
    store = MemoryStore(clock=rig.clock)
    workers = [Rig(clock=rig.clock, server=rig.server, store=store) for _ in range(3)]
    browser = await workers[0].signed_in()
    rig.past_expiry()
    rig.server.latency = 0.02
    header = as_header(browser)
    answers = await asyncio.gather(*(request(workers[number % 3].app, "/me", header) for number in range(12)))
    assert [ADA in str(messages[1]["body"]) for messages in answers] == [True] * 12
    assert [len(set_cookies(messages[0])) for messages in answers] == [1] * 12
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


async def test_a_refusal_leaves_the_cookie(rig: Rig) -> None:
    """ASGI R17: on ``invalid_grant`` the session is flagged; clearing the cookie could delete the one of a winner."""
    browser = await rig.signed_in()
    rig.past_expiry()
    rig.server.fail_with, rig.server.fail_body = 400, {"error": "invalid_grant"}
    response = await browser.get("/me")
    assert (user_of(response), response.json()["error"]) == (ADA, "RefreshAccessTokenError")
    assert not cleared(response)
    assert COOKIE in browser.cookies


async def test_a_shutdown_waits_for_a_refresh_whose_request_was_cancelled(rig: Rig) -> None:
    """ASGI R18: uvicorn cancels requests, then runs the lifespan's shutdown: that waits until the refresh is published."""
    header = await old_cookie(rig)
    lifespan = Lifespan(rig.app)
    await lifespan.say("startup")
    rig.server.hold("after")
    cancelled = asyncio.ensure_future(request(rig.app, "/me", header))
    await rig.server.arrived()
    cancelled.cancel()
    shutdown = asyncio.ensure_future(lifespan.say("shutdown"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not shutdown.done()
    rig.server.release()
    assert await shutdown == {"type": "lifespan.shutdown.complete"}
    assert len(rig.heard("refreshed")) == 1


async def test_a_shutdown_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """ASGI R18: a shutdown waits ``shutdown_wait`` seconds at most, and logs what it left behind."""
    rig = Rig(refresh_options=RefreshOptions(shutdown_wait=0.05))
    header = await old_cookie(rig)
    lifespan = Lifespan(rig.app)
    await lifespan.say("startup")
    rig.server.hold("before")
    waiting = asyncio.ensure_future(request(rig.app, "/me", header))
    await rig.server.arrived()
    with caplog.at_level(logging.ERROR, logger="asgi_token_rotation"):
        assert await lifespan.say("shutdown") == {"type": "lifespan.shutdown.complete"}
    assert any("still under way" in message for message in caplog.messages)
    rig.server.release()
    await waiting


def accepting(asked: list[str]) -> ASGIApp:
    """Accepts, and then needs an access token."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        asked.append(await get_access_token(scope))
        await send({"type": "websocket.close", "code": 1000})

    return app


async def test_a_socket_whose_cookie_is_dropped_loses_nothing(rig: Rig) -> None:
    """ASGI R19: granian and daphne drop the cookie of ``websocket.accept``; the session's next request brings it."""
    header, asked = await old_cookie(rig), list[str]()
    socket = TokenRotationMiddleware(accepting(asked), rotation=rig.rotation)
    accept = (await websocket_handshake(socket, "/ws", header))[0]
    assert len(set_cookies(accept)) == 1  # and the server drops it
    assert len(set_cookies((await request(rig.app, "/me", header))[0])) == 1
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


async def test_a_socket_that_refreshes_after_its_accept_loses_nothing(rig: Rig) -> None:
    """ASGI R19: an access token that a long WebSocket refreshes is published, and the next request gets the cookie."""
    header, asked, go = as_header(await rig.signed_in()), list[str](), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await go.wait()
        asked.append(await get_access_token(scope))

    open_socket = asyncio.ensure_future(
        websocket_handshake(TokenRotationMiddleware(app, rotation=rig.rotation), "/ws", header)
    )
    await asyncio.sleep(0)
    rig.past_expiry()
    go.set()
    (accept,) = await open_socket
    assert set_cookies(accept) == []
    start, body = await request(rig.app, "/token", header)
    assert len(set_cookies(start)) == 1
    assert asked[0] in body["body"].decode()
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


@pytest.mark.parametrize("wrapped", [True, False])
async def test_an_unhandled_exception(wrapped: bool, rig: Rig) -> None:
    """ASGI R20: wrapped around, a 500 carries the cookie; by ``middleware=[…]`` it does not, and the next answer does."""

    async def failing(_: Request) -> Response:
        raise LookupError("a handler's own failure")

    async def fine(request: Request) -> Response:
        return JSONResponse(request.state.session)

    routes = [Route("/raise", failing), Route("/me", fine)]
    options: dict[str, Any] = {"rotation": rig.rotation}
    app: ASGIApp = Starlette(
        routes=routes, middleware=[] if wrapped else [Middleware(TokenRotationMiddleware, **options)]
    )
    app = TokenRotationMiddleware(app, **options) if wrapped else app
    browser = await rig.signed_in()
    browser = httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        base_url="http://testserver",
        cookies=browser.cookies,
    )
    rig.past_expiry()
    response = await browser.get("/raise")
    assert (response.status_code, written(response)) == (500, wrapped)
    response = await browser.get("/me")
    assert (user_of(response), written(response)) == (ADA, not wrapped)
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


async def test_a_stream_that_refreshes_loses_nothing(rig: Rig) -> None:
    """ASGI R16: a refresh within a stream comes too late for its headers; the session's next request gets the cookie."""
    header = as_header(await rig.signed_in())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        rig.past_expiry()
        token = await get_access_token(scope)
        await send({"type": "http.response.body", "body": token.encode()})

    streamed: list[Message] = await request(TokenRotationMiddleware(app, rotation=rig.rotation), "/", header)
    assert set_cookies(streamed[0]) == []
    start, body = await request(rig.app, "/token", header)
    assert streamed[1]["body"] in body["body"]
    assert len(set_cookies(start)) == 1
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


async def test_a_closed_runtime_answers_on(rig: Rig) -> None:
    """ASGI R18: requests that a server still serves after the shutdown was reported keep their session."""
    browser = await rig.signed_in()
    await rig.rotation.aclose()
    assert user_of(await browser.get("/me")) == ADA
    rig.past_expiry()
    assert user_of(await browser.get("/me")) == ADA
    assert isinstance(rig.rotation, TokenRotation)
