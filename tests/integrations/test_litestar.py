from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, WebSocket, get, websocket
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import NotAuthorizedException
from litestar.middleware import ASGIMiddleware, DefineMiddleware
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send

from asgi import request, running, set_cookies, websocket_handshake
from asgi_token_rotation import ConfigurationError, Session, TokenRotation, TokenRotationMiddleware
from asgi_token_rotation.integrations.litestar import TokenRotationPlugin, requires_session
from asgi_token_rotation.testing import session_cookie
from frameworks.applications import COOKIE, SECRET, World
from frameworks.browser import browser, session_cookie_of, sign_in

ADA = "ada@example.com"


@get("/me")
async def me(session: NamedDependency[Session]) -> Session:
    return session


@get("/required", guards=[requires_session])
async def required(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return dict(request.state.session)


@get("/cached", cache=60)
async def cached() -> str:
    return "the same for all"


@get("/api/authors/{number:int}")
async def author(number: FromPath[int]) -> int:
    return number


@websocket("/ws", guards=[requires_session])
async def socket(socket: WebSocket[Any, Any, Any], session: NamedDependency[Session]) -> None:
    await socket.accept()
    await socket.send_text(session["user"]["email"])
    await socket.close()


@pytest.fixture
def world() -> World:
    return World()


def application(world: World, **options: Any) -> Litestar:
    plugin = TokenRotationPlugin(TokenRotation(**world.options()))
    handlers = [me, required, cached, author, socket]
    return Litestar(handlers, plugins=[plugin], logging_config=None, **options)


async def cookie_header(world: World, username: str = "ada") -> dict[str, str]:
    passwords = {"ada": "lovelace", "bob": "the builder"}
    answer = await world.server.authorize({"username": username, "password": passwords[username]})
    assert answer is not None
    cookies = session_cookie(secret=SECRET, user=answer.user, tokens=answer.tokens, clock=world.clock)
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


async def test_the_dependency_gives_the_session(world: World) -> None:
    """The dependency ``session`` is the Session itself, empty for somebody anonymous, and can be answered as it is."""
    async with browser(application(world)) as client:
        assert (await client.get("/me")).json() == {}
        client.headers.update(await cookie_header(world))
        assert (await client.get("/me")).json()["user"]["email"] == ADA


async def test_a_dependency_of_the_application_with_that_name_stays(world: World) -> None:
    """An application that has a dependency ``session`` of its own keeps it."""
    own = Session(user={"email": "the application's own"})
    app = application(world, dependencies={"session": Provide(lambda: own, sync_to_thread=False)})
    async with browser(app) as client:
        assert (await client.get("/me")).json()["user"]["email"] == "the application's own"


async def test_the_guard_lets_signed_in_people_pass(world: World) -> None:
    """The guard answers 401 for somebody anonymous and for a session refused for good, and lets an outage pass (O1)."""
    async with browser(application(world)) as client:
        assert (await client.get("/required")).status_code == 401
        await sign_in(client)
        assert (await client.get("/required")).json()["user"]["email"] == ADA
        world.clock.advance(301)
        world.server.fail_with = 503
        response = await client.get("/required")
        assert (response.status_code, response.json()["error"]) == (200, "RefreshUnavailable")
        world.clock.advance(301)
        world.server.fail_with = None
        world.server.refuse_refresh = True
        response = await client.get("/required")
        assert (response.status_code, response.json()["detail"]) == (401, "RefreshAccessTokenError")


async def test_the_guard_closes_a_websocket_with_1008(world: World) -> None:
    """On a WebSocket the guard refuses before the accept, with the code for policy (RFC 6455, 7.4.1)."""
    app = application(world)
    (close,) = await websocket_handshake(app, "/ws")
    assert (close["type"], close["code"]) == ("websocket.close", 1008)
    messages = await websocket_handshake(app, "/ws", await cookie_header(world))
    assert messages[1]["text"] == ADA


async def test_guards_of_the_application_do_not_stand_before_the_sign_in(world: World) -> None:
    """An application whose guards refuse everybody anonymous still lets people sign in."""

    def nobody(connection: ASGIConnection[Any, Any, Any, Any], handler: Any) -> None:
        raise NotAuthorizedException

    async with browser(application(world, guards=[nobody])) as client:
        await sign_in(client)
        assert (await client.get("/me")).status_code == 401


async def test_the_response_cache_never_holds_a_session_cookie(world: World) -> None:
    """C5, ASGI R8: what Litestar caches of a rotated response has no Set-Cookie, so nobody gets somebody else's."""
    app = application(world)
    ada, bob = await cookie_header(world), await cookie_header(world, "bob")
    world.clock.advance(301)
    first = await request(app, "/cached", ada)
    assert len(set_cookies(first[0])) == 1
    second = await request(app, "/cached", bob)
    assert len(set_cookies(second[0])) == 1
    assert set_cookies(second[0]) != set_cookies(first[0])
    third = await request(app, "/cached")
    assert third[1]["body"] == first[1]["body"]
    assert set_cookies(third[0]) == []


async def test_a_rotation_survives_a_404_that_litestar_answers_by_itself(world: World) -> None:
    """Litestar's own 404s are outside of the plugin: they carry no cookie, and refresh nothing."""
    app = application(world)
    cookies = await cookie_header(world)
    world.clock.advance(301)
    start = (await request(app, "/nowhere", cookies))[0]
    assert (start["status"], set_cookies(start)) == (404, [])
    assert world.server.refresh_calls == 0


async def test_a_neighbour_of_the_endpoints_keeps_its_route(world: World) -> None:
    """The endpoints at /api/auth do not swallow /api/authors/7, as a mount would in Litestar."""
    async with browser(application(world)) as client:
        assert (await client.get("/api/authors/7")).json() == 7


@pytest.mark.parametrize("root_path", ["", "/pfx", "/api"])
async def test_the_endpoints_are_found_under_a_root_path(world: World, root_path: str) -> None:
    """ASGI R27: the plugin's endpoints answer behind a prefix, even one that the base path begins with."""
    path = f"{root_path}/api/auth/csrf"
    start, body = await request(application(world), path, root_path=root_path)
    assert start["status"] == 200
    assert b"csrfToken" in body["body"]


async def test_the_endpoints_are_not_in_the_openapi_document(world: World) -> None:
    """The application's own routes are documented, ours are not."""
    paths = application(world).openapi_schema.to_schema()["paths"]
    assert "/me" in paths
    assert not [path for path in paths if path.startswith("/api/auth/") or path == "/api/auth"]


async def test_a_refresh_ends_before_the_application_closes_its_resources(world: World) -> None:
    """I5: at shutdown a refresh under way still has the client that the application closes in its own lifespan."""
    order: list[str] = []

    @asynccontextmanager
    async def resources(_app: Litestar) -> AsyncIterator[None]:
        yield
        order.append(f"closed after {world.server.rotations} rotations")

    app = application(world, lifespan=[resources])
    cookies = await cookie_header(world)
    async with running(app) as lifespan:
        world.clock.advance(301)
        world.server.hold("before")
        leaving = asyncio.ensure_future(request(app, "/me", cookies))
        await world.server.arrived()
        leaving.cancel()
        shutdown = asyncio.ensure_future(lifespan.say("shutdown"))
        await asyncio.sleep(0.05)
        assert not shutdown.done()
        world.server.release()
        await shutdown
    assert order == ["closed after 1 rotations"]


def the_users_own(app: ASGIApp) -> ASGIApp:
    """A middleware as a function, which hides what it wraps in a closure."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return middleware


class UsersOwn(ASGIMiddleware):
    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        await next_app(scope, receive, send)


PER_ROUTE: dict[str, Callable[[dict[str, Any]], list[Any]]] = {
    "DefineMiddleware": lambda options: [DefineMiddleware(TokenRotationMiddleware, **options)],
    "partial": lambda options: [partial(TokenRotationMiddleware, **options)],
    "lambda": lambda options: [lambda app: TokenRotationMiddleware(app, **options)],
    "outside of a function": lambda options: [DefineMiddleware(TokenRotationMiddleware, **options), the_users_own],
    "outside of an ASGIMiddleware": lambda options: [DefineMiddleware(TokenRotationMiddleware, **options), UsersOwn()],
}


@pytest.mark.parametrize("middleware", PER_ROUTE.values(), ids=PER_ROUTE)
def test_options_in_a_middleware_per_route_are_refused(
    world: World, middleware: Callable[[dict[str, Any]], list[Any]]
) -> None:
    """ASGI R3: with options Litestar would make a runtime per route handler; the refusal names the two ways."""
    with pytest.raises(ConfigurationError) as refusal:
        Litestar([required], middleware=middleware(world.options()))
    assert "DefineMiddleware(TokenRotationMiddleware, rotation=rotation)" in str(refusal.value)
    assert "TokenRotationPlugin(rotation)" in str(refusal.value)


def test_options_in_one_handlers_middleware_are_refused(world: World) -> None:
    """ASGI R3: the same goes for a middleware of a single handler, whose runtime its neighbours would not share."""
    handler = get("/one", middleware=[DefineMiddleware(TokenRotationMiddleware, **world.options())])(author.fn)
    with pytest.raises(ConfigurationError, match="TokenRotationPlugin"):
        Litestar([handler])


async def test_a_wrapped_litestar_takes_options(world: World) -> None:
    """Around the whole application, its ``asgi_handler`` or another middleware around it, options are fine."""
    app = Litestar([me], dependencies={"session": Provide(session_of, sync_to_thread=False)}, logging_config=None)
    for wrapped in (app, the_users_own(app), app.asgi_handler, app.__call__):
        TokenRotationMiddleware(wrapped, **world.options())
    app.asgi_handler = TokenRotationMiddleware(app.asgi_handler, **world.options())
    async with browser(app) as client:
        await sign_in(client)
        assert (await client.get("/me")).json()["user"]["email"] == ADA


def session_of(request: Request[Any, Any, Any]) -> Session:
    session: Session = request.state.session
    return session


async def test_a_sign_in_through_the_plugin_is_refreshed_at_any_route(world: World) -> None:
    """ASGI R3: the instances per route share one runtime: a rotation at one route is known at the other."""
    async with browser(application(world)) as client:
        await sign_in(client)
        old = client.cookies[COOKIE]
        world.clock.advance(301)
        assert session_cookie_of(await client.get("/me"))
        client.cookies.set(COOKIE, old, domain="testserver.local", path="/")
        response = await client.get("/required")
        assert response.json()["user"]["email"] == ADA
        assert (world.server.refresh_calls, world.server.reuses) == (1, 0)


def test_a_middleware_without_anything_is_refused() -> None:
    """Neither ``rotation`` nor ``secret``: the sentence says what is expected."""
    with pytest.raises(ConfigurationError, match="neither rotation nor secret"):
        TokenRotationMiddleware(httpx.ASGITransport)
