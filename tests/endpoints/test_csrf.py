from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from asgi_token_rotation import CookieOptions
from asgi_token_rotation._endpoints.csrf import Csrf, submitted
from asgi_token_rotation._endpoints.side_cookies import side_cookies_for
from asgi_token_rotation.types import Dialect
from endpoints.browser import ALICE, SCRIPT, SECRET, browsing, set_cookies

VECTORS = Path(__file__).parent.parent / "vectors"
OTHER = "another-secret-of-forty-characters-01234"


def recorded() -> list[dict[str, Any]]:
    files = [json.loads((VECTORS / f"authjs_{version}.json").read_text())[version] for version in ("v4", "v5")]
    return [vector for file in files for vector in file["csrf"]]


def value(token: str, secret: str) -> str:
    return f"{token}|{sha256((token + secret).encode()).hexdigest()}"


@pytest.mark.parametrize("vector", recorded())
def test_auth_js_cookies(vector: dict[str, Any]) -> None:
    """CSRF cookies made by the real Auth.js are known, also under an older secret, where Auth.js voids them."""
    secrets = [vector["secret"]] if isinstance(vector["secret"], str) else vector["secret"]

    assert Csrf(secrets).known(vector["cookie_value"]) == vector["csrf_token"]
    assert Csrf([OTHER]).known(vector["cookie_value"]) is None


def test_several_secrets() -> None:
    """A cookie counts under any single secret and under Auth.js's comma-joined form; new ones are the newest secret's."""
    csrf, token = Csrf([OTHER, SECRET]), "ab" * 32

    for secret in (OTHER, SECRET, f"{OTHER},{SECRET}"):
        assert csrf.known(value(token, secret)) == token
    assert csrf.known(value(token, f"{SECRET},{OTHER}")) is None
    assert csrf.cookie(token) == value(token, OTHER)


@pytest.mark.parametrize(
    "cookie",
    [
        None,
        "",
        "|",
        "a|b",
        "ab" * 32,
        value("", SECRET),
        value("AB" * 32, SECRET),
        value("ab" * 32, SECRET) + "0",
        value("é" * 64, SECRET),
    ],
)
def test_what_is_no_cookie_of_ours(cookie: str | None) -> None:
    """A cookie that is missing, damaged, or that we would not have written is not known."""
    assert Csrf([SECRET]).known(cookie) is None


@pytest.mark.parametrize("field", [None, "", "é", 1, ["ab" * 32], "AB" * 32])
def test_wrong_field(field: object) -> None:
    """A body's token of another kind or value does not count, and raises nothing."""
    assert not submitted("ab" * 32, field)
    assert not submitted(None, field)


def test_every_token_is_new() -> None:
    """Tokens are 64 hex digits at random."""
    tokens = {Csrf([SECRET]).new() for _ in range(10)}

    assert len(tokens) == 10
    assert all(len(bytes.fromhex(token)) == 32 for token in tokens)


@pytest.mark.parametrize(
    ("dialect", "secure", "options", "csrf", "callback_url"),
    [
        ("authjs", False, CookieOptions(), "authjs.csrf-token", "authjs.callback-url"),
        ("authjs", True, CookieOptions(), "__Host-authjs.csrf-token", "__Secure-authjs.callback-url"),
        ("nextauth-v4", False, CookieOptions(), "next-auth.csrf-token", "next-auth.callback-url"),
        ("nextauth-v4", True, CookieOptions(), "__Host-next-auth.csrf-token", "__Secure-next-auth.callback-url"),
        (
            "authjs",
            True,
            CookieOptions(domain="example.com"),
            "__Secure-authjs.csrf-token",
            "__Secure-authjs.callback-url",
        ),
        ("authjs", True, CookieOptions(path="/app"), "__Secure-authjs.csrf-token", "__Secure-authjs.callback-url"),
        ("authjs", True, CookieOptions(secure=False), "authjs.csrf-token", "authjs.callback-url"),
        ("authjs", False, CookieOptions(secure=True), "__Host-authjs.csrf-token", "__Secure-authjs.callback-url"),
    ],
)
def test_names(dialect: Dialect, secure: bool, options: CookieOptions, csrf: str, callback_url: str) -> None:
    """The small cookies have the dialect's names, and prefixes that browsers accept with their domain and path."""
    cookies = side_cookies_for(options, dialect=dialect, secure=secure)

    assert (cookies.csrf.name.decode(), cookies.callback_url.name.decode()) == (csrf, callback_url)


