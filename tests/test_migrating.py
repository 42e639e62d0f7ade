"""What docs/migrating-from-nextauth.md promises to an application that moves is true, its code included."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

import asgi_token_rotation
from asgi_token_rotation import Callbacks, CookieOptions, Credentials, JWTParams, TokenRotation, TokenRotationMiddleware
from asgi_token_rotation._cookies.jwe import cookie_key_ring
from asgi_token_rotation.testing import Clock, TokenServer, session_cookie
from asgi_token_rotation.types import ASGIApp, Dialect
from other_back_ends import ADA
from rig import Rig
from test_docs import blocks_of, served
from test_docs import run as run_block

PAGE = Path(__file__).parent.parent / "docs" / "migrating-from-nextauth.md"
SECRET = "a secret for a test, longer than thirty-two characters"
V4_COOKIE, V5_COOKIE = "next-auth.session-token", "authjs.session-token"


@dataclass
class Moved:
    """The page's application after the move; ``app`` is the same with the back end's clock."""

    names: dict[str, Any]
    server: TokenServer
    clock: Clock
    app: ASGIApp


@pytest.fixture
async def moved(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Moved]:
    clock, module = Clock(), ModuleType(PAGE.stem)
    server, names = TokenServer(clock=clock), vars(module)
    async with served(server) as address:
        monkeypatch.setenv("API_URL", address)
        monkeypatch.setenv("AUTH_SECRET", SECRET)
        monkeypatch.delenv("AUTH_URL", raising=False)
        monkeypatch.setitem(sys.modules, PAGE.stem, module)  # frameworks look annotations up in the module
        for block in blocks_of(PAGE):
            run_block(block, PAGE, names)
        provider = Credentials(authorize=names["authorize"], refresh=names["refresh"])
        callbacks = Callbacks(jwt=names["jwt"], session=names["session"])
        options: dict[str, Any] = {"providers": [provider], "callbacks": callbacks, "dialect": "nextauth-v4"}
        rotation = TokenRotation(secret=SECRET, clock=clock, **options)
        async with names["api"]:
            yield Moved(names, server, clock, TokenRotationMiddleware(names["web"], rotation=rotation))


def browser(app: ASGIApp, cookies: dict[str, str] | None = None, *, origin: str = "http://testserver") -> Any:
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=origin)
    for name, value in (cookies or {}).items():
        client.cookies.set(name, value, domain="testserver.local")
    return client


async def signed_in(visitor: httpx.AsyncClient, **credentials: str) -> httpx.Response:
    """What ``signIn("credentials", {redirect: false, …})`` of next-auth 4 sends."""
    csrf = (await visitor.get("/api/auth/csrf")).json()["csrfToken"]
    form = {"csrfToken": csrf, "callbackUrl": "/", "redirect": "false", "json": "true", **ADA, **credentials}
    return await visitor.post("/api/auth/callback/credentials", data=form)


async def session_of(visitor: httpx.AsyncClient) -> Any:
    return (await visitor.get("/api/auth/session")).json()


async def nextauths_cookie(server: TokenServer, clock: Clock) -> dict[str, str]:
    """What the application of before, as the page shows it, had put into NextAuth v4's cookie."""
    answer = await server.authorize(ADA)
    assert answer is not None
    assert answer.tokens is not None
    claims = {
        "name": "Ada", "email": "ada@example.com", "sub": "ada", "jti": "0b0ff0c6-3c5a-4b3e-8d26-2ad4a8f5a6d1",
        "accessToken": answer.tokens.access_token, "refreshToken": answer.tokens.refresh_token,
        "accessTokenExpiry": round((answer.tokens.expires_at or 0) * 1000),
    }  # fmt: skip
    ring = cookie_key_ring([SECRET], cookie_name=V4_COOKIE, dialect="nextauth-v4")
    return {V4_COOKIE: ring.seal(claims, now=clock(), expires=clock() + 30 * 86_400)}


async def test_the_application_works_as_it_stands(moved: Moved) -> None:
    """The page's application signs in with next-auth 4's requests, shows the old names, and refuses a wrong password."""
    moved.clock.set(float(int(time.time())))  # the application has no other clock
    async with browser(moved.names["app"]) as visitor:
        assert (await signed_in(visitor, password="wrong")).status_code == 401
        assert await session_of(visitor) == {}
        assert (await visitor.get("/api/account")).status_code == 401
        assert (await signed_in(visitor)).json() == {"url": "http://testserver/"}
        session = await session_of(visitor)
        assert session["user"] == {"name": "Ada", "email": "ada@example.com"}
        assert session["accessTokenExpiry"] == round((moved.clock() + 300) * 1000)
        assert moved.server.name_of(session["accessToken"]) == "1-0"
        assert (await visitor.get("/api/account")).json() == session["user"]


