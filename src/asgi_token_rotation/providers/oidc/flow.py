"""The sign-in at an OpenID provider, the refresh, and the way to its sign-out: OAuth 2.0's, with ID tokens on top."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlencode

from ..._log import logger
from ...errors import RefreshRejectedError, RefreshUnavailableError, SignInError
from ...types import JWT, TokenSet
from .._authorization import Checks, authorization_url, code_of, new_checks
from .._code_flow import Arrival, OAuth2Flow
from .._http import ProviderHttp
from .._profile import user_of
from ..oauth2 import OAuth2
from .access_token import access_token_of, check_life
from .data import OIDC
from .discovery import Discovery, Metadata
from .id_token import (
    IdToken,
    audience_of,
    check_access_token,
    check_identity,
    check_nonce,
    check_same,
    check_signature,
    check_times,
    claims_in,
    parsed,
)
from .keys import Keys
from .logout_token import Logout, logout_of

LONGEST_LOOK: Final = 5.0  # seconds for discovery or keys: a refresh must have most of its time for itself
LONGEST_URL: Final = 8000  # characters; what is longer, front ends refuse

# Why a token of a refresh can't be judged, while nothing speaks against it: the tokens are kept, an ID token is not.
_IN_DOUBT: Final = (
    "id_token_key_unknown", "id_token_expired", "id_token_issued_at",
    "access_token_key_unknown", "access_token_expired", "access_token_issued_at",
)  # fmt: skip


class OIDCFlow:
    """A CodeFlow by an OIDC's data. ``timeout``: seconds for one call to the provider."""

    def __init__(self, provider: OIDC, *, http: ProviderHttp, clock: Callable[[], float], timeout: float) -> None:
        look = min(LONGEST_LOOK, timeout / 4)
        self._provider = provider
        self._http = http
        self._clock = clock
        self._timeout = timeout
        self._discovery = Discovery(provider, http=http, clock=clock, timeout=look)
        self._keys = Keys(self._jwks_uri, http=http, clock=clock, timeout=look)

    @property
    def id(self) -> str:
        """The provider's id."""
        return self._provider.id

    @property
    def backchannel_logout(self) -> bool:
        """Whether the provider may end sessions by itself."""
        return self._provider.backchannel_logout

    async def server(self) -> OAuth2:
        """The provider as an OAuth 2.0 server, its endpoints found. SignInError."""
        return server_of(self._provider, await self._discovery.metadata())

    async def begin(
        self, *, redirect_uri: str, callback_url: str, extra: Mapping[str, str], now: float
    ) -> tuple[str, Checks]:
        """The authorization URL, with state, PKCE and nonce, and the checks for the way back."""
        server = await self.server()
        checks = new_checks(self.id, callback_url=callback_url, now=now, nonce=True)
        return authorization_url(server, checks, redirect_uri=redirect_uri, extra=extra), checks

    async def finish(
        self, answer: Mapping[str, str], checks: Checks | None, *, redirect_uri: str, now: float
    ) -> Arrival:
        """Judge the answer, exchange its code, check the ID token, ask for what else is known of the user."""
        metadata = await self._discovery.metadata()
        server = server_of(self._provider, metadata)
        code = code_of(server, answer, checks, now=now)
        assert checks is not None  # noqa: S101 else the answer was refused
        if metadata.tells_issuer and "iss" not in answer:
            raise SignInError("The answer does not say its issuer (RFC 9207, 2.4).", code="issuer_missing")
        oauth = self._oauth(server)
        tokens = await oauth.exchange(code, redirect_uri=redirect_uri, verifier=checks.verifier)
        claims = await self._signed_in(tokens, checks)
        await self._check_access_token(tokens, claims)
        told: Mapping[str, Any] = {}
        if self._provider.userinfo and server.userinfo_endpoint is not None:
            told = await oauth.userinfo(tokens)
            if told.get("sub") != claims["sub"]:  # OpenID Connect Core, 5.3.2
                raise SignInError("The userinfo endpoint speaks of somebody else.", code="userinfo_subject")
        profile = {**told, **claims}
        return Arrival(user=await user_of(self._provider.profile, profile, tokens), tokens=tokens, profile=profile)

    async def refresh(self, token: JWT) -> TokenSet:
        """A RefreshFunction. Nothing is waited for between the provider's answer and the return: the old token is spent."""
        try:
            server = await self.server()
        except SignInError as error:
            # Whatever it was, the refresh token was not sent.
            raise RefreshUnavailableError(f"The provider's endpoints are not known: {error}") from error
        await self._warm()
        tokens = await self._oauth(server).refresh(token)
        kept = self._refreshed(tokens, token) if tokens.id_token else tokens
        self._judge_access_token(kept, token)
        return kept

    async def end_session_url(self, token: JWT, *, return_to: str) -> str | None:
        """Where the browser goes on after a sign-out, None: nowhere else. Raises nothing: the session has ended already."""
        if not self._provider.rp_initiated_logout:
            return None
        try:
            endpoint = (await self._discovery.metadata()).end_session_endpoint
        except SignInError as error:
            logger.warning("A sign-out ended here only, not at the provider %s (%s): %s", self.id, error.code, error)
            return None
        hint = token.get("id_token")
        return None if endpoint is None else end_session_url(
            endpoint, client_id=self._provider.client_id, hint=hint if isinstance(hint, str) else None, return_to=return_to
        )  # fmt: skip

    def is_meant(self, claims: Mapping[str, Any]) -> bool:
        """Whether a logout token's claims, not checked yet, name this provider and this client."""
        client_id = self._provider.client_id
        meant = client_id in audience_of(claims) and claims.get("azp", client_id) == client_id
        return meant and claims.get("iss") == self._provider.issuer

    async def logout(self, logout_token: str) -> Logout:
        """What the provider says has ended (Back-Channel Logout 1.0, 2.6). SignInError as for an ID token, and ``logout_token_…``."""
        provider = self._provider
        token = parsed(logout_token, algorithms=provider.algorithms)
        if not self.is_meant(token.claims):
            raise SignInError("The token is not of this provider for this client.", code="logout_token_unknown")
        logout = logout_of(token, provider=self.id, now=self._clock())
        await self._check_signature(token)
        return logout

    async def _signed_in(self, tokens: TokenSet, checks: Checks) -> Mapping[str, Any]:
        provider = self._provider
        token = parsed(tokens.id_token, algorithms=provider.algorithms)
        check_identity(token.claims, issuer=provider.issuer, client_id=provider.client_id)
        check_times(token.claims, now=self._clock())
        check_nonce(token.claims, checks.nonce)
        await self._check_signature(token)
        check_access_token(token, tokens.access_token)
        return token.claims

    async def _check_access_token(self, tokens: TokenSet, id_claims: Mapping[str, Any]) -> None:
        audience = self._provider.verify_access_token
        if audience is None:
            return
        token = access_token_of(self._provider, tokens.access_token, audience=audience, id_claims=id_claims)
        check_life(token, now=self._clock())
        await self._check_signature(token)

    async def _check_signature(self, token: IdToken) -> None:
        """By the keys that are known, and once more by those that are asked for anew where the right one is missing."""
        try:
            check_signature(token, await self._keys.get())
        except SignInError as error:
            if not error.code.endswith("_token_key_unknown"):
                raise
            check_signature(token, await self._keys.again())

    def _refreshed(self, tokens: TokenSet, before: JWT) -> TokenSet:
        """The token set, if its ID token speaks of the same user; without it where that can't be told now."""
        try:
            self._check_new(parsed(tokens.id_token, algorithms=self._provider.algorithms), tokens, before)
        except SignInError as error:
            if error.code not in _IN_DOUBT:
                raise RefreshRejectedError(f"The new ID token is not good ({error.code}): {error}") from error
            if error.code == "id_token_key_unknown":
                self._keys.doubt()
            logger.warning("The ID token of a refresh at the provider %s was put aside (%s)", self.id, error.code)
            return replace(tokens, id_token=None)
        return tokens

    def _check_new(self, token: IdToken, tokens: TokenSet, before: JWT) -> None:
        # Who that is comes first, and what our own clock or a missing key leaves in doubt last.
        check_identity(token.claims, issuer=self._provider.issuer, client_id=self._provider.client_id)
        check_same(token.claims, claims_in(before.get("id_token")))
        check_access_token(token, tokens.access_token)
        check_signature(token, self._keys.known)
        check_times(token.claims, now=self._clock())

    def _judge_access_token(self, tokens: TokenSet, before: JWT) -> None:
        """RefreshRejectedError for one that is surely wrong. One in doubt is kept: the API judges it, too."""
        audience = self._provider.verify_access_token
        if audience is None:
            return
        id_claims = claims_in(tokens.id_token or before.get("id_token"))
        try:
            token = access_token_of(self._provider, tokens.access_token, audience=audience, id_claims=id_claims)
            check_signature(token, self._keys.known)
            check_life(token, now=self._clock())
        except SignInError as error:
            if error.code not in _IN_DOUBT:
                # A wrong audience in the configuration ends session after session: the reason must be seen.
                logger.warning("The access token of a refresh at the provider %s is not good (%s)", self.id, error.code)
                raise RefreshRejectedError(f"The new access token is not good ({error.code}): {error}") from error
            if error.code == "access_token_key_unknown":
                self._keys.doubt()
            logger.warning(
                "The access token of a refresh at the provider %s was kept unverified (%s)", self.id, error.code
            )

    async def _warm(self) -> None:
        """Have the keys before the refresh token is sent. Without them the refresh goes on, too."""
        try:
            await self._keys.get()
        except SignInError as error:
            logger.warning("The keys of the provider %s are not known (%s): %s", self.id, error.code, error)

    async def _jwks_uri(self) -> str:
        return (await self._discovery.metadata()).jwks_uri

    def _oauth(self, server: OAuth2) -> OAuth2Flow:
        return OAuth2Flow(server, http=self._http, clock=self._clock, timeout=self._timeout)


