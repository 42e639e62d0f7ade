"""The token server as an OAuth provider: as strict as real ones, and stricter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from asgi_token_rotation.testing import Clock, TokenServer

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
ASKED = {
    "response_type": "code",
    "client_id": "app",
    "redirect_uri": "http://app/cb?x=1",
    "state": "s",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    "code_challenge_method": "S256",
}


@pytest.fixture
async def client(token_server: TokenServer) -> AsyncIterator[httpx.AsyncClient]:
    async with token_server.client() as client:
        yield client


async def back(client: httpx.AsyncClient, **changes: str | None) -> dict[str, str]:
    asked = {name: value for name, value in (ASKED | changes).items() if value is not None}
    response = await client.get("/oauth/authorize", params=asked)
    assert response.status_code == 302
    return dict(httpx.URL(response.headers["location"]).params)


async def exchanged(client: httpx.AsyncClient, code: str, *, auth: Any = None, **changes: str) -> httpx.Response:
    form = {"grant_type": "authorization_code", "code": code, "client_id": "app", "code_verifier": VERIFIER}
    form["redirect_uri"] = ASKED["redirect_uri"]
    return await client.post("/oauth/token", data=form | changes, auth=auth)


async def test_a_code(client: httpx.AsyncClient) -> None:
    """A code comes back with the state, and is good for tokens and userinfo; login_hint chooses the user."""
    came = await back(client, login_hint="grace")
    tokens = (await exchanged(client, came["code"])).json()
    who = await client.get("/oauth/userinfo", headers={"authorization": f"Bearer {tokens['access_token']}"})

    assert came.keys() == {"x", "code", "state"}
    assert tokens.keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert who.json() == {"sub": "grace", "name": "Grace", "email": "grace@example.com"}
    assert (await client.get("/oauth/userinfo")).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "x" * 43},
        {"code_verifier": ""},
        {"redirect_uri": "http://app/cb"},
        {"client_id": "eve"},
        {"code": "x"},
    ],
)
async def test_a_code_is_bound(client: httpx.AsyncClient, changes: dict[str, str]) -> None:
    """A code is good only for its client, redirect URI and verifier."""
    response = await exchanged(client, **{"code": (await back(client))["code"], **changes})

    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


async def test_a_code_comes_once(client: httpx.AsyncClient, clock: Clock) -> None:
    """A code that comes twice takes its tokens with it (RFC 6749, 4.1.2), and one is good for a minute."""
    code = (await back(client))["code"]
    tokens = (await exchanged(client, code)).json()
    again = await exchanged(client, code)
    dead = await client.post(
        "/oauth/token",
        data={"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": "app"},
    )
    late = (await back(client))["code"]
    clock.advance(60)

    assert [response.status_code for response in (again, dead, await exchanged(client, late))] == [400] * 3


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"state": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
    ],
)
async def test_strict_requests(client: httpx.AsyncClient, changes: dict[str, Any], error: str) -> None:
    """State and PKCE S256 are a must, and only codes are given."""
    assert (await back(client, **changes))["error"] == error
    assert (await client.get("/oauth/authorize")).status_code == 400


async def test_clients() -> None:
    """clients= names who may come, with basic or in the form, but not both at once; issuer= is told with the code."""
    server = TokenServer(clients={"app": "s:%", "open": None}, issuer="https://id")
    async with server.client() as client:
        came = await back(client)
        statuses = [
            (await exchanged(client, "x", auth=auth, **form)).status_code
            for auth, form in (
                (("app", "s%3A%25"), {}),
                (None, {"client_secret": "s:%"}),
                (None, {"client_id": "open"}),
                (("app", "wrong"), {}),
                (None, {}),
                (None, {"client_id": "nobody"}),
                (("app", "s%3A%25"), {"client_secret": "s:%"}),
            )
        ]

        assert came["iss"] == "https://id"
        assert statuses == [400, 400, 400, 401, 401, 401, 401]
        broken = {"authorization": "Basic ???"}
        assert (await client.post("/oauth/revoke", headers=broken)).status_code == 401


async def test_revocation(client: httpx.AsyncClient, token_server: TokenServer) -> None:
    """A revoked refresh token takes its family with it; an unknown one is answered 200, too (RFC 7009, 2.2)."""
    tokens = (await exchanged(client, (await back(client))["code"])).json()
    known = await client.post("/oauth/revoke", data={"token": tokens["refresh_token"]})
    unknown = await client.post("/oauth/revoke", data={"token": "x"})
    who = await client.get("/oauth/userinfo", headers={"authorization": f"Bearer {tokens['access_token']}"})

    assert (known.status_code, unknown.status_code, who.status_code) == (200, 200, 401)
    assert token_server.revoked == ["1-0", "unknown"]
