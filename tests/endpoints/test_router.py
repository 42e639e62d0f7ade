from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from asgi_token_rotation.types import Dialect, Message
from endpoints.browser import ALICE, SCRIPT, browsing, run, scope_of, set_cookies

UNKNOWN = [
    "",
    "/",
    "/unknown",
    "/session/extra",
    "/csrf/x",
    "//session",
    "/callback",
    "/signin/a/b",
    "/Session",
    "/verify-request",
]


def status(sent: list[Message]) -> int:
    return int(sent[0]["status"])


@pytest.mark.parametrize("path", UNKNOWN)
async def test_unknown_actions(path: str) -> None:
    """What is no endpoint under base_path is a 400 in the dialect's words, and never the application's."""
    async with browsing() as v5, browsing(dialect="nextauth-v4") as v4:
        in_v5, in_v4 = await v5.get(f"/api/auth{path}"), await v4.get(f"/api/auth{path}")

        assert (in_v5.status_code, in_v5.json()) == (400, "Bad request.")
        assert (in_v4.status_code, in_v4.text) == (
            400,
            "Error: This action with HTTP GET is not supported by NextAuth.js",
        )
        assert set_cookies(in_v5) == set_cookies(in_v4) == {}


@pytest.mark.parametrize(
    "action", ["session", "csrf", "providers", "signin", "signout", "error", "callback/credentials"]
)
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "BREW"])
async def test_other_methods(action: str, method: str) -> None:
    """Other methods are a 400 as with NextAuth, to HEAD without a body."""
    async with browsing() as browser:
        response = await browser.request(method, f"/api/auth/{action}")

        assert response.status_code == 400
        assert response.content == (b"" if method == "HEAD" else b'"Bad request."')
        assert response.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize("action", ["csrf", "providers", "error"])
async def test_post_where_only_get_is(action: str) -> None:
    """A POST to what can only be read is a 400."""
    async with browsing() as browser:
        assert (await browser.post(action)).status_code == 400


@pytest.mark.parametrize("path", ["/", "/api", "/api/authentic", "/api/auth2/session", "/other/api/auth/session"])
async def test_what_is_the_applications(path: str) -> None:
    """Any path that is not under base_path reaches the application."""
    async with browsing() as browser:
        assert (await browser.get(path)).json()["path"] == path


async def test_trailing_slash_and_other_base_path() -> None:
    """A slash at the end changes nothing, and base_path is where the option says."""
    async with browsing(base_path="/auth") as browser:
        assert (await browser.get("/auth/session/")).text == "null"
        assert (await browser.get("/api/auth/session")).json()["path"] == "/api/auth/session"


@pytest.mark.parametrize(
    ("root", "path", "ours"),
    [
        ("/app", "/app/api/auth/session", True),
        ("/app/", "/app/api/auth/session", True),
        ("/app", "/api/auth/session", True),
        ("/app", "/application/api/auth/session", False),
        ("", "/app/api/auth/session", False),
        ("/api/auth", "/api/auth", False),
    ],
)
async def test_root_path(root: str, path: str, ours: bool) -> None:
    """The path is taken relative to root_path, whether the server left that in it or not (as Starlette has it)."""
    sent = await run(scope_of(path, root_path=root, state={}))

    assert (sent[-1]["body"] == b"null") is ours


async def test_urls_behind_a_root_path() -> None:
    """Without public_url the URLs of a loopback host carry its root_path."""
    sent = await run(scope_of("/app/api/auth/providers", root_path="/app"))

    assert (
        json.loads(sent[-1]["body"])["credentials"]["signinUrl"] == "http://testserver/app/api/auth/signin/credentials"
    )


async def test_websockets_are_the_applications() -> None:
    """A WebSocket under base_path is no endpoint's."""
    sent: list[Message] = []
    scope = {**scope_of("/api/auth/session"), "type": "websocket"}
    sent = await run(scope)

    assert json.loads(sent[-1]["body"])["path"] == "/api/auth/session"