def server_of(provider: OIDC, metadata: Metadata) -> OAuth2:
    """The provider with its endpoints found."""
    return OAuth2(
        id=provider.id,
        name=provider.name,
        client_id=provider.client_id,
        client_secret=provider.client_secret,
        authorization_endpoint=metadata.authorization_endpoint,
        token_endpoint=metadata.token_endpoint,
        userinfo_endpoint=metadata.userinfo_endpoint,
        revocation_endpoint=metadata.revocation_endpoint,
        scopes=provider.scopes,
        profile=lambda document, tokens: document,  # the flow makes the user itself
        issuer=provider.issuer,
        authorization_params=provider.authorization_params,
        query_may_set_scope=provider.query_may_set_scope,
        token_endpoint_auth_method=metadata.auth_method,
    )


def end_session_url(endpoint: str, *, client_id: str, hint: str | None, return_to: str) -> str:
    """The provider's sign-out (RP-Initiated Logout 1.0, 2). A hint that would make it too long is left out."""
    params = {"client_id": client_id, "post_logout_redirect_uri": return_to, "state": secrets.token_urlsafe(16)}
    start = f"{endpoint}{'&' if '?' in endpoint else '?'}"
    plain = start + urlencode(params, quote_via=quote, safe="")
    with_hint = plain if hint is None else f"{plain}&id_token_hint={quote(hint, safe='')}"
    return with_hint if len(with_hint) <= LONGEST_URL else plain
