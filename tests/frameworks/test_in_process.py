from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asgi import request, running, set_cookies, websocket_handshake
from asgi_token_rotation import TokenRotation, TokenRotationMiddleware
from asgi_token_rotation.testing import session_cookie
from asgi_token_rotation.types import Message, Receive, Scope, Send
from frameworks.applications import COOKIE, SECRET, WAYS, Way, World
from frameworks.browser import browser, me, session_cookie_of, sign_in, sign_out, user_in

ADA = "ada@example.com"
BOB = "bob@example.com"

every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
with_endpoints = pytest.mark.parametrize("way", [way for way in WAYS if way.endpoints], ids=lambda way: way.name)
with_lifespan = pytest.mark.parametrize("way", [way for way in WAYS if way.lifespan], ids=lambda way: way.name)


@pytest.fixture
def world() -> World:
    return World()


async def cookie_of(world: World, username: str = "ada") -> dict[str, str]:
    """The cookies of somebody who has just signed in."""
    passwords = {"ada": "lovelace", "bob": "the builder"}
    answer = await world.server.authorize({"username": username, "password": passwords[username]})
    assert answer is not None
    return session_cookie(secret=SECRET, user=answer.user, tokens=answer.tokens, clock=world.clock)


def as_header(cookies: dict[str, str]) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


def said(messages: list[Message]) -> str | None:
    """Whose session the WebSocket sent."""
    return next(
        user_in(message.get("text") or message["bytes"]) for message in messages if message["type"] == "websocket.send"
    )


@with_endpoints
async def test_somebody_signs_in_and_out_through_the_endpoints(way: Way, world: World) -> None:
    """Sign-in, session and sign-out work over the wire in every framework, and the old cookie is dead afterwards."""
    async with browser(way.build(world, world.options())) as client:
        assert await me(client) is None
        await sign_in(client)
        assert await me(client) == ADA
        shown = (await client.get("/api/auth/session")).json()
        assert user_in(shown) == ADA
        assert "refresh" not in str(shown).replace("refreshAt", "")
        old = client.cookies[COOKIE]
        assert session_cookie_of(await sign_out(client)) == ""
        assert await me(client) is None
        client.cookies.set(COOKIE, old)
        assert await me(client) is None


@every_way
async def test_the_helper_signs_in(way: Way, world: World) -> None:
    """An application's own login route begins a session in every framework."""
    async with browser(way.build(world, world.options())) as client:
        response = await client.get("/login")
        assert user_in(response.json()) == ADA
        assert session_cookie_of(response)
        assert await me(client) == ADA


@every_way
async def test_an_expired_token_is_refreshed_once_for_parallel_requests(way: Way, world: World) -> None:
    """R1: 20 requests at once with an expired token make one refresh call, and every answer has session and new cookie."""
    async with browser(way.build(world, world.options())) as client:
        await client.get("/login")
        old = client.cookies[COOKIE]
        world.clock.advance(301)
        world.server.latency = 0.02
        responses = await asyncio.gather(*(client.get("/me") for _ in range(20)))
        assert {user_in(response.json()) for response in responses} == {ADA}
        assert {session_cookie_of(response) for response in responses}.isdisjoint({None, "", old})
        assert (world.server.refresh_calls, world.server.reuses) == (1, 0)
        world.clock.advance(301)
        assert await me(client) == ADA
        assert (world.server.refresh_calls, world.server.reuses) == (2, 0)


@every_way
async def test_a_handler_that_raises_after_the_rotation_loses_nothing(way: Way, world: World) -> None:
    """L2: after a 500 the session goes on, whether that answer could carry the cookie or not."""
    async with browser(way.build(world, world.options())) as client:
        await client.get("/login")
        old = client.cookies[COOKIE]
        world.clock.advance(301)
        response = await client.get("/raise")
        assert response.status_code == 500
        assert world.server.refresh_calls == 1
        if way.bare_errors:
            assert client.cookies[COOKIE] == old
        else:
            # The plain application's 500 is made by the server, which is outside of everything.
            assert client.cookies[COOKIE] != old or way.name == "plain wrap"
        assert await me(client) == ADA
        assert client.cookies[COOKIE] != old
        assert (world.server.refresh_calls, world.server.reuses) == (1, 0)


@every_way
async def test_an_ordinary_request_writes_nothing(way: Way, world: World) -> None:
    """I1: a request whose token is fresh gets no cookie, and its answer is not for shared caches."""
    async with browser(way.build(world, world.options())) as client:
        await client.get("/login")
        response = await client.get("/me")
        assert session_cookie_of(response) is None
        assert "cookie" in response.headers["vary"].lower()
        assert "no-store" not in response.headers.get("cache-control", "")


@every_way
async def test_a_websocket_has_the_session_and_carries_the_rotated_cookie(way: Way, world: World) -> None:
    """A handshake with an expired token is refreshed; the accept carries the new cookie."""
    app = way.build(world, world.options())
    cookies = await cookie_of(world)
    world.clock.advance(301)
    messages = await websocket_handshake(app, "/ws", as_header(cookies) | {"origin": "http://testserver"})
    assert messages[0]["type"] == "websocket.accept"
    assert [line.partition("=")[0] for line in set_cookies(messages[0])] == [COOKIE]
    assert said(messages) == ADA
    assert world.server.refresh_calls == 1


@every_way
async def test_a_websocket_of_another_site_is_anonymous(way: Way, world: World) -> None:
    """I11: a cross-origin handshake has no session, refreshes nothing and writes nothing."""
    app = way.build(world, world.options())
    cookies = await cookie_of(world)
    world.clock.advance(301)
    messages = await websocket_handshake(app, "/ws", as_header(cookies) | {"origin": "https://evil.example"})
    assert said(messages) is None
    assert set_cookies(messages[0]) == []
    assert world.server.refresh_calls == 0


