from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from asgi_token_rotation import (
    JWT,
    Callbacks,
    Credentials,
    CredentialsSignInError,
    Event,
    Events,
    JWTParams,
    Pages,
    Session,
    SessionParams,
    SignIn,
    SignInParams,
    TokenSet,
)
from asgi_token_rotation._endpoints.asked import Asked
from asgi_token_rotation._visit import Visit
from asgi_token_rotation.types import Dialect
from endpoints.browser import ALICE, SCRIPT, browsing, middleware, scope_of, set_cookies

BASE = "http://testserver/api/auth"
DIALECTS = ["authjs", "nextauth-v4"]
NAMES = {"authjs": "authjs.session-token", "nextauth-v4": "next-auth.session-token"}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("trigger", ["header", "field"])
async def test_signed_in_by_script(dialect: Dialect, trigger: str) -> None:
    """A good sign-in answers 200 with an absolute URL and sets the session cookie, by either dialect's way to ask for JSON."""
    async with browsing(dialect=dialect) as browser:
        fields: dict[str, str] = {"callbackUrl": "/dash", **({"json": "true"} if trigger == "field" else {})}
        response = await browser.post("callback/credentials?", script=trigger == "header", **ALICE, **fields)

        assert (response.status_code, response.json()) == (200, {"url": "http://testserver/dash"})
        assert NAMES[dialect] in set_cookies(response)
        assert response.headers.get_list("cache-control") == ["private, no-store"]
        assert response.headers.get_list("vary") == ["Cookie"]
        assert (await browser.session())["user"] == {"name": "Alice", "email": "a@example.com"}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_signed_in_by_form(dialect: Dialect) -> None:
    """Without JavaScript a good sign-in redirects with 302 to where the visitor wanted to go."""
    async with browsing(dialect=dialect) as browser:
        await browser.get("/api/auth/signin", params={"callbackUrl": "/wanted"})
        response = await browser.post("callback/credentials", script=False, **ALICE)

        assert (response.status_code, response.headers["location"]) == (302, "http://testserver/wanted")
        assert NAMES[dialect] in set_cookies(response)


async def test_signed_in_by_json() -> None:
    """A JSON body works as a form does, its booleans for redirect and json included."""
    async with browsing() as browser:
        content = {**ALICE, "csrfToken": await browser.csrf(), "redirect": False, "json": True, "callbackUrl": 5}
        response = await browser.post_json("callback/credentials", content)

        assert (response.status_code, response.json()) == (200, {"url": "http://testserver/"})


REFUSED = {
    "authjs": f"{BASE}/signin?error=CredentialsSignin&code=credentials",
    "nextauth-v4": f"{BASE}/error?error=CredentialsSignin&provider=credentials",
}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_wrong_password(dialect: Dialect) -> None:
    """Wrong credentials answer 401 to scripts in both dialects (Auth.js v5 says 200), 302 to forms, in the dialect's form."""
    async with browsing(dialect=dialect) as browser:
        by_script = await browser.sign_in(password="wrong")
        by_form = await browser.post("callback/credentials", script=False, username="alice", password="wrong")

        assert (by_script.status_code, by_script.json()) == (401, {"url": REFUSED[dialect]})
        assert (by_form.status_code, by_form.headers["location"]) == (302, REFUSED[dialect])
        assert NAMES[dialect] not in set_cookies(by_script) | set_cookies(by_form)
        assert await browser.session() in (None, {})


async def test_wrong_password_keeps_the_session() -> None:
    """A failed sign-in leaves the session that was there."""
    async with browsing() as browser:
        await browser.sign_in()
        await browser.sign_in(password="wrong")

        assert (await browser.session())["user"]["name"] == "Alice"


async def test_own_code() -> None:
    """A code of the application's own reaches the sign-in page, escaped; the message does not."""

    def refuses(_: Mapping[str, str]) -> SignIn:
        raise CredentialsSignInError("no such user hunter2", code="locked&x=1")

    async with browsing(providers=[Credentials(authorize=refuses)], pages=Pages(sign_in="/login?from=app")) as browser:
        response = await browser.sign_in()

        assert response.json() == {
            "url": "http://testserver/login?from=app&error=CredentialsSignin&code=locked%26x%3D1"
        }


