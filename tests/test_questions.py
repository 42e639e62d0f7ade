"""What docs/questions.md answers is true: its code runs against a back end that punishes what real ones punish."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import jwt as pyjwt
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asgi_token_rotation import Credentials, Event, Events, SignIn, TokenRotation, TokenRotationMiddleware, TokenSet
from asgi_token_rotation.testing import Clock, session_cookie
from asgi_token_rotation.types import ASGIApp
from other_back_ends import ADA, BackEnd
from test_docs import blocks_of, served
from test_docs import run as run_block

PAGE = Path(__file__).parent.parent / "docs" / "questions.md"
SECRET = "a secret for a test, longer than thirty-two characters"


@dataclass
class Page:
    """The page's code, its back end on a real server, and the clock of both."""

    names: dict[str, Any]
    back_end: BackEnd
    clock: Clock
    signed_in: SignIn | None = None

    def app(self, app: ASGIApp, **options: Any) -> TokenRotationMiddleware:
        """One of the page's applications, with the page's ordinary provider unless told otherwise."""
        ordinary = Credentials(authorize=self.names["authorize"], refresh=self.names["refresh"])
        given = {"secret": SECRET, "providers": [ordinary], "clock": self.clock, **options}
        return TokenRotationMiddleware(app, rotation=TokenRotation(**given))

    async def cookies(self) -> dict[str, str]:
        """The session cookie of Ada, who has just signed in."""
        self.signed_in = await self.back_end.server.authorize(ADA)
        assert self.signed_in is not None
        user, tokens = self.signed_in.user, self.signed_in.tokens
        return session_cookie(secret=SECRET, user=user, tokens=tokens, clock=self.clock)

    async def revoke(self) -> None:
        """The back end revokes what it gave to Ada."""
        assert self.signed_in is not None
        assert self.signed_in.tokens is not None
        form = {"token": self.signed_in.tokens.access_token, "client_id": "any"}
        async with self.back_end.server.client() as client:
            (await client.post("/oauth/revoke", data=form)).raise_for_status()


@pytest.fixture
async def page(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Page]:
    clock, module = Clock(), ModuleType(PAGE.stem)
    back_end = BackEnd(clock=clock)
    async with served(back_end.app) as address:
        monkeypatch.setenv("API_URL", address)
        monkeypatch.setenv("AUTH_SECRET", SECRET)
        monkeypatch.setitem(sys.modules, PAGE.stem, module)  # frameworks look annotations up in the module
        for block in blocks_of(PAGE):
            run_block(block, PAGE, vars(module))
        async with vars(module)["api"]:
            yield Page(vars(module), back_end, clock)


def browser(app: ASGIApp, cookies: dict[str, str] | None = None, **options: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, **{"base_url": "http://testserver", **options})
    for name, value in (cookies or {}).items():
        client.cookies.set(name, value, domain="testserver.local")
    return client


async def posted(visitor: httpx.AsyncClient, provider: str, **fields: str) -> httpx.Response:
    """What a sign-in form does."""
    csrf = (await visitor.get("/api/auth/csrf")).json()["csrfToken"]
    form = {"csrfToken": csrf, "callbackUrl": "/", "json": "true", **fields}
    return await visitor.post(f"/api/auth/callback/{provider}", data=form)


async def session_of(visitor: httpx.AsyncClient) -> Any:
    return (await visitor.get("/api/auth/session")).json()


