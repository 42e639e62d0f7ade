import os
from collections.abc import Mapping
from typing import Any

import httpx

from asgi_token_rotation import JWT, Credentials, SignIn, TokenRotation, TokenSet

api = httpx.AsyncClient(base_url=os.environ["API_URL"], timeout=60)


def token_set(data: Mapping[str, Any]) -> TokenSet:
    expires_at = data["accessTokenExpiry"] / 1000
    return TokenSet(access_token=data["accessToken"], refresh_token=data["refreshToken"], expires_at=expires_at)


async def authorize(credentials: Mapping[str, str]) -> SignIn | None:
    response = await api.post("/auth/login", json=dict(credentials))
    if response.status_code in (400, 401):
        return None
    data = response.raise_for_status().json()
    return SignIn(user={name: data[name] for name in ("id", "name", "email")}, tokens=token_set(data))


async def refresh(token: JWT) -> TokenSet:
    response = await api.post("/auth/refreshToken", json={"token": token["refresh_token"]})
    return token_set(response.raise_for_status().json())


rotation = TokenRotation(
    secret=os.environ["AUTH_SECRET"],
    public_url=os.environ.get("AUTH_URL"),  # "https://example.com"; only a loopback host needs none
    store=os.environ.get("AUTH_STORE", "memory://"),  # "sqlite:///sessions.db", where there is more than one process
    providers=[Credentials(authorize=authorize, refresh=refresh)],
)