@pytest.mark.parametrize(("dialect", "status"), [("authjs", 200), ("nextauth-v4", 401)])
async def test_authorize_fails(dialect: Dialect, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """An authorize that breaks answers error=Configuration, and its message, which may hold a password, goes nowhere."""

    def breaks(credentials: Mapping[str, str]) -> SignIn:
        raise RuntimeError(f"database is away for {credentials['password']}")

    async with browsing(dialect=dialect, providers=[Credentials(authorize=breaks)]) as browser:
        with caplog.at_level(logging.ERROR, "asgi_token_rotation"):
            by_script = await browser.sign_in(password="hunter2")
            by_form = await browser.post("callback/credentials", script=False, password="hunter2")

        assert (by_script.status_code, by_script.json()) == (status, {"url": f"{BASE}/error?error=Configuration"})
        assert (by_form.status_code, by_form.headers["location"]) == (302, f"{BASE}/error?error=Configuration")
        assert "authorize of the provider credentials failed: RuntimeError at " in caplog.text
        assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"id": 1}, "authorize answered a dict: expected a SignIn"),
        (SignIn(user=None), "The user of a sign-in is a NoneType: expected a mapping"),  # type: ignore[arg-type]
        (SignIn(user={}, tokens={"access_token": "a"}), "The tokens of a sign-in are a dict: expected a TokenSet"),  # type: ignore[arg-type]
    ],
)
async def test_authorize_answers_nonsense(answer: Any, sentence: str, caplog: pytest.LogCaptureFixture) -> None:
    """An authorize that answers no SignIn, or an ill-formed one, is told so in the log, in a sentence."""
    async with browsing(providers=[Credentials(authorize=lambda _: answer)]) as browser:
        assert "error=Configuration" in (await browser.sign_in()).json()["url"]

    assert sentence in caplog.text


async def test_credentials_are_strings_only() -> None:
    """Fields of a JSON sign-in that are no strings are refused with 400, so authorize gets what its type says."""
    seen: list[Mapping[str, str]] = []

    def sees(credentials: Mapping[str, str]) -> None:
        seen.append(credentials)

    async with browsing(providers=[Credentials(authorize=sees)]) as browser:
        token = await browser.csrf()
        refused = await browser.post_json("callback/credentials", {"csrfToken": token, "password": {"$ne": None}})
        await browser.sign_in(callbackUrl="/", redirect="false", json="true", redirectTo="/")

        assert (refused.status_code, refused.json()["error"]) == (400, "BadRequest")
        assert seen == [ALICE]


ACCOUNT = {
    "access_token": "access-1",
    "refresh_token": "refresh-1",
    "scope": "all",
    "token_type": "Bearer",
    "tenant": "blue",
    "provider": "credentials",
    "type": "credentials",
    "providerAccountId": "7",
}


async def test_what_callbacks_get() -> None:
    """The sign_in callback gets user, account and credentials, and the jwt callback the same account, in NextAuth's names."""
    asked: list[SignInParams] = []
    tokens: list[JWTParams] = []

    async def sign_in(params: SignInParams) -> bool:
        asked.append(params)
        return True

    def jwt(params: JWTParams) -> JWT:
        tokens.append(params)
        return params.token

    async with browsing(callbacks=Callbacks(sign_in=sign_in, jwt=jwt)) as browser:
        await browser.sign_in(callbackUrl="/a")

    user = {"id": 7, "name": "Alice", "email": "a@example.com"}
    assert asked == [SignInParams(user=user, account=ACCOUNT, profile=None, credentials=ALICE)]
    assert (tokens[0].trigger, tokens[0].user, tokens[0].account, tokens[0].is_new_user) == (
        "signIn",
        user,
        ACCOUNT,
        False,
    )


async def test_account_without_tokens() -> None:
    """A user without id and tokens has an account all the same, and tokens can't pose as another provider."""
    accounts: list[Any] = []

    def sign_in(params: SignInParams) -> bool:
        accounts.append(params.account)
        return False

    answers = iter([SignIn(user={}), SignIn(user={"id": "x"}, tokens=TokenSet("a", extra={"provider": "other"}))])
    async with browsing(
        providers=[Credentials(authorize=lambda _: next(answers))], callbacks=Callbacks(sign_in=sign_in)
    ) as browser:
        await browser.sign_in()
        await browser.sign_in()

    assert accounts[0] == {"provider": "credentials", "type": "credentials", "providerAccountId": None}
    assert (accounts[1]["provider"], accounts[1]["providerAccountId"]) == ("credentials", "x")


def _raises(_: SignInParams) -> bool:
    raise RuntimeError("hunter2")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("sign_in", [lambda _: False, lambda _: None, lambda _: "", _raises])
async def test_not_allowed(dialect: Dialect, sign_in: Any) -> None:
    """A sign_in callback that says no, or that breaks, lets nobody in: 403 to scripts, 302 to forms."""
    async with browsing(dialect=dialect, callbacks=Callbacks(sign_in=sign_in)) as browser:
        by_script = await browser.sign_in()
        by_form = await browser.post("callback/credentials", script=False, **ALICE)

        assert (by_script.status_code, by_script.json()) == (403, {"url": f"{BASE}/error?error=AccessDenied"})
        assert (by_form.status_code, by_form.headers["location"]) == (302, f"{BASE}/error?error=AccessDenied")
        assert NAMES[dialect] not in set_cookies(by_script) | set_cookies(by_form)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("/more", "http://testserver/more"),
        ("https://evil.example/", "http://testserver/"),
        ("http://testserver/x", "http://testserver/x"),
    ],
)
async def test_sent_elsewhere(answer: str, expected: str) -> None:
    """A sign_in callback that answers a URL sends the visitor there, by the redirect rule, without a session."""
    async with browsing(callbacks=Callbacks(sign_in=lambda _: answer)) as browser:
        response = await browser.sign_in(callbackUrl="/a")

        assert (response.status_code, response.json()) == (200, {"url": expected})
        assert "authjs.session-token" not in set_cookies(response)