async def not_found(scope: Any, receive: Any, send: Any) -> None:
    """An application with nothing in it."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def goes_on(page: Page, visitor: httpx.AsyncClient) -> None:
    """The session outlives its access token by one rotation, then ends in a refusal that is told."""
    server = page.back_end.server
    calls = server.refresh_calls
    page.clock.advance(301)
    sessions = await asyncio.gather(*(session_of(visitor) for _ in range(5)))
    assert [session["user"]["name"] for session in sessions] == [sessions[0]["user"]["name"]] * 5
    assert [session.get("error") for session in sessions] == [None] * 5
    assert (server.refresh_calls - calls, server.reuses) == (1, 0)
    server.refuse_refresh = True
    page.clock.advance(301)
    assert (await session_of(visitor))["error"] == "RefreshAccessTokenError"
    server.refuse_refresh = False


async def test_a_code_signs_in_once(page: Page) -> None:
    """A one-time code signs in through the endpoint, its session is refreshed, and a second use is a failed sign-in."""
    app = page.app(not_found, providers=[page.names["code"]])
    async with browser(app) as visitor, browser(app) as second:
        answer = await posted(visitor, "code", code="one-time-1")
        assert (answer.status_code, answer.json()["url"]) == (200, "http://testserver/")
        refused = await posted(second, "code", code="one-time-1")
        assert (refused.status_code, "error=CredentialsSignin" in refused.json()["url"]) == (401, True)
        empty = await posted(second, "code")
        assert empty.status_code == 401
        assert await session_of(second) is None
        await goes_on(page, visitor)


async def test_a_code_signs_in_by_a_link(page: Page) -> None:
    """The route signs in and leads away from the address with the code; a used link leads to the sign-in page."""
    app = page.app(page.names["enter_app"], providers=[page.names["code"]])
    async with browser(app) as visitor, browser(app) as second:
        answer = await visitor.get("/enter?code=one-time-2")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert answer.headers["referrer-policy"] == "no-referrer"
        again = await second.get("/enter?code=one-time-2")
        assert again.headers["location"] == "/api/auth/signin?error=CredentialsSignin"
        assert 'role="alert"' in (await second.get(again.headers["location"])).text
        await goes_on(page, visitor)


async def test_details_come_from_a_second_endpoint(page: Page) -> None:
    """The details are there after the sign-in, are asked for once a refresh, and their failure costs no request."""
    provider = Credentials(authorize=page.names["authorize_with_details"], refresh=page.names["refresh"])
    app = page.app(not_found, providers=[provider], callbacks=page.names["details_callbacks"])
    async with browser(app) as visitor:
        assert (await posted(visitor, "credentials", username="ada", password="wrong")).status_code == 401
        assert (await posted(visitor, "credentials", username="ada", password="lovelace")).status_code == 200
        assert (await session_of(visitor))["user"] == {"name": "Ada", "email": "ada@example.com"}
        page.back_end.me_calls = 0
        page.clock.advance(301)
        page.back_end.details_are_broken = True
        assert (await session_of(visitor))["user"]["name"] == "Ada"
        assert page.back_end.me_calls == 1
        page.back_end.details_are_broken, page.back_end.new_name = False, "Countess"
        assert (await session_of(visitor))["user"]["name"] == "Countess"
        assert (await session_of(visitor))["user"]["name"] == "Countess"
        assert page.back_end.me_calls == 2


async def test_details_that_fail_are_no_wrong_password(page: Page) -> None:
    """Where the second endpoint fails, the sign-in fails, and nobody is told that the password is wrong."""
    provider = Credentials(authorize=page.names["authorize_with_details"], refresh=page.names["refresh"])
    page.back_end.details_are_broken = True
    async with browser(page.app(not_found, providers=[provider])) as visitor:
        answer = await posted(visitor, "credentials", username="ada", password="lovelace")
    assert "error=Configuration" in answer.json()["url"]


@pytest.mark.parametrize("name", ["header", "cookie"])
async def test_the_refresh_token_in_a_header_or_a_cookie(page: Page, name: str) -> None:
    """The refresh token goes out and comes back in a header, or in a cookie that no other user's call carries."""
    app = page.app(page.names["fetch_app"], providers=[page.names[name]])
    async with browser(app) as ada, browser(app) as bob:
        await posted(ada, "credentials", username="ada", password="lovelace")
        await posted(bob, "credentials", username="bob", password="ross")
        for _ in range(2):
            page.clock.advance(301)
            names = [(await visitor.get("/api/messages")).json()["name"] for visitor in (ada, bob, ada, bob)]
            assert names == ["Ada", "Bob", "Ada", "Bob"]  # by their access tokens
        assert (page.back_end.server.rotations, page.back_end.server.reuses) == (4, 0)
        assert len({cookie for [cookie] in page.back_end.cookies_seen}) == (4 if name == "cookie" else 0)


async def test_roles_are_as_new_as_the_access_token(page: Page) -> None:
    """The roles of the access token guard a route, and a refresh that takes a role away closes it."""

    def with_roles(*roles: str) -> TokenSet:
        access_token = pyjwt.encode({"roles": roles}, "a key of the back end, that nobody here knows", "HS256")
        return TokenSet(access_token, "a refresh token", expires_at=page.clock() + 300)

    provider = Credentials(authorize=page.names["authorize"], refresh=lambda token: with_roles("reader"))
    app = page.app(page.names["roles_app"], providers=[provider], callbacks=page.names["roles_callbacks"])
    cookies = session_cookie(secret=SECRET, user={"name": "Ada"}, tokens=with_roles("admin"), clock=page.clock)
    async with browser(app, cookies) as visitor, browser(app) as stranger:
        assert (await visitor.get("/admin")).json() == {"name": "Ada"}
        assert (await stranger.get("/admin")).status_code == 401
        page.clock.advance(301)
        assert (await visitor.get("/admin")).status_code == 403
        assert (await session_of(visitor))["roles"] == ["reader"]


