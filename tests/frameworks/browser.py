"""What a browser does, over httpx: the same in-process and against a server."""

from __future__ import annotations

import json
from typing import Any

import httpx

from asgi_token_rotation.types import ASGIApp
from frameworks.applications import COOKIE


def browser(app: ASGIApp) -> httpx.AsyncClient:
    """A browser with a cookie jar of its own, in-process. An application's exception is a 500, as with a server."""
    transport = httpx.ASGITransport(_like_a_server(app), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://testserver")


async def sign_in(client: httpx.AsyncClient, username: str = "ada", password: str = "lovelace") -> None:
    """Through the endpoints, as next-auth's client does it."""
    csrf = (await client.get("/api/auth/csrf")).json()["csrfToken"]
    form = {"csrfToken": csrf, "username": username, "password": password, "callbackUrl": "/", "json": "true"}
    response = await client.post("/api/auth/callback/credentials", data=form, headers=_as_script(client))
    assert response.status_code == 200, response.text
    assert "error" not in response.json()["url"]
    assert session_cookie_of(response)


async def sign_out(client: httpx.AsyncClient) -> httpx.Response:
    """Through the endpoints."""
    csrf = (await client.get("/api/auth/csrf")).json()["csrfToken"]
    form = {"csrfToken": csrf, "callbackUrl": "/", "json": "true"}
    response = await client.post("/api/auth/signout", data=form, headers=_as_script(client))
    assert response.status_code == 200, response.text
    return response


async def me(client: httpx.AsyncClient) -> str | None:
    """Who the application thinks this is."""
    response = await client.get("/me")
    assert response.status_code == 200, response.text
    return user_in(response.json())


def user_in(session: Any) -> str | None:
    """Whose session it is."""
    session = json.loads(session) if isinstance(session, str | bytes) else session
    return ((session or {}).get("user") or {}).get("email")


def session_cookie_of(response: httpx.Response) -> str | None:
    """The session cookie that a response writes; "" where it clears it, None where it leaves it."""
    lines = [line for line in response.headers.get_list("set-cookie") if line.startswith(f"{COOKIE}=")]
    assert len(lines) < 2, "two session cookies in one response"
    return lines[0].partition(";")[0].partition("=")[2] if lines else None


def _as_script(client: httpx.AsyncClient) -> dict[str, str]:
    return {"origin": str(client.base_url).rstrip("/"), "x-auth-return-redirect": "1"}


def _like_a_server(app: ASGIApp) -> ASGIApp:
    async def served(scope: Any, receive: Any, send: Any) -> None:
        # httpx gives one tuple to all; servers make a fresh scope whose containers are the application's to change.
        await app({**scope, "state": {}}, receive, send)

    return served