CROSS = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://testserver.evil.example"},
    {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("headers", CROSS)
@pytest.mark.parametrize("action", ["session", "signin", "signin/credentials", "callback/credentials", "signout"])
async def test_cross_origin(action: str, headers: dict[str, str]) -> None:
    """I11: an unsafe request from another origin does nothing, even with a good CSRF token: 403, and no cookie."""
    async with browsing() as browser:
        await browser.sign_in()
        form = {"csrfToken": await browser.csrf(), **ALICE, "callbackUrl": "/other"}
        response = await browser.client.post(f"/api/auth/{action}", data=form, headers={**SCRIPT, **headers})

        assert (response.status_code, response.json()["error"]) == (403, "CrossOrigin")
        assert set_cookies(response) == {}
        assert "vary" in response.headers
        assert (await browser.session())["user"]["name"] == "Alice"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://testserver"},
        {"origin": "http://testserver", "sec-fetch-site": "same-origin"},
        {"origin": "https://trusted.example", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
async def test_own_and_trusted_origins(headers: dict[str, str]) -> None:
    """Our own pages, trusted origins and clients that are no browsers may sign in."""
    async with browsing(trusted_origins=["https://trusted.example"]) as browser:
        form = {"csrfToken": await browser.csrf(), **ALICE}
        response = await browser.client.post("/api/auth/callback/credentials", data=form, headers={**SCRIPT, **headers})

        assert response.status_code == 200


async def test_reading_from_another_origin() -> None:
    """A read from another origin is answered, since it changes nothing, and without a word that lets a page see it."""
    async with browsing() as browser:
        response = await browser.get("/api/auth/session", headers={"origin": "https://evil.example"})

        assert response.status_code == 200
        assert "access-control-allow-origin" not in response.headers


async def test_unknown_site(caplog: pytest.LogCaptureFixture) -> None:
    """I12: without public_url, on a host that is not loopback, only reads that build no URL work; the rest is a 400."""
    with caplog.at_level(logging.WARNING, "asgi_token_rotation"):
        async with browsing(at="http://example.com") as browser:
            session = await browser.get("/api/auth/session")
            token = await browser.get("/api/auth/csrf")
            form = {"csrfToken": token.json()["csrfToken"], **ALICE}
            refused = [
                await browser.get(f"/api/auth/{action}")
                for action in ("providers", "signin", "signout", "error", "callback/a")
            ]
            refused += [
                await browser.client.post(f"/api/auth/{action}", data=form)
                for action in ("session", "signout", "callback/credentials")
            ]

    assert (session.status_code, session.text) == (200, "null")
    assert list(set_cookies(session)) == ["authjs.csrf-token"]
    assert set_cookies(token) == {}
    for response in refused:
        assert (response.status_code, response.json()["error"]) == (400, "UnknownSite")
        assert "Set public_url" in response.json()["message"]
        assert set_cookies(response) == {}
    assert caplog.text.count("there is no public_url") == 1


@pytest.mark.parametrize(("dialect", "expected"), [("nextauth-v4", 200), ("authjs", 400)])
async def test_log_beacon(dialect: Dialect, expected: int, caplog: pytest.LogCaptureFixture) -> None:
    """v4's client may post its errors, of which nothing is kept: anybody could write there."""
    async with browsing(dialect=dialect) as browser:
        response = await browser.client.post("/api/auth/_log", data={"level": "error", "message": "forged"})

        assert response.status_code == expected
        assert "forged" not in caplog.text


async def test_client_goes_away() -> None:
    """A client that goes away in the middle of its body is not answered, and nothing is raised."""
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    sent = await run(
        scope_of("/api/auth/signout", method="POST", headers=headers),
        {"type": "http.request", "body": b"csrf", "more_body": True},
        {"type": "http.disconnect"},
    )

    assert sent == []


ODD: list[tuple[str, dict[str, Any]]] = [
    ("/api/auth/\udcff", {}),
    ("/api/auth/signin/\x00", {}),
    ("/api/auth/signin", {"query_string": b"callbackUrl=%00%ff&error=%0d%0a"}),
    ("/api/auth/signin", {"query_string": b"\xff\xfe" * 100}),
    (
        "/api/auth/session",
        {"headers": [(b"cookie", b"authjs.session-token=\xff; authjs.csrf-token=%FF%ZZ; authjs.callback-url=%E0")]},
    ),
    ("/api/auth/session", {"headers": [(b"cookie", b"authjs.callback-url=" + b"%2Fa" * 3000)]}),
    ("/api/auth/csrf", {"headers": [(b"Cookie", b"=;;;"), (b"COOKIE", b"authjs.csrf-token=a%7Cb")]}),
    ("/api/auth/session", {"query_string": b"&" * 8000}),
]


@pytest.mark.parametrize(("path", "more"), ODD)
@pytest.mark.parametrize("dialect", ["authjs", "nextauth-v4"])
async def test_odd_requests(path: str, more: dict[str, Any], dialect: Dialect) -> None:
    """I10: no path, query or cookie that a client sends gives a 500."""
    assert status(await run(scope_of(path, **more), dialect=dialect)) < 500


@pytest.mark.parametrize("dialect", ["authjs", "nextauth-v4"])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (b"application/x-www-form-urlencoded", b"csrfToken=%ED%A0%80"),
        (b"application/x-www-form-urlencoded", b"csrfToken=a&callbackUrl=%00&json=true"),
        (b"application/json", b'{"csrfToken": {"a": [1]}, "callbackUrl": [], "json": {}}'),
        (b"application/json", rb'{"csrfToken": "\ud800"}'),
        (b"multipart/form-data", b"--x"),
        (b"", b"x"),
        (b"\xff", b"x"),
    ],
)
@pytest.mark.parametrize("action", ["session", "signin/credentials", "callback/credentials", "signout"])
async def test_odd_bodies(dialect: Dialect, action: str, content_type: bytes, body: bytes) -> None:
    """I10: no body that a client sends gives a 500, and each is answered in one of our forms."""
    scope = scope_of(f"/api/auth/{action}", method="POST", headers=[(b"content-type", content_type)])
    sent = await run(scope, {"type": "http.request", "body": body}, dialect=dialect)

    assert status(sent) in (200, 302, 400, 415)


async def test_tolerant_reading_of_the_scope() -> None:
    """A scope without state, scheme, root_path or query (daphne, test transports) is read all the same."""
    scope = scope_of("/api/auth/providers")
    for name in ("scheme", "query_string"):
        del scope[name]

    assert status(await run(scope)) == 200