@every_way
async def test_two_middlewares_do_the_work_of_one(way: Way, world: World) -> None:
    """ASGI R4: a middleware inside of another passes through, so there is one refresh and one cookie."""
    inner = way.build(world, world.options())
    async with browser(TokenRotationMiddleware(inner, rotation=TokenRotation(**world.options()))) as client:
        await client.get("/login")
        world.clock.advance(301)
        response = await client.get("/me")
        assert user_in(response.json()) == ADA
        assert session_cookie_of(response)  # one line only: it asserts that
        assert (world.server.refresh_calls, world.server.reuses) == (1, 0)


@every_way
async def test_a_skipped_path_has_no_session(way: Way, world: World) -> None:
    """Where ``skip`` says so, no cookie is opened, nothing refreshed, and there is no session."""
    options = world.options(skip=lambda scope: scope["path"].startswith("/static"))
    async with browser(way.build(world, options)) as client:
        await client.get("/login")
        world.clock.advance(301)
        response = await client.get("/static")
        assert response.status_code == 200
        assert "session" not in response.json()
        assert world.server.refresh_calls == 0


@every_way
async def test_a_state_that_all_requests_share_mixes_nobody_up(way: Way, world: World) -> None:
    """ASGI R5: one state dictionary for all requests (asgi-lifespan) hands nobody the session of somebody else."""
    app, shared = way.build(world, world.options()), dict[str, Any]()

    async def sharing(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = shared
        await app(scope, receive, send)

    ada, bob = as_header(await cookie_of(world)), as_header(await cookie_of(world, "bob"))
    people = [ada, bob, {}] * 5
    answers = await asyncio.gather(*(request(sharing, "/me", headers) for headers in people))
    assert [user_in(messages[1]["body"]) for messages in answers] == [ADA, BOB, None] * 5


@every_way
async def test_a_foreign_object_under_our_key_stays_with_its_owner(way: Way, world: World) -> None:
    """ASGI R5: a lifespan state that has a ``session`` of its own is not overwritten for everybody."""
    app, theirs = way.build(world, world.options()), {"session": "a database session"}

    async def with_theirs(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = theirs
        await app(scope, receive, send)

    messages = await request(with_theirs, "/me", as_header(await cookie_of(world)))
    assert user_in(messages[1]["body"]) == ADA
    assert theirs["session"] == "a database session"


@every_way
async def test_it_works_where_no_lifespan_comes_and_no_state_is_given(way: Way, world: World) -> None:
    """ASGI R24, R29: daphne sends no lifespan and gives no state; the session is there all the same."""
    app = way.build(world, world.options())
    messages = await request(app, "/me", as_header(await cookie_of(world)))
    assert user_in(messages[1]["body"]) == ADA


@every_way
async def test_the_cookie_headers_of_http_2_are_joined(way: Way, world: World) -> None:
    """ASGI R10: a chunked cookie that comes in several cookie headers is read whole."""
    app = way.build(world, world.options())
    answer = await world.server.authorize({"username": "ada", "password": "lovelace"})
    assert answer is not None
    cookies = session_cookie(
        secret=SECRET, user=answer.user, tokens=answer.tokens, claims={"filler": "f" * 5000}, clock=world.clock
    )
    assert len(cookies) == 2
    crumbs = [(b"cookie", f"{name}={value}".encode()) for name, value in reversed(cookies.items())]
    messages = await request(app, "/me", crumbs)
    assert user_in(messages[1]["body"]) == ADA


@with_lifespan
async def test_a_shutdown_waits_for_a_refresh_whose_client_has_gone(way: Way, world: World) -> None:
    """I5: the application's lifespan runs, and its shutdown is not reported before a refresh under way is published."""
    app = way.build(world, world.options())
    async with running(app) as lifespan, browser(app) as client:
        assert world.lifespans == ["startup"]
        await client.get("/login")
        world.clock.advance(301)
        world.server.hold("before")
        leaving = asyncio.ensure_future(client.get("/me"))
        await world.server.arrived()
        leaving.cancel()
        shutdown = asyncio.ensure_future(lifespan.say("shutdown"))
        await asyncio.sleep(0.05)
        assert not shutdown.done()
        world.server.release()
        assert await shutdown == {"type": "lifespan.shutdown.complete"}
        assert (world.server.rotations, world.server.reuses) == (1, 0)
        assert world.lifespans == ["startup", "shutdown"]


@every_way
async def test_the_scope_that_comes_in_is_the_one_that_the_application_sees(way: Way, world: World) -> None:
    """ASGI R5: middlewares outside of ours find the session in their own scope afterwards."""
    app, seen = way.build(world, world.options()), list[Scope]()

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await app(scope, receive, send)

    await request(outer, "/me", as_header(await cookie_of(world)))
    assert user_in(seen[0]["state"]["session"]) == ADA


async def test_the_messages_of_the_application_are_not_changed(world: World) -> None:
    """ASGI R8: the cookie is added to a copy, with all keys, though the application's headers come from a generator."""
    own: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        own.append(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": (pair for pair in ((b"x-own", b"1"),)),
                "trailers": True,
            }
        )
        own.append({"type": "http.response.body", "body": b"", "own": 1})
        for message in own:
            await send(message)

    before = as_header(await cookie_of(world))
    world.clock.advance(301)
    start, body = await request(TokenRotationMiddleware(app, **world.options()), "/", before)
    assert len(set_cookies(start)) == 1
    assert (b"x-own", b"1") in start["headers"]
    assert start["trailers"] is True
    assert body is own[1]
    assert start is not own[0]
    assert not isinstance(own[0]["headers"], list)
