from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from asgi_token_rotation import ConfigurationError, Credentials, Field, Pages
from asgi_token_rotation.types import Dialect
from endpoints.browser import SCRIPT, Browser, authorize, browsing, middleware

EVIL = "\"><script>alert('x')</script>"


class Document(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


async def page(browser: Browser, path: str, **params: str) -> Document:
    response = await browser.get(f"/api/auth/{path}", params=params)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return Document(response.text)


async def test_sign_in_form() -> None:
    """The sign-in page has a form per Credentials provider, made from its fields, each with a label."""
    fields = {
        "mail": Field(label="E-mail & more", type="email", placeholder="you@example.com", autocomplete="email"),
        "kind": Field(label="", type="hidden"),
        EVIL: Field(label=EVIL, placeholder=EVIL),
    }
    providers = [
        Credentials(authorize=authorize),
        Credentials(authorize=authorize, fields=fields, id="other", name=EVIL),
    ]
    async with browsing(providers=providers) as browser:
        document = await page(browser, "signin", callbackUrl="/a?b=1&c=2")

        assert [form["action"] for form in document.all("form")] == [
            "/api/auth/callback/credentials",
            "/api/auth/callback/other",
        ]
        assert {form["method"] for form in document.all("form")} == {"post"}
        inputs = document.all("input")
        assert inputs[0] == {"type": "hidden", "name": "csrfToken", "value": await browser.csrf()}
        assert inputs[1] == {"type": "hidden", "name": "callbackUrl", "value": "http://testserver/a?b=1&c=2"}
        assert inputs[2] == {"type": "text", "name": "username", "autocomplete": "username"}
        assert inputs[3] == {"type": "password", "name": "password", "autocomplete": "current-password"}
        assert inputs[6] == {"type": "email", "name": "mail", "placeholder": "you@example.com", "autocomplete": "email"}
        assert inputs[7] == {"type": "hidden", "name": "kind"}
        assert inputs[8] == {"type": "text", "name": EVIL, "placeholder": EVIL}
        assert "E-mail & more" in document.words
        assert "Sign in with Credentials" in document.words
        assert len(document.all("label")) == 4
        assert document.all("script") == []


async def test_form_works_as_it_stands() -> None:
    """Sent as it stands, without JavaScript, the sign-in page's form signs in."""
    async with browsing() as browser:
        document = await page(browser, "signin/credentials", callbackUrl="/wanted")
        filled = {str(field["name"]): field.get("value") for field in document.all("input")}
        filled |= {"username": "alice", "password": "right"}
        response = await browser.client.post(str(document.all("form")[0]["action"]), data=filled)

        assert (response.status_code, response.headers["location"]) == (302, "http://testserver/wanted")
        assert (await browser.session())["user"]["name"] == "Alice"


async def test_path_of_the_site() -> None:
    """Behind a path the forms go to that path, on whatever host the visitor sees."""
    async with browsing(public_url="https://example.com/app") as browser:
        document = await page(browser, "signin")

        assert document.all("form")[0]["action"] == "/app/api/auth/callback/credentials"
        assert "to example.com" in document.words
        assert "Sign in with" not in document.words


async def test_no_provider() -> None:
    """Without providers the sign-in page says so."""
    async with browsing(providers=[]) as browser:
        assert "No way to sign in" in (await page(browser, "signin")).words


@pytest.mark.parametrize("path", ["signin", "signout", "error"])
async def test_policy(path: str) -> None:
    """The pages allow no script, no frame and no foreign form target, and their one style by its hash."""
    async with browsing(
        trusted_origins=["https://trusted.example"], public_url=["http://testserver", "https://b.example"]
    ) as browser:
        response = await browser.get(f"/api/auth/{path}")
        policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
        style = re.findall("<style>(.*?)</style>", response.text, re.DOTALL)

        assert policy == {
            "default-src": "'none'",
            "style-src": f"'sha256-{b64encode(sha256(style[0].encode()).digest()).decode()}'",
            "form-action": "'self' http://testserver https://b.example https://trusted.example",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
        }
        assert len(style) == 1
        assert " style=" not in response.text
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["referrer-policy"] == "same-origin"
        assert response.headers["cache-control"] == "private, no-store"
        assert response.headers["vary"] == "Cookie"


@pytest.mark.parametrize("path", ["signin", "signout", "error"])
@pytest.mark.parametrize("evil", [EVIL, "<img src=x onerror=alert(1)>", "javascript:alert(1)", "x" * 100])
async def test_nothing_is_echoed(path: str, evil: str) -> None:
    """No parameter of the query appears on a page."""
    async with browsing() as browser:
        response = await browser.get(
            f"/api/auth/{path}", params={"error": evil, "callbackUrl": evil, "code": evil, "csrf": evil}
        )

        assert response.status_code == 200
        assert evil not in response.text
        assert "alert(1)" not in response.text


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("CredentialsSignin", "Check what you entered"),
        ("MissingCSRF", "cookies are blocked"),
        ("SessionRequired", "Please sign in"),
        ("SomethingElse", "The sign-in failed. Please try again."),
    ],
)
async def test_sentences(code: str, sentence: str) -> None:
    """The sign-in page tells why it failed, in a sentence that screen readers announce."""
    async with browsing() as browser:
        document = await page(browser, "signin", error=code)

        assert sentence in document.words
        assert code not in document.words
        assert [p for p in document.all("p") if p.get("role") == "alert"]
        assert not [p for p in (await page(browser, "signin")).all("p") if p.get("role") == "alert"]


