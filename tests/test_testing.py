from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest

from asgi_token_rotation._cookies.session_cookie import session_cookie_for
from asgi_token_rotation.errors import CookieTooLargeError
from asgi_token_rotation.options import CookieOptions
from asgi_token_rotation.testing import Clock, TokenServer, session_cookie
from asgi_token_rotation.types import JWT, SignIn, TokenSet

SECRET = "a secret of more than 32 characters, for tests only"
ADA = {"username": "ada", "password": "lovelace"}


async def signed_in(server: TokenServer) -> TokenSet:
    signed = await server.authorize(ADA)
    assert signed is not None
    assert signed.tokens is not None
    return signed.tokens


async def refreshed(server: TokenServer, tokens: TokenSet) -> TokenSet:
    return await server.refresh({"refresh_token": tokens.refresh_token})


async def json_refresh(server: TokenServer, token: str | None) -> httpx.Response:
    async with server.client() as client:
        return await client.post("/auth/refreshToken", json={"token": token})


async def grant(server: TokenServer, **form: str) -> httpx.Response:
    async with server.client() as client:
        return await client.post("/oauth/token", data=form)


async def me(server: TokenServer, access_token: str) -> httpx.Response:
    async with server.client() as client:
        return await client.get("/api/me", headers={"Authorization": f"Bearer {access_token}"})


def test_clock() -> None:
    """The clock stands still until it is moved."""
    clock = Clock()
    assert (clock(), clock()) == (1_800_000_000.0, 1_800_000_000.0)
    clock.advance(1.5)
    assert clock() == 1_800_000_001.5
    clock.set(10)
    assert clock() == 10
    assert Clock(7)() == 7


async def test_sign_in(token_server: TokenServer, clock: Clock) -> None:
    """authorize() answers the user and tokens that work, and they expire by the clock."""
    signed = await token_server.authorize(ADA)

    assert isinstance(signed, SignIn)
    assert signed.user == {"id": "ada", "name": "Ada", "email": "ada@example.com"}
    assert signed.tokens is not None
    assert signed.tokens.expires_at == clock() + 300
    assert token_server.logins == 1
    answer = await me(token_server, signed.tokens.access_token)
    assert (answer.status_code, answer.json()) == (200, {**signed.user, "token": "1-0"})
    clock.advance(300)
    assert (await me(token_server, signed.tokens.access_token)).status_code == 401


@pytest.mark.parametrize(
    "credentials",
    [{}, {"username": "ada"}, {"username": "ada", "password": "x"}, {"username": "", "password": "lovelace"}],
)
async def test_wrong_password(token_server: TokenServer, credentials: dict[str, str]) -> None:
    """authorize() answers None for credentials that are not right."""
    assert await token_server.authorize(credentials) is None
    assert token_server.logins == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"ada"', b"\xff", b'{"username": 1, "password": null}'])
async def test_login_with_a_body_that_is_no_form_of_ours(token_server: TokenServer, body: bytes) -> None:
    """What is not a JSON object of texts is a wrong password, not a crash."""
    async with token_server.client() as client:
        assert (await client.post("/auth/login", content=body)).status_code == 401


async def test_users(clock: Clock) -> None:
    """The users are the test's own."""
    server = TokenServer(clock=clock, users={"grace": "hopper"})
    signed = await server.authorize({"username": "grace", "password": "hopper"})

    assert signed is not None
    assert signed.user["name"] == "Grace"
    assert await server.authorize(ADA) is None


async def test_rotation(token_server: TokenServer, clock: Clock) -> None:
    """Each refresh gives new tokens that work, and the access token before stays good until it expires."""
    first = await signed_in(token_server)
    clock.advance(200)
    second = await refreshed(token_server, first)
    third = await refreshed(token_server, second)

    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    assert len({first.access_token, second.access_token, third.access_token}) == 3
    assert third.expires_at == clock() + 300
    assert [(await me(token_server, tokens.access_token)).status_code for tokens in (first, second, third)] == [200] * 3
    assert (token_server.refresh_calls, token_server.rotations, token_server.reuses) == (2, 2, 0)
    assert token_server.received == [("1-0", clock()), ("1-1", clock())]


async def test_reuse_revokes_the_family(token_server: TokenServer) -> None:
    """R1: a refresh token that comes twice takes its whole family with it, access tokens too, and no other one."""
    other = await signed_in(token_server)
    first = await signed_in(token_server)
    second = await refreshed(token_server, first)

    with pytest.raises(httpx.HTTPStatusError, match="400"):
        await refreshed(token_server, first)
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        await refreshed(token_server, second)

    assert [(await me(token_server, tokens.access_token)).status_code for tokens in (first, second, other)] == [
        401,
        401,
        200,
    ]
    await refreshed(token_server, other)
    assert (token_server.rotations, token_server.reuses) == (2, 1)
    assert [name for name, _ in token_server.received] == ["2-0", "2-0", "2-1", "1-0"]


