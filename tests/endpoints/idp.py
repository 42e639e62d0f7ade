"""A browser, the application's endpoints and the strict token server as its OAuth provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from asgi_token_rotation.providers import OAuth2
from asgi_token_rotation.testing import Clock, TokenServer
from endpoints.browser import Browser, browsing

SERVER = "http://token-server"
CALLBACK = "http://testserver/api/auth/callback/idp"
BASE = "http://testserver/api/auth"


def idp(**fields: Any) -> OAuth2:
    """The token server as a provider."""
    given: dict[str, Any] = {
        "id": "idp",
        "name": "Example",
        "client_id": "app",
        "client_secret": "a:secret/with 100%",
        "authorization_endpoint": f"{SERVER}/oauth/authorize",
        "token_endpoint": f"{SERVER}/oauth/token",
        "userinfo_endpoint": f"{SERVER}/oauth/userinfo",
        "revocation_endpoint": f"{SERVER}/oauth/revoke",
    }
    return OAuth2(**given | fields)


class Visitor(Browser):
    """Somebody who signs in at the provider."""

    def __init__(self, client: httpx.AsyncClient, provider: httpx.AsyncClient) -> None:
        super().__init__(client)
        self.provider = provider

    async def begin(self, *, query: str = "", id: str = "idp", **fields: Any) -> str:  # noqa: A002
        """POST signin: the authorization URL."""
        response = await self.post(f"signin/{id}{query}", **fields)
        assert response.status_code == 200, response.text
        return str(response.json()["url"])

    async def agree(self, url: str) -> str:
        """What the provider does with it: the way back."""
        return str((await self.provider.get(url)).headers["location"])

    async def arrive(self, **fields: Any) -> httpx.Response:
        """The whole way."""
        return await self.get(await self.agree(await self.begin(**fields)))

    def flows(self) -> list[str]:
        """The cookies of sign-ins under way."""
        return sorted(name for name in self.client.cookies if ".state." in name)


@asynccontextmanager
async def visiting(
    server: TokenServer | None = None, *, clock: Clock | None = None, **options: Any
) -> AsyncIterator[Visitor]:
    """A visitor of an application that has the token server as its provider."""
    clock = clock or Clock()
    server = server or TokenServer(clock=clock, clients={"app": "a:secret/with 100%", "public": None})
    given = {"providers": [idp()], "clock": clock, **options}
    async with server.client() as provider, browsing(**{"http_client": provider, **given}) as browser:
        yield Visitor(browser.client, provider)


def params_of(url: str) -> dict[str, str]:
    """A URL's query; a parameter that comes twice fails."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)
