from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from asgi_token_rotation import (
    JWT,
    Callbacks,
    Credentials,
    JWTParams,
    Lifetime,
    Session,
    SessionParams,
    SignIn,
    StoreError,
    TokenSet,
)
from asgi_token_rotation.stores import MemoryStore
from asgi_token_rotation.testing import Clock, session_cookie
from asgi_token_rotation.types import Dialect
from endpoints.browser import SECRET, authorize, browsing, set_cookies

EMPTY = [("authjs", "null"), ("nextauth-v4", "{}")]
NAMES = {"authjs": "authjs.session-token", "nextauth-v4": "next-auth.session-token"}


def update_name(params: JWTParams) -> JWT | None:
    """The callback of the tests: trusts nothing but a name, and ends the session on request."""
    if params.trigger == "update" and params.session is not None:
        if params.session == "end":
            return None
        params.token["name"] = params.session["name"]
    return params.token


@pytest.mark.parametrize(("dialect", "empty"), EMPTY)
@pytest.mark.parametrize("cookie", ["", "nonsense", "a.b.c.d.e"])
async def test_nobody(dialect: Dialect, empty: str, cookie: str) -> None:
    """Signed out, or with a cookie that can't be opened, GET session answers the dialect's empty session, and 200."""
    headers = {"cookie": f"{NAMES[dialect]}={cookie}"} if cookie else {}
    async with browsing(dialect=dialect, headers=headers) as browser:
        response = await browser.get("/api/auth/session")

        assert (response.status_code, response.text) == (200, empty)
        assert NAMES[dialect] not in set_cookies(response)


async def test_somebody() -> None:
    """GET session answers what the session callback lets the browser see, as JSON, never cached."""

    def session(params: SessionParams) -> Session:
        params.session["tenant"] = "é😀\ud800"
        return params.session

    async with browsing(callbacks=Callbacks(session=session)) as browser:
        await browser.sign_in()
        response = await browser.get("/api/auth/session")

        assert response.headers["content-type"] == "application/json"
        assert response.headers.get_list("cache-control") == ["private, no-cache, no-store"]
        assert response.headers.get_list("vary") == ["Cookie"]
        assert response.json()["user"] == {"name": "Alice", "email": "a@example.com"}
        assert response.json()["tenant"] == "é😀\ud800"
        assert "refresh-1" not in response.text


async def test_poll_does_not_roll(clock: Clock) -> None:
    """S3: polling GET session does not keep an idle session alive, while a visit does."""
    lifetime = Lifetime(max_age=1000, update_age=100)
    async with browsing(clock=clock, lifetime=lifetime) as browser:
        await browser.sign_in()
        clock.advance(500)
        polled = await browser.get("/api/auth/session")
        visited = await browser.get("/page")

        assert "authjs.session-token" not in set_cookies(polled)
        assert "authjs.session-token" in set_cookies(visited)


async def test_poll_writes_a_rotation(clock: Clock) -> None:
    """C5: a GET session that refreshes writes the cookie, once, and what it says to caches agrees with itself."""

    async def refresh(_: JWT) -> TokenSet:
        return TokenSet("access-2", "refresh-2", expires_at=clock() + 900)

    async def signs_in(_: Any) -> SignIn:
        return SignIn(user={"id": 1}, tokens=TokenSet("access-1", "refresh-1", expires_at=clock() + 900))

    async with browsing(clock=clock, providers=[Credentials(authorize=signs_in, refresh=refresh)]) as browser:
        await browser.sign_in()
        clock.advance(890)
        response = await browser.get("/api/auth/session")

        assert list(set_cookies(response)) == ["authjs.session-token"]
        assert response.headers.get_list("cache-control") == ["private, no-store"]
        assert [value.lower() for value in response.headers.get_list("vary")] == ["cookie"]