async def test_concurrent_refreshes(token_server: TokenServer) -> None:
    """R1: of two concurrent refreshes with one token the second finds it spent, and the winner's tokens are dead."""
    first = await signed_in(token_server)
    answers = await asyncio.gather(*(refreshed(token_server, first) for _ in range(2)), return_exceptions=True)

    assert [type(answer) for answer in answers] == [TokenSet, httpx.HTTPStatusError]
    assert (token_server.concurrent_max, token_server.reuses) == (2, 1)
    await json_refresh(token_server, first.refresh_token)
    assert token_server.concurrent_max == 2


async def test_refresh_token_expires(clock: Clock) -> None:
    """A refresh token's lifetime counts from its own rotation, and its end is no reuse."""
    server = TokenServer(clock=clock, refresh_token_lifetime=100)
    first = await signed_in(server)
    clock.advance(99)
    second = await refreshed(server, first)
    clock.advance(100)

    assert (await json_refresh(server, second.refresh_token)).json()["error"] == "invalid_grant"
    assert server.reuses == 0


async def test_lifetimes_can_change(token_server: TokenServer, clock: Clock) -> None:
    """The lifetimes are switches, for what is issued from now on."""
    first = await signed_in(token_server)
    token_server.access_token_lifetime = 0.5
    token_server.refresh_token_lifetime = 60
    answer = (await grant(token_server, grant_type="refresh_token", refresh_token=str(first.refresh_token))).json()

    assert (answer["expires_in"], answer["refresh_expires_in"]) == (0.5, 60)
    clock.advance(60)
    assert (await json_refresh(token_server, answer["refresh_token"])).status_code == 400


async def test_oauth_grant(token_server: TokenServer, clock: Clock) -> None:
    """The OAuth endpoint answers as RFC 6749 says, and shares its families with the JSON endpoint."""
    first = await signed_in(token_server)
    response = await grant(
        token_server,
        grant_type="refresh_token",
        refresh_token=str(first.refresh_token),
        client_id="client",
        client_secret="accepted",
    )

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    content = response.json()
    assert set(content) == {"access_token", "refresh_token", "expires_in", "token_type"}
    assert (content["expires_in"], content["token_type"]) == (300, "Bearer")
    tokens = TokenSet.from_response(content, now=clock())
    assert token_server.name_of(str(tokens.refresh_token)) == "1-1"
    assert (await me(token_server, tokens.access_token)).status_code == 200
    await refreshed(token_server, tokens)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": ""}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "never issued"}, "invalid_grant"),
    ],
)
async def test_oauth_errors(token_server: TokenServer, form: dict[str, str], error: str) -> None:
    """The OAuth endpoint names errors as RFC 6749, 5.2, does."""
    response = await grant(token_server, **form)
    assert (response.status_code, response.json()["error"]) == (400, error)


@pytest.mark.parametrize(("token", "error"), [(None, "invalid_request"), ("never issued", "invalid_grant")])
async def test_json_refresh_errors(token_server: TokenServer, token: str | None, error: str) -> None:
    """The JSON endpoint refuses what it can't use."""
    response = await json_refresh(token_server, token)
    assert (response.status_code, response.json()["error"]) == (400, error)


async def test_access_token_wanted(token_server: TokenServer) -> None:
    """The API takes its own access tokens only: no refresh token, no other scheme."""
    tokens = await signed_in(token_server)
    async with token_server.client() as client:
        for value in (None, f"Basic {tokens.access_token}", f"Bearer {tokens.refresh_token}", "Bearer"):
            response = await client.get("/api/me", headers={"Authorization": value} if value else {})
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_unknown_paths(token_server: TokenServer) -> None:
    """Another path or method is a 404, and a mounted server goes by what follows its root path."""
    async with token_server.client() as client:
        assert (await client.get("/auth/refreshToken")).status_code == 404
        assert (await client.post("/nowhere")).status_code == 404
    transport = httpx.ASGITransport(token_server, root_path="/mounted")
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        assert (await client.post("/mounted/auth/login", json=ADA)).status_code == 200


async def test_jwt_access_tokens(clock: Clock) -> None:
    """Access tokens may be JWTs, whose expiry says the same."""
    server = TokenServer(clock=clock, jwt_access_tokens=True)
    tokens = await signed_in(server)
    claims = jwt.decode(tokens.access_token, options={"verify_signature": False, "verify_exp": False})

    assert (claims["sub"], claims["exp"]) == ("ada", tokens.expires_at)
    assert (await me(server, tokens.access_token)).status_code == 200
    assert (await refreshed(server, tokens)).access_token != tokens.access_token


