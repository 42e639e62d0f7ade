"""The strict token server: a back end that punishes what real providers punish, and fails when told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import httpx

from ._testing_families import TokenFamilies
from ._testing_gate import Gate, Stage
from ._testing_oauth import OAuthDesk, profile_of
from ._testing_wire import (
    HTML,
    REFUSAL,
    WRONG_TOKEN,
    Answer,
    Omission,
    Wire,
    answer_lifespan,
    article_answer,
    article_tokens,
    bearer_token,
    error,
    failed,
    json_answer,
    json_texts,
    oauth_answer,
    read_body,
    send_answer,
)
from .types import JWT, Receive, Scope, Send, SignIn, TokenSet

DEFAULT_USERS: Mapping[str, str] = MappingProxyType({"ada": "lovelace"})


@dataclass(frozen=True, slots=True, repr=False)
class _Failure:
    answer: Answer | None = None  # None: the connection is cut
    rotated: bool = False  # whether the refresh token is spent before that


class TokenServer:
    """An ASGI application that issues tokens: in-process through ``client()``, or served by any ASGI server.

    ``POST /auth/login`` takes JSON ``{"username", "password"}`` and answers ``{"id", "name", "email", "accessToken",
    "refreshToken", "accessTokenExpiry"}``, the expiry in milliseconds, or 401. ``POST /auth/refreshToken`` takes JSON
    ``{"token"}`` and answers the last three. ``POST /oauth/token`` is OAuth's ``refresh_token`` grant (RFC 6749, 6).
    ``GET /api/me`` is an API that wants a valid access token.

    ``GET /oauth/authorize`` sends the user back with a code at once, ``login_hint``'s or the first one; PKCE S256 and
    state are a must. ``POST /oauth/token`` exchanges it, once, for the same client, redirect URI and verifier; ``GET
    /oauth/userinfo`` and ``POST /oauth/revoke`` (RFC 7009, the whole family) are there, too. ``clients`` are names with
    their secrets, None for a public one; without it every client is welcome. ``issuer``: told as ``iss`` (RFC 9207).

    Each refresh rotates the refresh token. One that comes twice **revokes its whole family**, access tokens included.

    The switches are attributes, may be set at any time and count for both refresh endpoints:

    - ``latency``, ``latency_after``: seconds that pass before, and after, the rotation.
    - ``fail_with``: a status instead of an answer, with ``fail_body`` (bytes, text, or a mapping for JSON) and
      ``retry_after`` (seconds or a text) in the header ``retry_after_header``. Nothing is consumed.
    - ``cut``: the connection is cut ``"before"`` or ``"after"`` the rotation: ``httpx.ReadError`` in-process.
    - ``garbage``: 200 with HTML (True) or with these bytes. Nothing is consumed.
    - ``refuse_refresh``: 400 ``invalid_grant``. ``refuse_empty_400``: 400 without a body. Nothing is consumed.
    - ``fail_times``: how many more requests the failures above hit; None: all.
    - ``omit_refresh_token``: the answer's refresh token is ``"missing"``, ``"null"`` or ``"empty"``, and the old one
      stays valid.
    - ``access_token_lifetime``, ``refresh_token_lifetime`` (None: no end): seconds, for what is issued from now on.

    The counters: ``logins``, ``refresh_calls``, ``rotations``, ``reuses`` (refresh tokens that came twice),
    ``concurrent_max`` (refresh calls at one time), ``received`` (each refresh call's token, by ``name_of``, and when).
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        access_token_lifetime: float = 300.0,
        refresh_token_lifetime: float | None = None,
        users: Mapping[str, str] = DEFAULT_USERS,
        jwt_access_tokens: bool = False,
        clients: Mapping[str, str | None] | None = None,
        issuer: str | None = None,
    ) -> None:
        self.access_token_lifetime = access_token_lifetime
        self.refresh_token_lifetime = refresh_token_lifetime
        self.latency: float = 0.0
        self.latency_after: float = 0.0
        self.fail_with: int | None = None
        self.fail_body: bytes | str | Mapping[str, Any] = b""
        self.retry_after: float | str | None = None
        self.retry_after_header = "Retry-After"
        self.cut: Stage | None = None
        self.garbage: bool | bytes = False
        self.refuse_refresh = False
        self.refuse_empty_400 = False
        self.fail_times: int | None = None
        self.omit_refresh_token: Omission | None = None
        self.logins: int = 0
        self.refresh_calls: int = 0
        self.concurrent_max: int = 0
        self.received: list[tuple[str, float]] = []
        self._clock = clock
        self._users = dict(users)
        self._families = TokenFamilies(jwt_access_tokens=jwt_access_tokens)
        self._oauth = OAuthDesk(self._families, usernames=list(self._users), clients=clients, issuer=issuer)
        self._under_way = 0
        self._gate = Gate()

    @property
    def rotations(self) -> int:
        """How often a refresh token was replaced."""
        return self._families.rotations

    @property
    def reuses(self) -> int:
        """How often a refresh token came that had been replaced, and its family was revoked."""
        return self._families.reuses

    @property
    def grants(self) -> list[dict[str, str]]:
        """The forms that came to ``/oauth/token`` from a known client."""
        return self._oauth.grants

    @property
    def revoked(self) -> list[str]:
        """The tokens that came to be revoked, by ``name_of``."""
        return self._oauth.revoked

    def name_of(self, token: str) -> str:
        """A token's short name, ``family-generation``, such as ``"1-0"``; ``"unknown"`` if it is not ours."""
        return self._families.name_of(token)

    def hold(self, stage: Stage = "before") -> None:
        """From now on each refresh request waits, before or after the rotation, until ``release()``."""
        self._gate.close(stage)

    def release(self) -> None:
        """Let all go that wait."""
        self._gate.close(None)

    async def arrived(self, number: int = 1) -> None:
        """Wait until so many refresh requests have come to the hold since ``hold()``; without one, to the server."""
        await self._gate.arrived(number)

    def client(self, *, base_url: str = "http://token-server") -> httpx.AsyncClient:
        """A client that talks to this server in-process. Close it in the event loop that used it."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self), base_url=base_url)

    async def authorize(self, credentials: Mapping[str, str]) -> SignIn | None:
        """For ``Credentials(authorize=server.authorize)``. None: wrong password."""
        async with self.client() as client:
            response = await client.post("/auth/login", json=dict(credentials))
        if response.status_code in (400, 401):
            return None
        content = response.raise_for_status().json()
        return SignIn(user={name: content[name] for name in ("id", "name", "email")}, tokens=_token_set(content))

    async def refresh(self, token: JWT) -> TokenSet:
        """For ``Credentials(refresh=server.refresh)``. Raises httpx's errors, and ValueError for garbage."""
        async with self.client() as client:
            response = await client.post("/auth/refreshToken", json={"token": token["refresh_token"]})
        return _token_set(response.raise_for_status().json())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
        elif scope["type"] == "http":
            answer = await self._answer(scope, await read_body(receive))
            if answer is None:
                # A promise of bytes that never come: a server must close the connection, and ASGITransport raises.
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4096")]})
                raise httpx.ReadError("The token server cut the connection, as its switch `cut` says.")
            await send_answer(answer, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, scope: Scope, body: bytes) -> Answer | None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        match scope["method"], path:
            case "POST", "/auth/login":
                return self._login(json_texts(body))
            case "POST", "/auth/refreshToken":
                return await self._refresh(json_texts(body).get("token", ""), article_answer)
            case "GET", "/oauth/authorize":
                return self._oauth.authorize(scope, now=self._clock())
            case "POST", "/oauth/token":
                return await self._grant(scope, body)
            case "POST", "/oauth/revoke":
                return self._oauth.revoke(scope, body)
            case "GET", "/oauth/userinfo":
                return self._oauth.userinfo(scope, now=self._clock())
            case "GET", "/api/me":
                return self._me(bearer_token(scope))
            case _:
                return error(404, "not_found", "There is no such endpoint.")

    def _login(self, credentials: Mapping[str, str]) -> Answer:
        username = credentials.get("username", "")
        if username not in self._users or self._users[username] != credentials.get("password"):
            return json_answer(401, {"message": "Wrong user name or password."})
        self.logins += 1
        issued = self._families.start(username, now=self._clock(), **self._lifetimes())
        return json_answer(200, profile_of(username) | article_tokens(issued, None))

    async def _grant(self, scope: Scope, body: bytes) -> Answer | None:
        now, omission = self._clock(), self.omit_refresh_token
        answer = self._oauth.grant(scope, body, now=now, lifetimes=self._lifetimes(), omission=omission)
        return await self._refresh(answer, oauth_answer) if isinstance(answer, str) else answer

    def _me(self, access_token: str) -> Answer:
        username = self._families.owner(access_token, now=self._clock())
        if username is None:
            return WRONG_TOKEN
        return json_answer(200, profile_of(username) | {"token": self.name_of(access_token)})

    async def _refresh(self, token: str, wire: Wire) -> Answer | None:
        if not token:
            return error(400, "invalid_request", "The refresh token is missing.")
        self.refresh_calls += 1
        self.received.append((self.name_of(token), self._clock()))
        self._under_way += 1
        self.concurrent_max = max(self.concurrent_max, self._under_way)
        try:
            return await self._rotate(token, wire)
        finally:
            self._under_way -= 1

    async def _rotate(self, token: str, wire: Wire) -> Answer | None:
        await self._gate.passed("before")
        await asyncio.sleep(self.latency)
        failure, omission = self._next_failure(), self.omit_refresh_token
        if failure is not None and not failure.rotated:
            return failure.answer
        issued = self._families.refresh(token, now=self._clock(), rotate=omission is None, **self._lifetimes())
        await asyncio.sleep(self.latency_after)
        await self._gate.passed("after")
        if failure is not None:
            return failure.answer
        return REFUSAL if issued is None else wire(issued, omission)

    def _next_failure(self) -> _Failure | None:
        failure = None if self.fail_times == 0 else _failure_of(self)
        if failure is not None and self.fail_times is not None:
            self.fail_times -= 1
        return failure

    def _lifetimes(self) -> dict[str, Any]:
        return {"expires_in": self.access_token_lifetime, "refresh_expires_in": self.refresh_token_lifetime}


def _failure_of(server: TokenServer) -> _Failure | None:
    """What the switches say, the roughest first."""
    if server.cut is not None:
        return _Failure(rotated=server.cut == "after")
    if server.fail_with is not None:
        retry_after = None if server.retry_after is None else (server.retry_after_header, server.retry_after)
        return _Failure(failed(server.fail_with, server.fail_body, retry_after=retry_after))
    if server.refuse_refresh:
        return _Failure(REFUSAL)
    if server.refuse_empty_400:
        return _Failure(Answer(400, b"", "text/plain"))
    if server.garbage is not False:
        return _Failure(Answer(200, HTML if server.garbage is True else server.garbage, "text/html"))
    return None


def _token_set(content: Mapping[str, Any]) -> TokenSet:
    # A refresh token that is missing, null or empty goes on as it is: what it means is for the caller's rules.
    return TokenSet(
        access_token=content["accessToken"],
        refresh_token=content.get("refreshToken"),
        expires_at=content["accessTokenExpiry"] / 1000,
    )