@pytest.mark.parametrize("status", [400, 503])
async def test_refresh_fails(clock: Clock, status: int) -> None:
    """O1: whatever a refresh did, GET session answers 200 with the session: anything else signs the visitor out."""

    async def refresh(_: JWT) -> TokenSet:
        class RefusedError(Exception):
            class response:  # noqa: N801 as httpx's errors have it
                status_code, headers, content = status, {}, b'{"error": "invalid_grant"}' if status == 400 else b""

        raise RefusedError

    tokens = TokenSet("access-1", "refresh-1", expires_at=clock() - 1)
    cookies = session_cookie(secret=SECRET, user={"name": "Alice"}, tokens=tokens, clock=clock)
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    async with browsing(
        clock=clock, providers=[Credentials(authorize=authorize, refresh=refresh)], headers={"cookie": header}
    ) as browser:
        session = await browser.session()

        assert session["user"] == {"name": "Alice"}
        assert session["error"] == ("RefreshAccessTokenError" if status == 400 else "RefreshUnavailable")


async def test_update() -> None:
    """POST session hands the client's data to the jwt callback, answers the new session and writes the cookie."""
    async with browsing(callbacks=Callbacks(jwt=update_name)) as browser:
        await browser.sign_in()
        token = await browser.csrf()
        response = await browser.post_json("session", {"csrfToken": token, "data": {"name": "Ada"}})

        assert (response.status_code, response.json()["user"]["name"]) == (200, "Ada")
        assert list(set_cookies(response)) == ["authjs.session-token"]
        assert (await browser.session())["user"]["name"] == "Ada"


async def test_update_without_data() -> None:
    """POST session without data, v4's update(), runs the callback with None, and a form works, too."""
    seen: list[Any] = []

    def jwt(params: JWTParams) -> JWT:
        if params.trigger == "update":
            seen.append(params.session)
        return params.token

    async with browsing(callbacks=Callbacks(jwt=jwt)) as browser:
        await browser.sign_in()
        token = await browser.csrf()
        await browser.post_json("session", {"csrfToken": token})
        await browser.post("session", data="text")

        assert seen == [None, "text"]


@pytest.mark.parametrize(("dialect", "empty"), EMPTY)
async def test_update_of_nobody(dialect: Dialect, empty: str) -> None:
    """Signed out with a good CSRF token, POST session answers the empty session."""
    async with browsing(dialect=dialect, callbacks=Callbacks(jwt=update_name)) as browser:
        response = await browser.post_json("session", {"csrfToken": await browser.csrf(), "data": {"name": "Ada"}})

        assert (response.status_code, response.text) == (200, empty)


@pytest.mark.parametrize("dialect", ["authjs", "nextauth-v4"])
async def test_update_with_bad_csrf(dialect: Dialect) -> None:
    """POST session with a bad CSRF token answers 400 and an object (null crashes the v5 client), and changes nothing."""
    async with browsing(dialect=dialect, callbacks=Callbacks(jwt=update_name)) as browser:
        await browser.sign_in()
        response = await browser.post_json("session", {"csrfToken": "0" * 64, "data": {"name": "Eve"}})

        assert (response.status_code, response.json()["error"]) == (400, "MissingCSRF")
        assert (await browser.session())["user"]["name"] == "Alice"


@pytest.mark.parametrize(("dialect", "empty"), EMPTY)
async def test_callback_ends_the_session(dialect: Dialect, empty: str) -> None:
    """A jwt callback that answers None at an update ends the session: the empty session, and the cookie cleared."""
    async with browsing(dialect=dialect, callbacks=Callbacks(jwt=update_name)) as browser:
        await browser.sign_in()
        response = await browser.post_json("session", {"csrfToken": await browser.csrf(), "data": "end"})

        assert response.text == empty
        assert "Max-Age=0" in set_cookies(response)[NAMES[dialect]]


async def test_session_ended_meanwhile() -> None:
    """An update of a session that was signed out in another tab answers the empty session, and brings nothing back."""
    async with browsing(callbacks=Callbacks(jwt=update_name)) as browser:
        await browser.sign_in()
        old = browser.client.cookies["authjs.session-token"]
        await browser.post("signout")
        browser.client.cookies.set("authjs.session-token", old, domain="testserver.local", path="/")
        response = await browser.post_json("session", {"csrfToken": await browser.csrf(), "data": {"name": "Eve"}})

        assert (response.status_code, response.text) == (200, "null")
        assert not set_cookies(response)


