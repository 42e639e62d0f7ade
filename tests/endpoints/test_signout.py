from __future__ import annotations

import pytest

from asgi_token_rotation import Event, Events, Pages
from asgi_token_rotation.types import Dialect
from endpoints.browser import SECRET, browsing, set_cookies

NAMES = {"authjs": "authjs.session-token", "nextauth-v4": "next-auth.session-token"}


@pytest.mark.parametrize("dialect", ["authjs", "nextauth-v4"])
@pytest.mark.parametrize("script", [True, False])
async def test_signs_out(dialect: Dialect, script: bool) -> None:
    """POST signout ends the session, clears its cookie, tells the application, and leads on."""
    events: list[Event] = []
    async with browsing(dialect=dialect, events=Events(sign_out=events.append)) as browser:
        await browser.sign_in()
        response = await browser.post("signout", script=script, callbackUrl="/bye")

        if script:
            assert (response.status_code, response.json()) == (200, {"url": "http://testserver/bye"})
        else:
            assert (response.status_code, response.headers["location"]) == (302, "http://testserver/bye")
        assert "Max-Age=0" in set_cookies(response)[NAMES[dialect]]
        assert [event.token["name"] for event in events] == ["Alice"]
        assert await browser.session() in (None, {})


async def test_nobody_signs_out() -> None:
    """Without a session POST signout answers the same, clears nothing and tells nobody."""
    events: list[Event] = []
    async with browsing(events=Events(sign_out=events.append)) as browser:
        response = await browser.post("signout")

        assert response.json() == {"url": "http://testserver/"}
        assert set_cookies(response) == {}
        assert events == []


async def test_cookie_that_cannot_be_opened() -> None:
    """POST signout clears a cookie that can't be opened: the visitor wants to be rid of it."""
    async with browsing() as browser:
        browser.client.cookies.set("authjs.session-token", "nonsense")
        response = await browser.post("signout")

        assert list(set_cookies(response)) == ["authjs.session-token"]


async def test_page() -> None:
    """GET signout signs nobody out: it shows one button, with the CSRF token and the way back."""
    async with browsing() as browser:
        await browser.sign_in()
        response = await browser.get("/api/auth/signout", params={"callbackUrl": "/back?a=1&b=2"})

        assert response.status_code == 200
        assert '<form method="post" action="/api/auth/signout">' in response.text
        assert f'name="csrfToken" value="{await browser.csrf()}"' in response.text
        assert '<a href="http://testserver/back?a=1&amp;b=2">' in response.text
        assert (await browser.session())["user"]["name"] == "Alice"


async def test_own_page() -> None:
    """GET signout redirects to the application's own page."""
    async with browsing(pages=Pages(sign_out="/bye")) as browser:
        response = await browser.get("/api/auth/signout")

        assert (response.status_code, response.headers["location"]) == (302, "http://testserver/bye")


async def test_older_secret() -> None:
    """A form that was opened before a new secret came in front still signs out."""
    async with browsing() as old, browsing(secret=["a-new-secret-of-forty-characters-01234567", SECRET]) as new:
        token = await old.csrf()
        new.client.cookies = old.client.cookies
        response = await new.client.post("/api/auth/signout", data={"csrfToken": token})

        assert response.headers["location"] == "http://testserver/"
