from __future__ import annotations

import logging

import pytest

from asgi_token_rotation import Callbacks, RedirectParams
from endpoints.browser import browsing, set_cookies

HOME = "http://testserver/"

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "ht\ntp://evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "http:testserver",
    "https://evil.example",
    "http://testserver.evil.example",
    "http://evil.example/http://testserver",
    "http://testserver@evil.example",
    "http://testserver:80@evil.example",
    "http://user:password@testserver/",
    "http://evil.example\\@testserver",
    "http://testserver:9000/",
    "http://testserver:port/",
    "http://[::1",
    "http://tests\u0435rver/",
    "http://evil\u3002example/",
    "javascript:alert(1)",
    "JavaScript://testserver/%0aalert(1)",
    "data:text/html,x",
    "vbscript:x",
    "blob:http://testserver/x",
    "relative/path",
    "?a=b",
    "#a",
    "",
    "/" + "a" * 2048,
    "/" + "é" * 1000,
]


@pytest.mark.parametrize("url", ELSEWHERE)
@pytest.mark.parametrize("place", ["body", "query", "cookie"])
async def test_leads_nowhere_else(url: str, place: str) -> None:
    """I12: a callbackUrl of another origin, or one that browsers could read so, leads home, wherever it was named."""
    async with browsing() as browser:
        if place == "body":
            response = await browser.sign_in(callbackUrl=url)
        elif place == "query":
            params = {"callbackUrl": url}
            token = await browser.csrf()
            response = await browser.client.post(
                "/api/auth/signout", params=params, data={"csrfToken": token, "json": "true"}
            )
        else:
            response = await browser.get("/api/auth/csrf", headers={"cookie": f"authjs.callback-url={_escaped(url)}"})
            assert set_cookies(response)["authjs.callback-url"].startswith(
                "authjs.callback-url=http%3A%2F%2Ftestserver%2F;"
            )
            return

        assert response.json() == {"url": HOME}


def _escaped(url: str) -> str:
    return "".join(f"%{octet:02X}" for octet in url.encode())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/", "http://testserver/"),
        ("/a/b?c=d&e=%2F#f", "http://testserver/a/b?c=d&e=%2F#f"),
        ("/a b".replace(" ", "%20"), "http://testserver/a%20b"),
        ("/é", "http://testserver/%C3%A9"),
        ("http://testserver", "http://testserver"),
        ("http://testserver/a", "http://testserver/a"),
        ("https://trusted.example/a", "https://trusted.example/a"),
        ("/a?next=//evil.example", "http://testserver/a?next=//evil.example"),
    ],
)
async def test_leads_to_our_own(url: str, expected: str) -> None:
    """I12: a path, our own origin and a trusted one are gone to, as absolute URLs, by scripts and by forms."""
    async with browsing(trusted_origins=["https://trusted.example"]) as browser:
        by_script = await browser.sign_in(callbackUrl=url)
        by_form = await browser.post("signout", script=False, callbackUrl=url)

        assert by_script.json() == {"url": expected}
        assert (by_form.status_code, by_form.headers["location"]) == (302, expected)


async def test_order() -> None:
    """The body's callbackUrl counts before the query's, and that before the cookie's."""
    async with browsing() as browser:
        await browser.get("/api/auth/signin", params={"callbackUrl": "/cookie"})
        token = await browser.csrf()
        form = {"csrfToken": token, "json": "true"}

        async def answered(**fields: str) -> str:
            query = {"callbackUrl": fields.pop("query")} if "query" in fields else {}
            return str(
                (await browser.client.post("/api/auth/signout", params=query, data={**form, **fields})).json()["url"]
            )

        assert await answered() == "http://testserver/cookie"
        assert await answered(query="/query", callbackUrl="/body") == "http://testserver/body"
        assert await answered(query="/query", callbackUrl="") == "http://testserver/query"
        assert await answered() == "http://testserver/query"


async def test_cookie_is_written_when_it_changes() -> None:
    """The callback URL is kept in its cookie, which is written only when another one is named."""
    async with browsing() as browser:
        first = await browser.get("/api/auth/signin", params={"callbackUrl": "/a"})
        second = await browser.get("/api/auth/signin", params={"callbackUrl": "/a"})

        assert "http%3A%2F%2Ftestserver%2Fa;" in set_cookies(first)["authjs.callback-url"]
        assert set_cookies(second) == {}


async def test_poisoned_cookie_breaks_nothing() -> None:
    """A callback-url cookie that leads away counts as absent: in Auth.js it breaks every GET session."""
    async with browsing(callbacks=Callbacks(redirect=lambda _: "/from-callback")) as browser:
        response = await browser.get(
            "/api/auth/session", headers={"cookie": "authjs.callback-url=javascript%3Aalert(1)"}
        )

        assert response.status_code == 200
        assert "testserver%2F;" in set_cookies(response)["authjs.callback-url"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("/welcome", "http://testserver/welcome"),
        ("https://trusted.example/x", "https://trusted.example/x"),
        ("https://evil.example/x", HOME),
        ("//evil.example", HOME),
        ("javascript:alert(1)", HOME),
        (None, HOME),
        (5, HOME),
    ],
)
async def test_redirect_callback_is_held(answer: object, expected: str) -> None:
    """I12: whatever the redirect callback answers is held to our own and trusted origins."""
    seen: list[RedirectParams] = []

    async def redirect(params: RedirectParams) -> object:
        seen.append(params)
        return answer

    async with browsing(callbacks=Callbacks(redirect=redirect), trusted_origins=["https://trusted.example"]) as browser:  # type: ignore[arg-type]
        assert (await browser.sign_in(callbackUrl="myapp://deep")).json() == {"url": expected}
        assert seen[-1] == RedirectParams(url="myapp://deep", base_url="http://testserver")


async def test_redirect_callback_fails(caplog: pytest.LogCaptureFixture) -> None:
    """I10: a redirect callback that breaks on what a client sent leads home; its message is not logged."""

    def redirect(params: RedirectParams) -> str:
        raise ValueError(f"odd: {params.url}")

    async with browsing(callbacks=Callbacks(redirect=redirect)) as browser:
        with caplog.at_level(logging.ERROR, "asgi_token_rotation"):
            assert (await browser.sign_in(callbackUrl="/a?token=hunter2")).json() == {"url": HOME}

    assert "The redirect callback failed: ValueError" in caplog.text
    assert "hunter2" not in caplog.text


async def test_foreign_host() -> None:
    """I12: URLs are built from public_url, and never from the Host that a client sends."""
    async with browsing(public_url="https://example.com/app", headers={"host": "evil.example"}) as browser:
        providers = (await browser.get("/api/auth/providers")).json()
        signed_out = await browser.get("/api/auth/signin", params={"callbackUrl": "http://evil.example/"})

        assert providers["credentials"]["signinUrl"] == "https://example.com/app/api/auth/signin/credentials"
        assert providers["credentials"]["callbackUrl"] == "https://example.com/app/api/auth/callback/credentials"
        assert "https%3A%2F%2Fexample.com%2Fapp;" in set_cookies(signed_out)["__Secure-authjs.callback-url"]
        assert "evil" not in signed_out.text
