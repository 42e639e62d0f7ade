"""ASGI's rules about the middleware's shape, and what it leaves in the scope."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_args

import litestar
import pytest
from litestar.middleware import DefineMiddleware
from litestar.middleware.session.client_side import CookieBackendConfig

from asgi import request, set_cookies
from asgi_token_rotation import (
    ConfigurationError,
    Session,
    TokenRotation,
    TokenRotationMiddleware,
    get_session,
    sign_out,
    types,
)
from asgi_token_rotation.testing import session_cookie
from asgi_token_rotation.types import ASGIApp, Message, Receive, Scope, Send
from frameworks.applications import COOKIE, SECRET, World, litestar_app, plain
from frameworks.browser import browser, user_in

ADA = "ada@example.com"
Make = Callable[[ASGIApp, TokenRotation], ASGIApp]


@pytest.fixture
def world() -> World:
    return World()


async def cookie_header(world: World, username: str = "ada") -> dict[str, str]:
    """The Cookie header of somebody who has just signed in."""
    passwords = {"ada": "lovelace", "bob": "the builder"}
    answer = await world.server.authorize({"username": username, "password": passwords[username]})
    assert answer is not None
    cookies = session_cookie(secret=SECRET, user=answer.user, tokens=answer.tokens, clock=world.clock)
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


async def respond(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


WAYS_TO_MAKE: dict[str, Make] = {
    "positional": lambda app, rotation: TokenRotationMiddleware(app, rotation=rotation),
    "by name": lambda app, rotation: TokenRotationMiddleware(app=app, rotation=rotation),
    "partial": lambda app, rotation: functools.partial(TokenRotationMiddleware, rotation=rotation)(app),
    "pair": lambda app, rotation: (lambda kind, options: kind(app, **options))(
        *(TokenRotationMiddleware, {"rotation": rotation})
    ),
}


@pytest.mark.parametrize("make", WAYS_TO_MAKE.values(), ids=WAYS_TO_MAKE.keys())
async def test_the_application_comes_first_by_place_or_by_name(make: Make, world: World) -> None:
    """ASGI R1: the application may be handed in by its place or as ``app``, as one framework or the other does it."""
    middleware = make(plain(world), TokenRotation(**world.options()))
    messages = await request(middleware, "/me", await cookie_header(world))
    assert user_in(messages[1]["body"]) == ADA


def test_options_have_names() -> None:
    """ASGI R1: ``app`` is no positional-only parameter, and all options are keyword-only."""
    first, *others = list(inspect.signature(TokenRotationMiddleware).parameters.values())
    assert (first.name, first.kind) == ("app", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    assert {option.kind for option in others} == {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
    with pytest.raises(TypeError, match="positional"):
        TokenRotationMiddleware(plain(World()), TokenRotation(secret=SECRET))  # type: ignore[misc]


async def test_it_is_called_by_name(world: World) -> None:
    """ASGI R2: daphne calls an application with ``scope=``, ``receive=`` and ``send=``, and an answer of None is expected."""
    sent: list[Message] = []
    middleware = TokenRotationMiddleware(plain(world), **world.options())

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": "/me",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    answer: Any = await middleware(scope=scope, receive=receive, send=send)
    assert answer is None
    assert sent[0]["status"] == 200


def test_it_is_taken_for_asgi_3() -> None:
    """ASGI R2: ``__call__`` is a coroutine function with the three names, else servers take it for ASGI 2 or WSGI."""
    assert inspect.iscoroutinefunction(TokenRotationMiddleware.__call__)
    parameters = list(inspect.signature(TokenRotationMiddleware.__call__).parameters.values())[1:]
    assert [parameter.name for parameter in parameters] == ["scope", "receive", "send"]
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}


def test_options_without_names_are_refused_by_litestar_too() -> None:
    """ASGI R3: flat options in a DefineMiddleware, of which each route would make a runtime, are refused with a sentence."""

    @litestar.get("/")
    async def handler() -> None: ...

    with pytest.raises(ConfigurationError, match="TokenRotationPlugin"):
        litestar.Litestar([handler], middleware=[DefineMiddleware(TokenRotationMiddleware, secret=SECRET)])


async def test_a_copied_scope_is_one_session(world: World) -> None:
    """ASGI R6: hypercorn's ProxyFixMiddleware deep-copies the scope; a sign-out on the copy is in the answer."""
    seen: list[Session] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for copied in (dict(scope), copy.copy(scope), copy.deepcopy(scope)):
            assert copied["state"]["session"] is scope["state"]["session"]
            assert get_session(copied) is get_session(scope)
            seen.append(get_session(copied))
        await sign_out(copied)
        await respond(send)

    messages = await request(TokenRotationMiddleware(app, **world.options()), "/", await cookie_header(world))
    assert [user_in(session) for session in seen] == [ADA] * 3
    assert ["Max-Age=0" in line for line in set_cookies(messages[0])] == [True]


