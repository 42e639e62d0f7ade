"""The applications that inputs go to: one in each dialect, and one whose sessions are due for a refresh."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

from asgi_token_rotation import (
    JWT,
    Callbacks,
    Credentials,
    JWTParams,
    Pages,
    Session,
    SessionParams,
    SignIn,
    TokenRotation,
    TokenRotationMiddleware,
    TokenSet,
    get_session,
)
from asgi_token_rotation.types import ASGIApp, Message, Receive, Scope, Send
from fuzz.answers import Answer
from fuzz.cookies import Place, place_of
from fuzz.minted import ACCESS_TOKEN, NOW, PASSWORD, REFRESH_TOKEN, SECRETS, USER


class World:
    """One application with the middleware around it. ``answer`` is what its provider says next."""

    def __init__(
        self, name: str, *, place: Place, secure: bool, origins: frozenset[str] | None, **options: Any
    ) -> None:
        self.name, self.place, self.secure = name, place, secure
        self.origins = origins  # where redirects may lead; None: to the request's own host, if it is loopback
        self.answer = Answer(500, [], b"")
        self.asked = 0
        self._client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer), base_url="http://provider")
        self.app: ASGIApp = TokenRotationMiddleware(
            _application,
            rotation=TokenRotation(
                secret=SECRETS,
                providers=[Credentials(authorize=_authorize, refresh=self._refresh)],
                callbacks=Callbacks(jwt=_jwt, session=_session),
                clock=clock,
                **options,
            ),
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        return self.answer.response(request)

    async def _refresh(self, token: JWT) -> TokenSet:
        response = await self._client.post("/token", json={"refresh_token": token["refresh_token"]})
        return TokenSet.from_response(response.raise_for_status().json(), now=NOW)


def clock() -> float:
    """It stands still, so an input gives the same answer every time."""
    return NOW


def worlds() -> list[World]:
    """Fresh ones."""
    trusted = "https://trusted.example"
    return [
        World("authjs", place=place_of("authjs", secure=False), secure=False, origins=None),
        World(
            "nextauth-v4", place=place_of("nextauth-v4", secure=True), secure=True, dialect="nextauth-v4",
            origins=frozenset(("https://example.com", trusted)), public_url="https://example.com/app", trusted_origins=[trusted],
        ),
        World(
            "own pages", place=place_of("authjs", secure=True), secure=True, public_url="https://example.com",
            origins=frozenset(("https://example.com",)),
            pages=Pages(sign_in="/login?from=x", sign_out="/bye", error="https://example.com/oops"),
        ),
    ]  # fmt: skip


async def _application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": [], "session": dict(get_session(scope))})
        return
    body = json.dumps(get_session(scope)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"public, s-maxage=60"),
    ]
    start: Message = {"type": "http.response.start", "status": 200, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def _authorize(credentials: Mapping[str, str]) -> SignIn | None:
    if credentials.get("password") != PASSWORD:
        return None
    tokens = TokenSet(ACCESS_TOKEN, REFRESH_TOKEN, expires_at=NOW + 3600)
    return SignIn(user={"id": 7, "name": credentials.get("username"), "email": USER}, tokens=tokens)


def _jwt(params: JWTParams) -> JWT:
    if params.trigger == "update" and isinstance(params.session, dict):
        return params.token | {claim: value for claim, value in params.session.items() if claim != "email"}
    return params.token


def _session(params: SessionParams) -> Session:
    params.session["theme"] = params.token.get("theme")
    return params.session
