"""The applications that inputs go to: in each dialect, with pages of their own, and with providers that users are sent to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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
from asgi_token_rotation.providers import OIDC, OAuth2
from asgi_token_rotation.types import ASGIApp, Message, Receive, Scope, Send
from fuzz.answers import Answer
from fuzz.cookies import Place, place_of
from fuzz.minted import ACCESS_TOKEN, NOW, PASSWORD, REFRESH_TOKEN, SECRETS, STEMS, USER
from fuzz.openid import API, AUTHORIZE, END, FuzzedProvider, oauth2, openid


class World:
    """One application with the middleware around it. ``answer`` is what the credentials' back end says next.

    ``provider`` stands for the others. ``leads_to`` has what redirects may lead to beside our own, by the action of a POST.
    """

    def __init__(
        self,
        name: str,
        *,
        place: Place,
        secure: bool,
        origins: frozenset[str] | None,
        providers: Sequence[OAuth2 | OIDC] = (),
        anew: Callable[[], World] | None = None,  # makes the same, which knows nothing of the provider yet
        **options: Any,
    ) -> None:
        self.name, self.place, self.secure = name, place, secure
        self.origins = origins  # where redirects may lead; None: to the request's own host, if it is loopback
        self.address: str = options.get("public_url", "http://testserver")
        self.state = f"{'__Secure-' if secure else ''}{STEMS[place.dialect]}.state".encode()  # how checks cookies begin
        self.csrf = f"{'__Host-' if secure else ''}{STEMS[place.dialect]}.csrf-token".encode()
        self.anew: Callable[[], World] = anew or (lambda: self)
        self.openid = any(isinstance(provider, OIDC) for provider in providers)
        self.verified = any(isinstance(provider, OIDC) and provider.verify_access_token for provider in providers)
        self.answer = Answer(500, [], b"")
        self.asked = 0
        self.provider = FuzzedProvider()
        self.leads_to = {"signin": (AUTHORIZE,), "signout": (END,)} if providers else {}
        self._client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer), base_url="http://provider")
        self.app: ASGIApp = TokenRotationMiddleware(
            _application,
            rotation=TokenRotation(
                secret=SECRETS,
                providers=[Credentials(authorize=_authorize, refresh=self._refresh), *providers],
                callbacks=Callbacks(jwt=_jwt, session=_session),
                http_client=httpx.AsyncClient(transport=httpx.MockTransport(self.provider.answer)),
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


def _oauth2() -> World:
    return World(
        "OAuth 2.0", place=place_of("authjs", secure=False), secure=False, origins=None,
        providers=[oauth2(), oauth2("other")], anew=_oauth2,
    )  # fmt: skip


def _openid() -> World:
    address = "https://example.com"
    return World(
        "OpenID Connect", place=place_of("authjs", secure=True), secure=True, public_url=address, origins=frozenset((address,)),
        providers=[openid(), oauth2("other")], anew=_openid,
    )  # fmt: skip


def _verified() -> World:
    return World(
        "OpenID Connect, access tokens verified", place=place_of("nextauth-v4", secure=True), secure=True,
        dialect="nextauth-v4", origins=frozenset(("https://example.com",)), public_url="https://example.com/app",
        providers=[openid(verify_access_token=API), oauth2("other")], anew=_verified,
    )  # fmt: skip


def with_providers() -> list[World]:
    """Fresh ones whose users are sent to a provider."""
    return [_openid(), _oauth2(), _verified()]


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