@pytest.mark.parametrize(
    ("options", "secure", "expected"),
    [
        (CookieOptions(), False, "Path=/; HttpOnly; SameSite=Lax"),
        (CookieOptions(), True, "Path=/; HttpOnly; Secure; SameSite=Lax"),
        (CookieOptions(same_site="strict"), True, "Path=/; HttpOnly; Secure; SameSite=Lax"),
        (CookieOptions(same_site="none"), True, "Path=/; HttpOnly; Secure; SameSite=None"),
        (CookieOptions(same_site="none"), False, "Path=/; HttpOnly; SameSite=Lax"),
        (
            CookieOptions(domain="example.com", path="/a"),
            True,
            "Domain=example.com; Path=/a; HttpOnly; Secure; SameSite=Lax",
        ),
    ],
)
def test_attributes(options: CookieOptions, secure: bool, expected: str) -> None:
    """The small cookies last until the browser closes, with the session cookie's domain and path."""
    line = side_cookies_for(options, dialect="authjs", secure=secure).callback_url.line("http://a/")

    assert line is not None
    assert line.decode().partition("; ")[2] == expected


def test_cookie_that_does_not_fit() -> None:
    """A callback URL that grows beyond a cookie by its encoding is left out, and raises nothing."""
    assert (
        side_cookies_for(CookieOptions(), dialect="authjs", secure=True).callback_url.line("https://a/" + "%" * 2000)
        is None
    )


@pytest.mark.parametrize("action", ["csrf", "session", "signin", "signout"])
async def test_issued_once(action: str) -> None:
    """GET csrf, session, signin and signout issue a CSRF cookie where there is none that is valid, and leave a valid one."""
    async with browsing() as browser:
        first = await browser.get(f"/api/auth/{action}")
        second = await browser.get(f"/api/auth/{action}")

        assert "authjs.csrf-token" in set_cookies(first)
        assert set_cookies(second) == {}


async def test_damaged_cookie_is_replaced() -> None:
    """A CSRF cookie that does not verify is replaced, and its token is not given out."""
    async with browsing(headers={"cookie": f"authjs.csrf-token={value('ab' * 32, OTHER)}"}) as browser:
        response = await browser.get("/api/auth/csrf")

        assert response.json()["csrfToken"] != "ab" * 32
        assert "authjs.csrf-token" in set_cookies(response)


async def test_unescaped_cookie() -> None:
    """A CSRF cookie whose bar arrives unescaped counts, as with Auth.js."""
    async with browsing(headers={"cookie": f"authjs.csrf-token={value('ab' * 32, SECRET)}"}) as browser:
        assert (await browser.get("/api/auth/csrf")).json() == {"csrfToken": "ab" * 32}


async def test_token_answer() -> None:
    """GET csrf is never cached, and its token fits the cookie that came with it."""
    async with browsing() as browser:
        response = await browser.get("/api/auth/csrf", headers={"content-type": "application/json"})

        assert response.headers["content-type"] == "application/json"
        assert response.headers["cache-control"] == "private, no-cache, no-store"
        assert (response.headers["pragma"], response.headers["expires"], response.headers["vary"]) == (
            "no-cache",
            "0",
            "Cookie",
        )
        assert response.json()["csrfToken"] + "%7C" in set_cookies(response)["authjs.csrf-token"]


@pytest.mark.parametrize(
    ("dialect", "action", "expected"),
    [
        ("authjs", "callback/credentials", "http://testserver/api/auth/signin?error=MissingCSRF"),
        ("authjs", "signin/credentials", "http://testserver/api/auth/signin?error=MissingCSRF"),
        ("authjs", "signout", "http://testserver/api/auth/signin?error=MissingCSRF"),
        ("nextauth-v4", "callback/credentials", "http://testserver/api/auth/signin?csrf=true"),
        ("nextauth-v4", "signin", "http://testserver/api/auth/signin?csrf=true"),
        ("nextauth-v4", "signout", "http://testserver/api/auth/signout?csrf=true"),
    ],
)
@pytest.mark.parametrize("token", [{}, {"csrfToken": "ab" * 32}])
async def test_bad_token(dialect: Dialect, action: str, expected: str, token: dict[str, str]) -> None:
    """A POST whose token is missing or not the cookie's does nothing, and leads on in the dialect's form."""
    async with browsing(dialect=dialect) as browser:
        await browser.sign_in()
        fields = {**ALICE, "callbackUrl": "/elsewhere", **token}
        by_script = await browser.client.post(f"/api/auth/{action}", data=fields, headers=SCRIPT)
        by_form = await browser.client.post(f"/api/auth/{action}", data=fields)

        assert (by_script.status_code, by_script.json()) == (200, {"url": expected})
        assert (by_form.status_code, by_form.headers["location"]) == (302, expected)
        assert set_cookies(by_script) == set_cookies(by_form) == {}
        assert (await browser.session())["user"]["name"] == "Alice"


async def test_token_of_a_get_counts_for_nothing() -> None:
    """A CSRF token in the query verifies nothing: only a POST's body does."""
    async with browsing() as browser:
        token = await browser.csrf()
        response = await browser.client.post(f"/api/auth/signout?csrfToken={token}", headers=SCRIPT)

        assert response.json()["url"].endswith("error=MissingCSRF")
