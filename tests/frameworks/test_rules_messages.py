"""ASGI's rules about cookies, headers and messages."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asgi import request, set_cookies, websocket_handshake
from asgi_token_rotation import (
    CookieOptions,
    ResponseStartedError,
    TokenRotation,
    TokenRotationMiddleware,
    sign_in,
    sign_out,
    update_session,
)
from asgi_token_rotation.testing import session_cookie
from asgi_token_rotation.types import ASGIApp, Message, Receive, Scope, Send
from frameworks.applications import COOKIE, SECRET, World, plain
from frameworks.browser import user_in

ADA = "ada@example.com"
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
HOST_COOKIE = CookieOptions(prefix="__Host-")
BODY: Message = {"type": "http.response.body", "body": b""}


@pytest.fixture
def world() -> World:
    return World()


async def cookies_of(world: World, **options: Any) -> dict[str, str]:
    """The cookies of somebody who has just signed in."""
    answer = await world.server.authorize({"username": "ada", "password": "lovelace"})
    assert answer is not None
    return session_cookie(secret=SECRET, user=answer.user, tokens=answer.tokens, clock=world.clock, **options)


def joined(cookies: dict[str, str], by: str = "; ") -> str:
    return by.join(f"{name}={value}" for name, value in cookies.items())


def sending(*messages: Message) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for message in messages:
            await send(message)

    return app


def capitalized(app: ASGIApp) -> ASGIApp:
    """The application behind a server that writes its headers' names like This."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "headers": [(name.title(), value) for name, value in scope["headers"]]}, receive, send)

    return served


def headers_of(message: Message) -> dict[str, str]:
    assert len({name.lower() for name, _ in message["headers"]}) == len(message["headers"])
    return {name.decode().lower(): value.decode() for name, value in message["headers"]}


HTTP_MESSAGES: tuple[Message, ...] = (
    {"type": "http.response.debug", "info": {"template": "x"}},
    {"type": "http.response.early_hint", "links": [b"</x.css>; rel=preload"]},
    START,
    {"type": "http.response.body", "body": b"a", "more_body": True},
    {"type": "http.response.pathsend", "path": "/x"},
    {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]},
)
DENIAL: tuple[Message, ...] = (
    {"type": "websocket.http.response.start", "status": 401, "headers": []},
    {"type": "websocket.http.response.body", "body": b"no"},
)
ACCEPT: tuple[Message, ...] = (
    {"type": "websocket.accept", "subprotocol": "chat"},
    {"type": "websocket.send", "text": "hello"},
    {"type": "websocket.close", "code": 1000},
)


@pytest.mark.parametrize(
    ("drive", "messages", "first"),
    [
        (request, HTTP_MESSAGES, 2),
        (websocket_handshake, ACCEPT, 0),
        (websocket_handshake, DENIAL, 0),
        (websocket_handshake, (START, BODY), 0),  # Sanic answers an unknown WebSocket path so
    ],
    ids=["http", "accept", "denial", "http answer to a handshake"],
)
async def test_the_cookie_is_on_the_first_message_and_all_others_pass(
    drive: Callable[..., Awaitable[list[Message]]], messages: tuple[Message, ...], first: int, world: World
) -> None:
    """ASGI R9: a response's first message carries the cookie, whatever the kind of connection; others pass as they are."""
    header = {"cookie": joined(await cookies_of(world))}
    world.clock.advance(301)
    sent = await drive(TokenRotationMiddleware(sending(*messages), **world.options()), "/", header)
    assert [message["type"] for message in sent] == [message["type"] for message in messages]
    assert [place for place, message in enumerate(sent) if message is not messages[place]] == [first]
    assert [line.partition("=")[0] for line in set_cookies(sent[first])] == [COOKIE]
    assert {**sent[first], "headers": ()} == {**messages[first], "headers": ()}


async def test_a_handshake_that_is_closed_at_once_carries_nothing(world: World) -> None:
    """ASGI R9: a ``websocket.close`` has no headers; the rotation that it could not carry is in the next answer."""
    header = {"cookie": joined(await cookies_of(world))}
    world.clock.advance(301)
    rotation = TokenRotation(**world.options())
    close: Message = {"type": "websocket.close", "code": 1008}
    sent = await websocket_handshake(TokenRotationMiddleware(sending(close), rotation=rotation), "/", header)
    assert sent == [close]
    sent = await request(TokenRotationMiddleware(sending(START, BODY), rotation=rotation), "/", header)
    assert len(set_cookies(sent[0])) == 1
    assert (world.server.refresh_calls, world.server.reuses) == (1, 0)


async def test_a_comma_separates_no_cookies(world: World) -> None:
    """ASGI R10: a comma is part of a foreign value: else ``x=,__Host-…=`` from a subdomain would pass for ours."""
    options = world.options(public_url="https://example.com", cookie=HOST_COOKIE)
    cookies = await cookies_of(world, secure=True, cookie=HOST_COOKIE)
    assert [name.startswith("__Host-") for name in cookies] == [True]
    app = TokenRotationMiddleware(plain(world), **options)
    assert user_in((await request(app, "/me", {"cookie": "x=1; " + joined(cookies)}))[1]["body"]) == ADA
    for before in ("x=1,", "x=1, ", 'x="1",', "x,"):
        assert user_in((await request(app, "/me", {"cookie": before + joined(cookies)}))[1]["body"]) is None