async def test_jwt_callback_says_no() -> None:
    """A jwt callback that answers None at sign-in leaves nobody signed in, as in Auth.js v5."""
    async with browsing(callbacks=Callbacks(jwt=lambda _: None)) as browser:
        response = await browser.sign_in(callbackUrl="/a")

        assert (response.status_code, response.json()) == (200, {"url": "http://testserver/a"})
        assert await browser.session() is None


def _jwt_breaks(params: JWTParams) -> JWT:
    if params.trigger == "signIn":
        raise RuntimeError("hunter2")
    return params.token


def _too_large(params: JWTParams) -> JWT:
    return params.token | {"rights": "x" * 30_000}


@pytest.mark.parametrize(
    ("jwt", "logged"),
    [(_jwt_breaks, "failed: RuntimeError at "), (_too_large, "Its largest claims: 'rights' with 30002 bytes")],
)
async def test_no_session_can_be_made(jwt: Any, logged: str, caplog: pytest.LogCaptureFixture) -> None:
    """A jwt callback that breaks at sign-in, or a token that is too large, answers error=Configuration, and is logged."""
    async with browsing(callbacks=Callbacks(jwt=jwt)) as browser:
        with caplog.at_level(logging.ERROR, "asgi_token_rotation"):
            response = await browser.sign_in()

        assert (response.status_code, response.json()) == (200, {"url": f"{BASE}/error?error=Configuration"})
        assert "authjs.session-token" not in set_cookies(response)
        assert logged in caplog.text
        assert "hunter2" not in caplog.text


async def test_session_callback_breaks() -> None:
    """A session callback that breaks at sign-in leaves no cookie beside an answer that says that it failed."""

    def session(_: SessionParams) -> Session:
        raise RuntimeError

    async with browsing(callbacks=Callbacks(session=session)) as browser:
        response = await browser.sign_in()

        assert response.json() == {"url": f"{BASE}/error?error=Configuration"}
        assert "authjs.session-token" not in set_cookies(response)
        assert await browser.session() is None


async def test_signing_in_over_a_session() -> None:
    """Signing in over another session replaces it, and the old cookie is worth nothing from then on."""
    ended: list[Event] = []
    users = iter([SignIn(user={"name": "Alice"}), SignIn(user={"name": "Bob"})])
    options: dict[str, Any] = {
        "providers": [Credentials(authorize=lambda _: next(users))],
        "events": Events(session_ended=ended.append),
    }
    async with browsing(**options) as browser:
        await browser.sign_in()
        old = browser.client.cookies["authjs.session-token"]
        await browser.sign_in()

        assert (await browser.session())["user"] == {"name": "Bob"}
        assert [event.reason for event in ended] == ["replaced"]
        browser.client.cookies.set("authjs.session-token", old, domain="testserver.local", path="/")
        assert await browser.session() is None


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_visited(dialect: Dialect) -> None:
    """GET callback for credentials leads to the error page, and is no 500 as in v4."""
    async with browsing(dialect=dialect) as browser:
        visited = await browser.get("/api/auth/callback/credentials", params=ALICE)
        fetched = await browser.get("/api/auth/callback/credentials", headers=SCRIPT)

        assert (visited.status_code, visited.headers["location"]) == (302, f"{BASE}/error?error=Configuration")
        assert fetched.json() == {"url": f"{BASE}/error?error=Configuration"}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unknown_provider(method: str) -> None:
    """A callback for a provider that there is none: error=Configuration in v5, 400 in v4."""
    async with browsing() as v5, browsing(dialect="nextauth-v4") as v4:
        in_v5 = await v5.request(method, "/api/auth/callback/nobody")
        in_v4 = await v4.request(method, "/api/auth/callback/nobody")

        assert (in_v5.status_code, in_v5.headers["location"]) == (302, f"{BASE}/error?error=Configuration")
        assert in_v4.status_code == 400
        assert in_v4.text == f"Error: This action with HTTP {method} is not supported by NextAuth.js"


def test_repr_of_a_request() -> None:
    """I7: the repr of a request that is being answered shows neither its password nor its CSRF token."""
    request = Asked(
        visit=Visit(middleware().rotation.parts, scope_of("/")),
        provider=None,
        query={},
        body={"password": "hunter2"},
        csrf_token="ab" * 32,
        verified=False,
        callback_url="",
    )

    assert "hunter2" not in repr(request)
    assert "ab" * 32 not in repr(request)