async def test_a_refusal_ends_the_session(page: Page) -> None:
    """With on_refused="end" a refused refresh token signs out on the server: reason told, cookie cleared after grace."""
    heard: list[Event] = []
    events, options = Events(session_ended=heard.append), page.names["refused_means_out"]
    app = page.app(page.names["pages_app"], refresh_options=options, events=events)
    async with browser(app, await page.cookies()) as visitor:
        page.back_end.server.refuse_refresh = True
        page.clock.advance(301)
        first = await visitor.get("/dashboard")
        assert (first.status_code, first.json()) == (200, {})
        assert await session_of(visitor) is None
        assert [event.reason for event in heard] == ["refused"]
        page.clock.advance(31)
        assert await session_of(visitor) is None
        assert list(visitor.cookies) == ["authjs.csrf-token", "authjs.callback-url"]


async def test_a_refusal_leads_to_the_login_page(page: Page) -> None:
    """A refused session is signed out by the page's dependency, cookie and all; an outage signs nobody out."""
    app = page.app(page.names["pages_app"])
    async with browser(app, await page.cookies()) as visitor:
        server = page.back_end.server
        server.fail_with = 503
        page.clock.advance(301)
        assert (await visitor.get("/dashboard")).json()["error"] == "RefreshUnavailable"
        server.fail_with, server.refuse_refresh = None, True
        page.clock.advance(120)
        answer = await visitor.get("/dashboard")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?error=SessionExpired")
        assert not visitor.cookies
        assert (await visitor.get("/dashboard")).json() == {}


async def test_only_the_api_checks_the_access_token(page: Page) -> None:
    """An access token that the back end has revoked opens what needs the cookie only, not what asks the back end."""
    app = page.app(page.names["checked_app"])
    async with browser(app, await page.cookies()) as visitor, browser(app) as stranger:
        assert (await visitor.get("/account")).json()["id"] == "ada"
        assert (await stranger.get("/account")).status_code == 401
        await page.revoke()
        assert (await visitor.get("/greeting")).json()["name"] == "Ada"
        assert (await visitor.get("/account")).status_code == 401
        assert (await visitor.get("/greeting")).status_code == 401  # the refresh was refused, which is noticed


async def test_fetches_after_an_idle_hour(page: Page) -> None:
    """Eight fetches of a tab that slept for an hour cost one refresh and all get good answers; an outage is a 503."""
    app, server = page.app(page.names["fetch_app"]), page.back_end.server
    async with browser(app, await page.cookies()) as visitor:
        page.clock.advance(3600)
        answers = await asyncio.gather(*(visitor.get("/api/messages") for _ in range(8)))
        assert [answer.status_code for answer in answers] == [200] * 8
        assert (server.refresh_calls, server.reuses) == (1, 0)
        server.fail_with = 503
        page.clock.advance(3600)
        away = await visitor.get("/api/messages")
        assert (away.status_code, away.json()) == (503, {"error": "RefreshUnavailable"})
        assert away.headers["retry-after"] == "5"
        server.fail_with = None
        page.clock.advance(120)
        assert (await visitor.get("/api/messages")).status_code == 200


async def test_a_background_task_uses_the_session(page: Page) -> None:
    """A task that runs after the response refreshes, and the session's next request gets the tokens."""
    app, server = page.app(page.names["fetch_app"]), page.back_end.server
    async with browser(app, await page.cookies()) as visitor:
        page.clock.advance(200)  # 100 seconds are left: enough for requests, not for the task
        answer = await visitor.post("/api/export")
        assert answer.json() == {"started": True}
        assert page.back_end.exports == ["ada"]
        page.clock.advance(100)
        assert (await visitor.get("/api/messages")).status_code == 200
        assert (server.rotations, server.reuses) == (1, 0)


async def test_django_as_the_api(page: Page) -> None:
    """simplejwt's answers sign in, are refreshed by the access token's own expiry, and its 401 is a refusal."""
    app = page.app(not_found, providers=[page.names["django"]])
    async with browser(app) as visitor:
        assert (await posted(visitor, "credentials", username="ada", password="wrong")).status_code == 401
        await posted(visitor, "credentials", username="ada", password="lovelace")
        await goes_on(page, visitor)