async def test_names_of_headers_come_in_any_case(world: World) -> None:
    """ASGI R11: request and response headers are known by their names in any case, and none is doubled."""
    cookies = joined(await cookies_of(world))
    world.clock.advance(301)
    own: list[tuple[bytes, bytes]] = [
        (b"Cache-Control", b"public, max-age=60"), (b"VARY", b"Accept, Cookie"), (b"Surrogate-Control", b"max-age=9"),
    ]  # fmt: skip
    app = TokenRotationMiddleware(sending({**START, "headers": own}, BODY), **world.options())
    start = (await request(capitalized(app), "/", {"cookie": cookies}))[0]
    names = [name.lower() for name, _ in start["headers"]]
    assert sorted(names) == [b"cache-control", b"set-cookie", b"vary"]
    assert headers_of(start)["cache-control"] == "private, no-store"
    assert own[0] == (b"Cache-Control", b"public, max-age=60")


async def test_a_foreign_origin_is_known_in_any_case(world: World) -> None:
    """ASGI R11: a WebSocket's ``Origin`` counts however the server writes the header's name."""
    messages = await websocket_handshake(
        capitalized(TokenRotationMiddleware(plain(world), **world.options())),
        "/ws",
        {"origin": "https://evil.example", "cookie": joined(await cookies_of(world))},
    )
    assert user_in(messages[1]["text"]) is None


async def test_a_second_chunk_is_warned_of(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """ASGI R12: nginx's defaults answer two chunks with 502: the first response that has them logs one warning."""
    small, large = await cookies_of(world), await cookies_of(world, claims={"groups": "g" * 4000})
    app = TokenRotationMiddleware(sending(START, BODY), **world.options())
    world.clock.advance(301)
    caplog.clear()
    assert len(set_cookies((await request(app, "/", {"cookie": joined(small)}))[0])) == 1
    assert caplog.messages == []
    with caplog.at_level(logging.WARNING, logger="asgi_token_rotation"):
        for _ in range(2):
            lines = set_cookies((await request(app, "/", {"cookie": joined(large)}))[0])
            assert [line.partition("=")[0] for line in lines] == [f"{COOKIE}.0", f"{COOKIE}.1"]
            assert all(len(line) <= 4096 for line in lines)
    (message,) = caplog.messages
    assert "needs 2 cookies" in message
    assert "nginx: 502" in message
    assert "'groups'" in message


async def test_a_cookie_is_for_no_cache(world: World) -> None:
    """ASGI R13: RFC 9111 lets caches keep a Set-Cookie, so a response that has ours says ``private, no-store``."""
    cookies = joined(await cookies_of(world))
    world.clock.advance(301)
    for own in ([], [(b"cache-control", b"public, s-maxage=60")], [(b"cache-control", b"max-age=60")]):
        app = TokenRotationMiddleware(sending({**START, "headers": own}, BODY), **world.options())
        headers = headers_of((await request(app, "/", {"cookie": cookies}))[0])
        assert headers.pop("set-cookie").startswith(COOKIE)
        assert headers == {"cache-control": "private, no-store", "vary": "cookie"}


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (None, None),
        ("public, max-age=60", "private, max-age=60"),
        ("max-age=60, S-MaxAge=600", "private, max-age=60"),
        ("max-age=60", "max-age=60"),
        ("no-cache", "no-cache"),
    ],
)
async def test_a_session_is_for_no_shared_cache(own: str | None, expected: str | None, world: World) -> None:
    """ASGI R13: the answer to somebody who is signed in varies by cookie, and is never ``public``."""
    headers = [] if own is None else [(b"cache-control", own.encode())]
    app = TokenRotationMiddleware(sending({**START, "headers": headers}, BODY), **world.options())
    answered = headers_of((await request(app, "/", {"cookie": joined(await cookies_of(world))}))[0])
    assert answered == {"vary": "cookie"} | ({} if expected is None else {"cache-control": expected})
    untouched = (await request(app, "/"))[0]
    assert untouched["headers"] is headers  # nobody is signed in: the answer may be for everybody


@pytest.mark.parametrize("path", ["session", "csrf", "providers", "signin", "error", "nothing"])
async def test_our_own_answers_are_for_no_cache(path: str, world: World) -> None:
    """ASGI R13: what the endpoints answer is never stored, and differs by cookie."""
    app = TokenRotationMiddleware(plain(world), **world.options())
    headers = dict((await request(app, f"/api/auth/{path}", {"cookie": joined(await cookies_of(world))}))[0]["headers"])
    assert b"no-store" in headers[b"cache-control"]
    assert b"cookie" in headers[b"vary"].lower()


@pytest.mark.parametrize(
    ("drive", "first"), [(request, START), (websocket_handshake, ACCEPT[0]), (websocket_handshake, DENIAL[0])]
)
async def test_changes_after_the_start_raise(
    drive: Callable[..., Awaitable[list[Message]]], first: Message, world: World
) -> None:
    """ASGI R14: once the headers have left, a helper that would change the cookie says so instead of losing the change."""
    raised: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(first)
        for change in (sign_in(scope, {"id": "2"}), sign_out(scope), update_session(scope, {})):
            with pytest.raises(ResponseStartedError) as caught:
                await change
            raised.append(str(caught.value).partition(" ")[0])

    header = {"cookie": joined(await cookies_of(world))}
    middleware = TokenRotationMiddleware(app, **world.options())
    sent = await drive(middleware, "/", header)
    assert raised == ["sign_in", "sign_out", "update_session"]
    assert set_cookies(sent[0]) == []
    again = await request(TokenRotationMiddleware(plain(world), rotation=middleware.rotation), "/me", header)
    assert user_in(again[1]["body"]) == ADA