@pytest.mark.parametrize("path", ["signin", "signout"])
async def test_v4_csrf(path: str) -> None:
    """v4's csrf=true is told in a sentence, too."""
    async with browsing(dialect="nextauth-v4") as browser:
        assert "cookies are blocked" in (await page(browser, path, csrf="true")).words


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDenied", 403),
        ("Verification", 403),
        ("Configuration", 400),
        ("configuration", 400),
        ("Other", 200),
        ("", 200),
    ],
)
@pytest.mark.parametrize("dialect", ["authjs", "nextauth-v4"])
async def test_error_page(dialect: Dialect, code: str, status: int) -> None:
    """I10: the error page's status goes by the code, and no code that a client sends gives a 500."""
    async with browsing(dialect=dialect) as browser:
        response = await browser.get("/api/auth/error", params={"error": code})

        assert response.status_code == status
        assert '<a href="/api/auth/signin">' in response.text


async def test_v4_tells_at_the_sign_in_page() -> None:
    """v4 sends failed sign-ins from the error page on to the sign-in page, v5 does not."""
    async with browsing() as v5, browsing(dialect="nextauth-v4", pages=Pages(error="/oops")) as v4:
        in_v4 = await v4.get("/api/auth/error", params={"error": "CredentialsSignin", "provider": "credentials"})
        in_v5 = await v5.get("/api/auth/error", params={"error": "CredentialsSignin"})

        assert in_v4.headers["location"] == "http://testserver/api/auth/signin?error=CredentialsSignin"
        assert in_v5.status_code == 200


@pytest.mark.parametrize("dialect", ["authjs", "nextauth-v4"])
async def test_own_pages(dialect: Dialect) -> None:
    """Pages of the application's own get what they need in the query, and nothing that is no code."""
    pages = Pages(sign_in="https://login.example/?x=1", error="/oops")
    async with browsing(dialect=dialect, pages=pages, trusted_origins=["https://login.example"]) as browser:

        async def location(path: str, **params: Any) -> str:
            response = await browser.get(f"/api/auth/{path}", params=params)
            assert response.status_code == 302
            return response.headers["location"]

        way_back = "callbackUrl=http%3A%2F%2Ftestserver%2Fa"
        assert await location("signin", callbackUrl="/a") == f"https://login.example/?x=1&{way_back}"
        assert (
            await location("signin/credentials", error="Signin")
            == f"https://login.example/?x=1&{way_back}&error=Signin"
        )
        assert await location("error", error="Configuration") == "http://testserver/oops?error=Configuration"
        assert await location("error", error="a\r\nb") == "http://testserver/oops"


async def test_v5_failures_lead_to_the_own_page() -> None:
    """In v5 a form that failed its CSRF check leads to the application's own sign-in page; in v4 by way of ours."""
    async with (
        browsing(pages=Pages(sign_in="/login")) as v5,
        browsing(dialect="nextauth-v4", pages=Pages(sign_in="/login")) as v4,
    ):
        in_v5 = await v5.client.post("/api/auth/signout", headers=SCRIPT)
        in_v4 = await v4.client.post("/api/auth/signin", headers=SCRIPT)

        assert in_v5.json() == {"url": "http://testserver/login?error=MissingCSRF"}
        assert in_v4.json() == {"url": "http://testserver/api/auth/signin?csrf=true"}


@pytest.mark.parametrize(
    ("pages", "sentence"),
    [
        (Pages(sign_in="https://login.example/"), "Add its origin to trusted_origins"),
        (Pages(error="https://a@testserver/"), "Add its origin to trusted_origins"),
        (Pages(sign_in="/api/auth/signin"), "would redirect to itself"),
        (Pages(sign_out="/api/auth/signout?a"), "would redirect to itself"),
        (Pages(error="/api/auth/error"), "would redirect to itself"),
    ],
)
def test_pages_are_checked(pages: Pages, sentence: str) -> None:
    """I12: pages on an origin that is not trusted, and endless redirects, are refused at start-up with a sentence."""
    with pytest.raises(ConfigurationError, match=sentence):
        middleware(pages=pages)