async def test_graphql_as_the_api(page: Page) -> None:
    """GraphQL's errors under a 200 are a wrong password, a refusal, or an outage, as the page's code says."""
    app = page.app(not_found, providers=[page.names["by_graphql"]])
    async with browser(app) as visitor:
        assert (await posted(visitor, "credentials", username="ada", password="wrong")).status_code == 401
        await posted(visitor, "credentials", username="ada", password="lovelace")
        page.back_end.graphql_is_broken = True
        page.clock.advance(301)
        assert (await session_of(visitor))["error"] == "RefreshUnavailable"
        page.back_end.graphql_is_broken = False
        page.clock.advance(120)
        assert "error" not in await session_of(visitor)
        page.back_end.server.refuse_refresh = True
        page.clock.advance(301)
        assert (await session_of(visitor))["error"] == "RefreshAccessTokenError"


async def test_a_graphql_query_is_asked_again_once(page: Page) -> None:
    """UNAUTHENTICATED for a token that is not due refreshes it once, however many resolvers run into it."""

    async def query(request: Request) -> Response:
        return JSONResponse(await asyncio.gather(*(page.names["ask"](request, "{ me { id } }", {}) for _ in range(3))))

    async def without_expiry(credentials: Mapping[str, str]) -> SignIn:
        found = await page.names["authorize_by_graphql"](credentials)
        return replace(found, tokens=replace(found.tokens, expires_at=None))

    provider = replace(page.names["by_graphql"], authorize=without_expiry)
    app = page.app(Starlette(routes=[Route("/query", query)]), providers=[provider])
    async with browser(app) as visitor:
        await posted(visitor, "credentials", username="ada", password="lovelace")
        page.clock.advance(301)  # the back end's clock: here no expiry is known
        answers = (await visitor.get("/query")).json()
        assert [answer["data"]["me"]["id"] for answer in answers] == ["ada"] * 3
        assert (page.back_end.server.rotations, page.back_end.server.reuses) == (1, 0)


async def test_a_front_end_on_another_origin(page: Page) -> None:
    """The page's origin signs in, reads and calls with CORS and the cookie; another origin can do none of it."""
    async with browser(page.names["cors_app"], base_url="https://api.example.com") as visitor:
        ours, foreign = {"origin": "https://app.example.com"}, {"origin": "https://app.example.net"}
        wanted = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        for path in ("/api/auth/session", "/api/auth/callback/credentials", "/api/orders"):
            allowed = await visitor.options(path, headers=ours | wanted)
            assert allowed.headers["access-control-allow-origin"] == ours["origin"]
            assert allowed.headers["access-control-allow-credentials"] == "true"
            assert (await visitor.options(path, headers=foreign | wanted)).status_code == 400
        csrf = (await visitor.get("/api/auth/csrf", headers=ours)).json()["csrfToken"]
        form = {"csrfToken": csrf, "json": "true", "callbackUrl": "https://app.example.com/home", **ADA}
        where = "/api/auth/callback/credentials"
        assert (await visitor.post(where, data=form, headers=foreign)).status_code == 403
        assert (await visitor.post(where, data=form, headers=ours)).json()["url"] == "https://app.example.com/home"

        read = await visitor.get("/api/me", headers=ours)
        assert (read.json()["user"]["name"], read.headers["access-control-allow-origin"]) == ("Ada", ours["origin"])
        assert "access-control-allow-origin" not in (await visitor.get("/api/me", headers=foreign)).headers
        assert (await visitor.post("/api/orders", headers=foreign)).status_code == 403
        assert (await visitor.post("/api/orders", headers=ours)).json() == {"ordered_by": "Ada"}


async def test_the_sign_in_page_leads_back_to_another_origin(page: Page) -> None:
    """The built-in sign-in page takes a callbackUrl on a trusted origin, and no other."""
    async with browser(page.names["cors_app"], base_url="https://api.example.com") as visitor:
        for wanted, reached in (("https://app.example.com/home", True), ("https://app.example.net/home", False)):
            shown = await visitor.get("/api/auth/signin", params={"callbackUrl": wanted})
            assert (shown.status_code, f'value="{wanted}"' in shown.text) == (200, reached)


def test_the_page_answers_the_questions() -> None:
    """Each question has code: an answer that nothing runs would pass every other test."""
    sections = PAGE.read_text("utf-8").split("\n## ")[1:]

    assert len(sections) == 10
    assert [section.partition("\n")[0] for section in sections if "```python" not in section] == []