async def test_what_the_application_puts_under_the_key_decides_nothing(world: World) -> None:
    """ASGI R6: an application that replaces the session in the scope changes neither the cookie nor what helpers give."""
    header = await cookie_header(world)
    world.clock.advance(301)
    shown: list[Session] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"session": {"user": {"email": "somebody else"}}}
        shown.append(get_session(scope))
        await respond(send)

    middleware = TokenRotationMiddleware(app, **world.options())
    (line,) = set_cookies((await request(middleware, "/", header))[0])
    assert user_in(shown[0]) == ADA
    again = await request(
        TokenRotationMiddleware(plain(world), rotation=middleware.rotation), "/me", {"cookie": line.partition(";")[0]}
    )
    assert user_in(again[1]["body"]) == ADA
    assert world.server.refresh_calls == 1


@pytest.mark.parametrize("outside", [True, False])
async def test_the_session_of_the_framework_is_another_one(outside: bool, world: World) -> None:
    """ASGI R7: ``scope["session"]`` is left to Starlette's, Litestar's and Channels' own sessions, in either order."""
    baskets: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        baskets.append((scope["session"], user_in(scope["state"]["session"])))
        await respond(send)

    def with_basket(inner: ASGIApp) -> ASGIApp:
        async def outer(scope: Scope, receive: Receive, send: Send) -> None:
            scope["session"] = {"basket": ["apples"]}
            await inner(scope, receive, send)
            assert scope["session"] == {"basket": ["apples"]}

        return outer

    ours = functools.partial(TokenRotationMiddleware, rotation=TokenRotation(**world.options()))
    await request(with_basket(ours(app)) if outside else ours(with_basket(app)), "/", await cookie_header(world))
    assert baskets == [({"basket": ["apples"]}, ADA)]


async def test_litestars_own_session_lives_beside_ours(world: World) -> None:
    """ASGI R7: Litestar's client-side session and ours are in one application, each with its cookie."""

    @litestar.get("/basket")
    async def basket(request: litestar.Request[Any, Any, Any]) -> dict[str, Any]:
        request.session["count"] = request.session.get("count", 0) + 1
        return {"count": request.session["count"], **request.state.session}

    config = CookieBackendConfig(secret=b"s" * 32)
    inner = litestar_app(world, middleware=[config.middleware])
    inner.register(basket)
    async with browser(TokenRotationMiddleware(inner, **world.options())) as client:
        await client.get("/login")
        for count in (1, 2):
            shown = (await client.get("/basket")).json()
            assert (shown["count"], user_in(shown)) == (count, ADA)
        assert set(client.cookies) == {COOKIE, config.key}


async def test_the_key_can_be_another_one(world: World) -> None:
    """ASGI R7: with ``state_key`` the session stands under that key, and ``state.session`` stays free."""
    states: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        states.append(scope["state"])
        await respond(send)

    middleware = TokenRotationMiddleware(app, **world.options(state_key="login"))
    await request(middleware, "/", await cookie_header(world), state={"session": "theirs"})
    assert user_in(states[0]["login"]) == ADA
    assert states[0]["session"] == "theirs"


def test_the_cookie_has_a_name_of_its_own() -> None:
    """ASGI R7: by default the cookie is called neither ``session`` nor ``sessionid``, which frameworks use for theirs."""
    cookies = session_cookie(secret=SECRET, user={"id": "1"})
    assert set(cookies).isdisjoint({"session", "sessionid"})


async def test_a_skipped_request_sees_nobodys_session(world: World) -> None:
    """ASGI R5: where one state serves all requests, a skipped one finds nobody's session there, and the rest of it."""
    shared: dict[str, Any] = {"client": "theirs"}
    seen: dict[str, Any] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen[scope["path"]] = dict(scope["state"])
        await respond(send)

    middleware = TokenRotationMiddleware(app, **world.options(skip=lambda scope: scope["path"] == "/static"))
    await request(middleware, "/me", await cookie_header(world), state=shared)
    await request(middleware, "/static", state=shared)
    assert user_in(seen["/me"]["session"]) == ADA
    assert seen["/static"] == {"client": "theirs"}


async def test_a_skipped_request_keeps_what_is_not_ours(world: World) -> None:
    """ASGI R5: a skipped request's state is the server's own, with a ``session`` that somebody else put there."""
    state, seen = {"session": "a database session"}, list[Any]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["state"])
        await respond(send)

    await request(TokenRotationMiddleware(app, **world.options(skip=lambda _: True)), "/", state=state)
    assert seen[0] is state


def test_the_types_take_every_framework() -> None:
    """ASGI R30: scope and message are Any, which alone fits the types of all frameworks and servers."""
    assert types.Scope is Any
    assert types.Message is Any
    assert get_args(types.Receive)[0] == []
    assert get_args(types.Send)[0] == [Any]
    assert get_args(types.ASGIApp)[0] == [types.Scope, types.Receive, types.Send]