async def test_the_error_of_before(moved: Moved) -> None:
    """The front end sees RefreshAccessTokenError for a refusal, not for an outage, and none after a success."""
    async with browser(moved.app) as visitor:
        await signed_in(visitor)
        moved.server.fail_with = 503
        moved.clock.advance(301)
        assert (await session_of(visitor))["error"] == "RefreshUnavailable"
        moved.server.fail_with = None
        moved.clock.advance(120)
        assert "error" not in await session_of(visitor)
        moved.server.refuse_refresh = True
        moved.clock.advance(301)
        assert (await session_of(visitor))["error"] == "RefreshAccessTokenError"


@pytest.mark.parametrize("seconds", [0, 301])
async def test_who_was_signed_in_stays_so(moved: Moved, seconds: float) -> None:
    """NextAuth's cookie, with the old callback's names and an expired token too, goes on with one refresh at most."""
    cookies = await nextauths_cookie(moved.server, moved.clock)
    moved.clock.advance(seconds)
    async with browser(moved.app, cookies) as visitor:
        answers = await asyncio.gather(*(visitor.get("/api/account") for _ in range(6)))
        assert [answer.json()["name"] for answer in answers] == ["Ada"] * 6
        assert {cookie.name for cookie in visitor.cookies.jar} == {V4_COOKIE}
        session = await session_of(visitor)
        assert moved.server.name_of(session["accessToken"]) == ("1-1" if seconds else "1-0")
        assert "error" not in session
        moved.clock.advance(301)
        await asyncio.gather(*(session_of(visitor) for _ in range(6)))
        assert (moved.server.rotations, moved.server.reuses) == (2 if seconds else 1, 0)


async def test_a_refresh_by_nexts_server_is_not_lost(moved: Moved) -> None:
    """Where a rendering server asks with the browser's cookie and drops the new one, the browser gets it afterwards."""
    async with browser(moved.app) as visitor:
        await signed_in(visitor)
        moved.clock.advance(301)
        async with browser(moved.app) as next_server:
            cookie = f"{V4_COOKIE}={visitor.cookies[V4_COOKIE]}"
            rendered = (await next_server.get("/api/auth/session", headers={"cookie": cookie})).json()
        assert rendered["user"]["name"] == "Ada"
        moved.clock.advance(3600)
        assert "error" not in await session_of(visitor)
        assert (moved.server.rotations, moved.server.reuses) == (2, 0)


async def test_the_guard_leads_to_the_login_page(moved: Moved) -> None:
    """What middleware.ts guarded sends a stranger's browser to the page with the way back, and lets others in."""
    async with browser(moved.app) as visitor:
        refused = await visitor.get("/dashboard/orders?page=2", headers={"accept": "text/html"})
        assert (refused.status_code, refused.headers["location"]) == (
            303,
            "/login?callbackUrl=%2Fdashboard%2Forders%3Fpage%3D2",
        )
        await signed_in(visitor)
        assert (await visitor.get("/dashboard/orders")).json() == {"orders_of": "Ada"}


async def test_what_the_jwt_callback_sees() -> None:
    """The jwt callback sees the user at sign-in only, an update's data, no claims of the cookie, and no strangers."""
    seen: list[tuple[Any, ...]] = []

    def jwt(params: JWTParams) -> Any:
        sealed = {"iat", "exp", "jti"} & set(params.token)
        seen.append((params.trigger, params.user is not None, params.session, params.is_new_user, sealed))
        return params.token

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    stranger, visitor = rig.browser(), await rig.signed_in()
    await stranger.get("/me")
    await visitor.get("/me")
    await visitor.get("/update?theme=dark")

    assert seen == [
        ("signIn", True, None, False, set()),
        (None, False, None, None, set()),
        (None, False, None, None, set()),
        ("update", False, {"theme": "dark"}, None, set()),
    ]


@pytest.mark.parametrize("dialect", ["authjs", "nextauth-v4"])
async def test_a_cookie_from_behind_a_proxy_that_hid_tls(dialect: Dialect) -> None:
    """With prefix="" an https site goes on with the cookies of a NextAuth that thought that it was on http."""
    rig = Rig(dialect=dialect, public_url="https://testserver", cookie=CookieOptions(prefix=""))
    answer = await rig.server.authorize(ADA)
    assert answer is not None
    secret = "a secret of the tests, long enough for everybody"
    cookies = session_cookie(secret=secret, user=answer.user, tokens=answer.tokens, dialect=dialect, clock=rig.clock)
    assert list(cookies) == [V5_COOKIE if dialect == "authjs" else V4_COOKIE]

    async with browser(rig.app, cookies, origin="https://testserver") as visitor:
        assert (await visitor.get("/me")).json()["user"]["name"] == "Ada"


def test_the_page_names_what_there_is() -> None:
    """Each option, parameter and helper that the page's tables name is there."""
    text = PAGE.read_text("utf-8")
    named = re.findall(r"`(Lifetime|CookieOptions|Pages|RefreshOptions)\.(\w+)`", text)

    assert len(named) > 8
    assert [(kind, name) for kind, name in named if name not in getattr(asgi_token_rotation, kind).__slots__] == []
    for name in re.findall(r"`(?:await )?(\w+)\(request[,)]", text):
        assert hasattr(asgi_token_rotation, name), name
