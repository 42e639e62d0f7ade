"""One application against the strict token server, and browsers with real cookie jars."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asgi_token_rotation import (
    JWT,
    Credentials,
    Event,
    Events,
    RefreshError,
    TokenRotation,
    TokenRotationMiddleware,
    TokenSet,
    get_access_token,
    get_token,
    sign_in,
    sign_out,
    update_session,
)
from asgi_token_rotation._cookies.jwe import cookie_key_ring
from asgi_token_rotation.testing import Clock, TokenServer

SECRET = "a secret of the tests, long enough for everybody"
COOKIE = "authjs.session-token"
Handler = Callable[[Request], Awaitable[Response]]


class Rig:
    """A token server, an application with the middleware around it, and what it told of events."""

    def __init__(self, *, clock: Clock | None = None, server: TokenServer | None = None, **options: Any) -> None:
        self.clock = clock or Clock()
        self.server = server or TokenServer(clock=self.clock)
        self.events: list[Event] = []
        provider = Credentials(authorize=self.server.authorize, refresh=self.server.refresh)
        handlers = dict.fromkeys(Events.__dataclass_fields__, self.events.append)
        given: dict[str, Any] = {
            "secret": SECRET, "providers": [provider], "events": Events(**handlers), "clock": self.clock, **options,
        }  # fmt: skip
        self.rotation = TokenRotation(**given)
        self.routes: dict[str, Handler] = {}
        self.gate = asyncio.Event()
        routes = [
            Route("/login", self._login),
            Route("/me", _me),
            Route("/token", _token),
            Route("/access-token", _access_token),
            Route("/update", _update),
            Route("/logout", _logout),
            Route("/slow", self._slow),
            Route("/raise", _raise),
            Route("/at/{name}", self._custom),
        ]
        self.app = TokenRotationMiddleware(Starlette(routes=routes), rotation=self.rotation)

    def browser(self, **cookies: str) -> httpx.AsyncClient:
        """A browser with a cookie jar of its own."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://testserver")
        for name, value in cookies.items():
            client.cookies.set(name, value, domain="testserver.local")
        return client

    async def signed_in(self) -> httpx.AsyncClient:
        """A browser of somebody who has just signed in."""
        browser = self.browser()
        response = await browser.get("/login")
        assert response.json()["user"]["email"] == "ada@example.com"
        return browser

    async def copy(self, browser: httpx.AsyncClient) -> httpx.AsyncClient:
        """A browser with the same cookies, whose jar goes its own way from now on."""
        return self.browser(**dict(browser.cookies))

    def heard(self, name: str) -> list[Event]:
        """The events of that name."""
        return [event for event in self.events if event.name == name]

    def into_margin(self) -> None:
        """Move the clock to where the access token is due but valid."""
        self.clock.advance(self.server.access_token_lifetime - 30)

    def past_expiry(self) -> None:
        """Move the clock to where the access token has expired."""
        self.clock.advance(self.server.access_token_lifetime + 1)

    async def _login(self, request: Request) -> Response:
        answer = await self.server.authorize(
            {"username": request.query_params.get("user", "ada"), "password": "lovelace"}
        )
        assert answer is not None
        return JSONResponse(await sign_in(request, answer.user, answer.tokens, provider="credentials"))

    async def _slow(self, request: Request) -> Response:
        await self.gate.wait()
        return JSONResponse(request.state.session)

    async def _custom(self, request: Request) -> Response:
        return await self.routes[request.path_params["name"]](request)


async def _me(request: Request) -> Response:
    return JSONResponse(request.state.session | {"refused": request.state.session.error})


async def _token(request: Request) -> Response:
    return JSONResponse(get_token(request))


async def _access_token(request: Request) -> Response:
    options: dict[str, Any] = {
        name: request.query_params[name] for name in ("rejected",) if name in request.query_params
    }
    try:
        return JSONResponse(await get_access_token(request, **options))
    except RefreshError as error:
        return JSONResponse({"code": error.code}, status_code=503)


async def _update(request: Request) -> Response:
    return JSONResponse(await update_session(request, dict(request.query_params)))


async def _logout(request: Request) -> Response:
    await sign_out(request)
    return Response()


async def _raise(request: Request) -> Response:
    raise LookupError("a handler's own failure")


def user_of(response: httpx.Response) -> str | None:
    """Whose session a response shows."""
    return (response.json().get("user") or {}).get("email")


def token_in(rig: Rig, response: httpx.Response) -> JWT:
    """The token in the cookie that a response writes, as it stands there."""
    ring = cookie_key_ring([SECRET], cookie_name=COOKIE, dialect="authjs", encryption="A256GCM")
    value = response.cookies[COOKIE]
    return ring.open(value.encode(), now=rig.clock()).claims()


def written(response: httpx.Response) -> bool:
    """Whether a response writes a session cookie, not clears it."""
    return any(line.startswith(COOKIE) and "Max-Age=0" not in line for line in response.headers.get_list("set-cookie"))


def cleared(response: httpx.Response) -> bool:
    """Whether a response clears the session cookie."""
    return any(line.startswith(COOKIE) and "Max-Age=0" in line for line in response.headers.get_list("set-cookie"))


async def until(condition: Callable[[], bool], *, seconds: float = 5) -> None:
    """Wait until something holds; fail after so many seconds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


def a_token_set(clock: Clock, **claims: Any) -> TokenSet:
    """A token set that expires in five minutes."""
    return TokenSet(**{"access_token": "access-1", "refresh_token": "refresh-1", "expires_at": clock() + 300, **claims})