async def test_lifespan_and_websocket(token_server: TokenServer) -> None:
    """The server answers the lifespan protocol, and refuses WebSockets."""
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await token_server({"type": "lifespan"}, receive, send)
    await token_server({"type": "websocket"}, receive, send)
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
        "websocket.close",
    ]


async def test_body_in_parts(token_server: TokenServer) -> None:
    """A request's body may come in parts."""

    async def parts() -> AsyncIterator[bytes]:
        text = json.dumps(ADA).encode()
        yield text[:5]
        yield text[5:]

    async with token_server.client() as client:
        assert (await client.post("/auth/login", content=parts())).status_code == 200


async def test_shows_no_secret(token_server: TokenServer) -> None:
    """I7: neither the server's repr, nor what it recorded, nor its errors hold a token."""
    tokens = await signed_in(token_server)
    await refreshed(token_server, tokens)
    with pytest.raises(httpx.HTTPStatusError) as refused:
        await refreshed(token_server, tokens)
    token_server.cut = "after"
    with pytest.raises(httpx.ReadError) as cut:
        await refreshed(token_server, tokens)

    shown = f"{token_server!r} {token_server.received!r} {refused.value!r} {cut.value!r}"
    assert str(tokens.refresh_token) not in shown
    assert tokens.access_token not in shown
    assert token_server.name_of(tokens.access_token) == "1-0"
    assert token_server.name_of("never issued") == "unknown"


def opened(cookies: dict[str, str], *, clock: Clock, secure: bool = False, **options: Any) -> JWT:
    cookie = session_cookie_for((SECRET,), options.pop("cookie", CookieOptions()), secure=secure, dialect="authjs")
    header = "; ".join(f"{name}={value}" for name, value in cookies.items()).encode()
    found, _ = cookie.read([header], now=clock())
    assert found is not None
    return found.claims()


async def test_session_cookie(token_server: TokenServer, clock: Clock) -> None:
    """The minted cookie opens as a sign-in's own: the user, the tokens, generation 0, and the claims on top."""
    tokens = await signed_in(token_server)
    user = {"id": 7, "name": "Ada", "email": "ada@example.com"}
    cookies = session_cookie(secret=SECRET, user=user, tokens=tokens, claims={"role": "admin"}, max_age=60, clock=clock)
    token = opened(cookies, clock=clock)

    assert set(cookies) == {"authjs.session-token"}
    assert (token["sub"], token["name"], token["role"], token["provider"]) == ("7", "Ada", "admin", "credentials")
    assert (token["generation"], token["signed_in_at"], token["issued_at"]) == (0, clock(), clock())
    assert (token["refresh_token"], token["expires_at"]) == (tokens.refresh_token, tokens.expires_at)
    assert token["exp"] == clock() + 60


def test_session_cookies_are_different_sessions(clock: Clock) -> None:
    """Each minted cookie is a session of its own."""
    tokens = [opened(session_cookie(secret=SECRET, user={}, clock=clock), clock=clock) for _ in range(2)]
    assert tokens[0]["session_id"] != tokens[1]["session_id"]


def test_session_cookie_options(clock: Clock) -> None:
    """Secrets, dialect and name are the application's; a large token comes in chunks, one too large is refused."""
    secrets = [SECRET, "an older secret of more than 32 characters"]
    options = CookieOptions(name="sid", prefix="__Host-")
    cookies = session_cookie(secret=secrets, user={}, provider=None, cookie=options, secure=True, clock=clock)
    assert set(cookies) == {"__Host-sid"}
    assert "provider" not in opened(cookies, clock=clock, secure=True, cookie=options)

    assert set(session_cookie(secret=SECRET, user={}, dialect="nextauth-v4", clock=clock)) == {
        "next-auth.session-token"
    }

    cookies = session_cookie(secret=SECRET, user={}, claims={"large": "x" * 5000}, clock=clock)
    assert len(cookies) == 2
    assert opened(cookies, clock=clock)["large"] == "x" * 5000

    with pytest.raises(CookieTooLargeError, match="large"):
        session_cookie(secret=SECRET, user={}, claims={"large": "x" * 500_000}, clock=clock)


async def test_session_cookie_travels(clock: Clock) -> None:
    """The cookies go into an httpx client as they are."""
    cookies = session_cookie(secret=SECRET, user={"id": "ada"}, claims={"large": "x" * 5000}, clock=clock)
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["cookie"])
        return httpx.Response(200)

    async with httpx.AsyncClient(cookies=cookies, transport=httpx.MockTransport(answer)) as client:
        await client.get("http://testserver/")

    assert all(f"{name}={value}" in seen[0] for name, value in cookies.items())
