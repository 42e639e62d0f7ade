"""The sign-in at a provider with the authorization code: sends somebody there, and learns who came back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import SignInError
from ..types import JWT, TokenSet
from ._authorization import Checks, authorization_url, code_of, new_checks
from ._http import ProviderHttp
from ._profile import user_of
from ._token_endpoint import asked, code_request, refresh_request, token_set_of, told, userinfo_request
from .base import judge
from .oauth2 import OAuth2


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Who came back. ``profile`` is what the provider said of them, as it stands."""

    user: Mapping[str, Any] = field(repr=False)
    tokens: TokenSet
    profile: Mapping[str, Any] = field(repr=False)


class CodeFlow(Protocol):
    """What the sign-in endpoints need of a provider that users are sent to."""

    @property
    def id(self) -> str:
        """The provider's id."""
        ...

    async def begin(
        self, *, redirect_uri: str, callback_url: str, extra: Mapping[str, str], now: float
    ) -> tuple[str, Checks]:
        """The URL to send the visitor to, and what is to be kept until the return. SignInError."""
        ...

    async def finish(
        self, answer: Mapping[str, str], checks: Checks | None, *, redirect_uri: str, now: float
    ) -> Arrival:
        """Who came back with this answer. SignInError, whose ``code`` says why not."""
        ...

    async def end_session_url(self, token: JWT, *, return_to: str) -> str | None:
        """Where the browser goes on after a sign-out, to end up at ``return_to``; None: straight there."""
        ...


class OAuth2Flow:
    """A CodeFlow by an OAuth2's data. ``timeout``: seconds for one call to the provider."""

    def __init__(self, provider: OAuth2, *, http: ProviderHttp, clock: Callable[[], float], timeout: float) -> None:
        self._provider = provider
        self._http = http
        self._clock = clock
        self._timeout = timeout

    @property
    def id(self) -> str:
        """The provider's id."""
        return self._provider.id

    async def begin(
        self, *, redirect_uri: str, callback_url: str, extra: Mapping[str, str], now: float
    ) -> tuple[str, Checks]:
        """The authorization URL, with state and PKCE, and the checks for the way back."""
        checks = new_checks(self._provider.id, callback_url=callback_url, now=now)
        return authorization_url(self._provider, checks, redirect_uri=redirect_uri, extra=extra), checks

    async def finish(
        self, answer: Mapping[str, str], checks: Checks | None, *, redirect_uri: str, now: float
    ) -> Arrival:
        """Judge the answer, exchange its code, ask who that is."""
        code = code_of(self._provider, answer, checks, now=now)
        assert checks is not None  # noqa: S101 else the answer was refused
        tokens = await self.exchange(code, redirect_uri=redirect_uri, verifier=checks.verifier)
        profile = await self.userinfo(tokens)
        user = await user_of(self._provider.profile, profile, tokens)
        return Arrival(user=user, tokens=tokens, profile=profile)

    async def server(self) -> OAuth2:
        """The provider."""
        return self._provider

    async def end_session_url(self, token: JWT, *, return_to: str) -> str | None:
        """None: OAuth 2.0 has no such thing."""
        return None

    async def refresh(self, token: JWT) -> TokenSet:
        """A RefreshFunction: asks once, and raises what ``judge`` knows. The caller bounds the time."""
        document = await asked(self._http, refresh_request(self._provider, str(token["refresh_token"])))
        return token_set_of(document, now=self._clock())

    async def exchange(self, code: str, *, redirect_uri: str, verifier: str) -> TokenSet:
        """The token set for a code. SignInError with ``code_refused``, ``code_unavailable``, ``code_misconfigured``, …."""
        request = code_request(self._provider, code=code, redirect_uri=redirect_uri, verifier=verifier)
        try:
            async with asyncio.timeout(self._timeout):
                document = await asked(self._http, request)
            return token_set_of(document, now=self._clock())
        except Exception as error:
            raise _failed("code", error, now=self._clock()) from error

    async def userinfo(self, tokens: TokenSet) -> Mapping[str, Any]:
        """The userinfo document; an empty one where there is no endpoint. SignInError as above, with ``userinfo_``."""
        if self._provider.userinfo_endpoint is None:
            return {}
        try:
            async with asyncio.timeout(self._timeout):
                return await asked(self._http, userinfo_request(self._provider.userinfo_endpoint, tokens.access_token))
        except Exception as error:
            raise _failed("userinfo", error, now=self._clock()) from error


def _failed(step: str, error: Exception, *, now: float) -> SignInError:
    """The failure by step and kind, such as ``code_refused`` or ``userinfo_unavailable``."""
    kind = judge(error, now=now).kind
    return SignInError(f"The provider was asked in vain: {told(error)}", code=f"{step}_{kind}")