class FailingStore:
    """A memory store that is away while ``away`` is set."""

    def __init__(self) -> None:
        self.away = False
        inner = MemoryStore()
        self._get, self.compare_and_set, self.delete, self.aclose = (
            inner.get,
            inner.compare_and_set,
            inner.delete,
            inner.aclose,
        )

    async def get(self, key: str) -> bytes | None:
        if self.away:
            raise StoreError("The store is away.")
        return await self._get(key)


async def test_store_is_away() -> None:
    """An update that the store can't take answers 503 with an object, and the session stays as it was."""
    store = FailingStore()
    async with browsing(callbacks=Callbacks(jwt=update_name), store=store) as browser:
        await browser.sign_in()
        token = await browser.csrf()
        store.away = True
        response = await browser.post_json("session", {"csrfToken": token, "data": {"name": "Ada"}})
        store.away = False

        assert (response.status_code, response.json()["error"]) == (503, "StoreUnavailable")
        assert (await browser.session())["user"]["name"] == "Alice"


async def test_ended_during_the_update() -> None:
    """A session that ends elsewhere while its update runs answers the empty session, and writes no cookie."""
    sign_outs: list[Callable[[], Awaitable[httpx.Response]]] = []

    async def session(params: SessionParams) -> Session:
        if sign_outs:
            assert (await sign_outs.pop()()).status_code == 302
        return params.session

    async with browsing(callbacks=Callbacks(jwt=update_name, session=session)) as browser:
        await browser.sign_in()
        token = await browser.csrf()
        sign_outs.append(lambda: browser.client.post("/api/auth/signout", data={"csrfToken": token}))
        response = await browser.post_json("session", {"csrfToken": token, "data": {"name": "Eve"}})

        assert (response.status_code, response.text) == (200, "null")
        assert "authjs.session-token" not in set_cookies(response)
        assert sign_outs == []


@pytest.mark.parametrize("data", [5, "text", [1], {"no": "name"}, {"name": "x" * 30_000}])
async def test_data_that_breaks_the_callback(data: Any, caplog: pytest.LogCaptureFixture) -> None:
    """I10: data on which the jwt callback breaks, or that fits into no cookie, is a 400, and the session stays."""
    async with browsing(callbacks=Callbacks(jwt=update_name)) as browser:
        await browser.sign_in()
        token = await browser.csrf()
        with caplog.at_level(logging.ERROR, "asgi_token_rotation"):
            response = await browser.post_json("session", {"csrfToken": token, "data": data})

        assert (response.status_code, response.json()["error"]) == (400, "UpdateFailed")
        assert (await browser.session())["user"]["name"] == "Alice"
        assert "An update of the session at /api/auth/session failed" in caplog.text


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ('{"csrfToken": "%s", "data": ' + "[" * 40 + "]" * 40 + "}", 400),
        ('{"csrfToken": "%s", "data": 9007199254740993}', 400),
        ('{"csrfToken": "%s", "data": NaN}', 400),
        (r'{"csrfToken": "%s", "data": "\ud800"}', 400),
        ('{"csrfToken": "%s", "data": "' + "x" * 70_000 + '"}', 413),
        ("[]", 400),
        ("", 400),
    ],
    ids=["deep", "integer", "nan", "surrogate", "large", "list", "empty"],
)
async def test_hostile_bodies(content: str, status: int) -> None:
    """I10: a hostile body is refused with 400 or 413 and an object, before the callback sees anything."""
    seen: list[JWTParams] = []

    def jwt(params: JWTParams) -> JWT:
        seen.append(params)
        return params.token

    async with browsing(callbacks=Callbacks(jwt=jwt)) as browser:
        await browser.sign_in()
        token = await browser.csrf()
        seen.clear()
        response = await browser.post_json("session", content % token if "%s" in content else content)

        assert response.status_code == status
        assert isinstance(json.loads(response.text), dict)
        assert seen == []
