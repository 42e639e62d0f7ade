"""Refresh tokens of ended sessions are revoked at the provider (RFC 7009): behind the user's back, and as well as it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from .._log import logger
from .._loops import PerLoop
from ..errors import SignInError
from ..types import JWT, Event
from ._http import ProviderHttp
from ._token_endpoint import must_be_success, revocation_request, told
from .base import judge
from .oauth2 import OAuth2

FindServer: TypeAlias = Callable[[], Awaitable[OAuth2]]
"""The provider, its endpoints found; a provider with discovery is asked for them. SignInError where they are not known."""

AT_ONE_TIME: Final = 10  # revocations, per event loop
MOST_WAITING: Final = 1000
LONGEST_ATTEMPT: Final = 10.0  # seconds
BEFORE_THE_RETRY: Final = 1.0  # seconds

# "replaced" is not among them: some providers share one grant among a browser's sign-ins, so the new session would
# die with the old one. A refused token is dead already.
_REVOKES: Final = frozenset({"sign_out", "jwt_callback", "stale_cookie"})


class Revocations:
    """One attempt and one retry for each refresh token. Nobody waits for them, but for a shutdown."""

    def __init__(
        self,
        servers: Mapping[str, FindServer],
        *,
        http: ProviderHttp,
        spawn: Callable[[Awaitable[None]], object],
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
        timeout: float,
    ) -> None:
        self._servers = servers
        self._http = http
        self._spawn = spawn
        self._sleep = sleep
        self._clock = clock
        self._timeout = min(timeout, LONGEST_ATTEMPT)
        self._turns = PerLoop(lambda: asyncio.Semaphore(AT_ONE_TIME))
        self._waiting = 0

    def hear(self, event: Event) -> None:
        """Revoke what a session that has just ended held. For the emitter of events."""
        if event.name == "session_ended" and event.reason in _REVOKES:
            self.revoke(event.token, session=event.session)

    def revoke(self, token: JWT, *, session: str) -> None:
        """Revoke the token's refresh token, in the background, where its provider takes that. ``session`` is for the log."""
        server, refresh_token = self._servers.get(str(token.get("provider"))), token.get("refresh_token")
        if server is None or not isinstance(refresh_token, str) or not refresh_token:
            return
        if self._waiting >= MOST_WAITING:
            logger.warning("session %s: its refresh token is not revoked, %d others wait", session, self._waiting)
            return
        self._waiting += 1
        self._spawn(self._revoked(server, refresh_token, session))

    async def _revoked(self, server: FindServer, refresh_token: str, session: str) -> None:
        try:
            async with self._turns.get():
                if await self._attempt(server, refresh_token, session):
                    await self._sleep(BEFORE_THE_RETRY)
                    await self._attempt(server, refresh_token, session)
        finally:
            self._waiting -= 1

    async def _attempt(self, server: FindServer, refresh_token: str, session: str) -> bool:
        """Whether it failed in a way that may pass."""
        try:
            async with asyncio.timeout(self._timeout):
                request = revocation_request(await server(), refresh_token)
                if request is not None:
                    must_be_success(await self._http.ask(request))
        except SignInError as error:
            logger.warning("session %s: its refresh token was not revoked (%s): %s", session, error.code, error)
            return True
        except Exception as error:  # noqa: BLE001 the session has ended, whatever the provider says
            kind = judge(error, now=self._clock()).kind
            logger.warning("session %s: its refresh token was not revoked (%s): %s", session, kind, told(error))
            return kind in ("unavailable", "throttled", "ambiguous")
        return False
