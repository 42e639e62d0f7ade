"""POST callback/<credentials>: where a sign-in with credentials is decided."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.responses import Response

from .._log import logger
from .._user_code import settled
from ..errors import CredentialsSignInError
from ..providers.base import Provider
from ..providers.credentials import RESERVED_FIELDS, Credentials
from ..types import SignIn, SignInParams, TokenSet
from .answers import leads_to, not_supported, refused
from .asked import Asked
from .body import Refusal
from .links import Links
from .redirects import Redirects
from .said import said

SignInCallback = Callable[[SignInParams], Awaitable[bool | str] | bool | str]

NOT_TEXT = Refusal(400, "BadRequest", "Each field of a sign-in must be a string.")


class CallbackEndpoint:
    """Takes what a sign-in form sent. A failed one answers 401 to scripts in both dialects (Auth.js contract, 9.4)."""

    def __init__(
        self, *, providers: Mapping[str, Provider], sign_in: SignInCallback | None, redirects: Redirects
    ) -> None:
        self._providers = providers
        self._allow = sign_in
        self._redirects = redirects

    async def visited(self, asked: Asked, links: Links) -> Response:
        """GET callback: credentials come by POST only."""
        return self._unknown(asked, links, "GET") or leads_to(links.error("Configuration"), asked=asked)

    async def submitted(self, asked: Asked, links: Links) -> Response:
        """POST callback: the credentials are judged by ``authorize``, then by the ``sign_in`` callback."""
        provider = self._providers.get(asked.provider or "")
        if not isinstance(provider, Credentials):
            return self._unknown(asked, links, "POST") or leads_to(links.error("Configuration"), asked=asked)
        if not asked.verified:
            return leads_to(links.missing_csrf("signin"), asked=asked)
        credentials = {name: value for name, value in asked.body.items() if name not in RESERVED_FIELDS}
        if not all(isinstance(value, str) for value in credentials.values()):
            return refused(NOT_TEXT)
        try:
            sign_in = await provider.sign_in(credentials)
        except CredentialsSignInError as error:
            return leads_to(links.refused_credentials(provider.id, error.code), asked=asked, status=401)
        except Exception as error:  # noqa: BLE001 an authorize that fails is told in the log and as a code, never in its words
            logger.error("authorize of the provider %s failed: %s", provider.id, said(error))
            status = 200 if links.dialect == "authjs" else 401  # contract, 4.2
            return leads_to(links.error("Configuration"), asked=asked, status=status)
        return await self._authorized(asked, links, provider, credentials, sign_in)

    async def _authorized(
        self, asked: Asked, links: Links, provider: Credentials, credentials: Mapping[str, str], sign_in: SignIn
    ) -> Response:
        account = account_of(provider.id, sign_in)
        verdict = await self._verdict(SignInParams(user=sign_in.user, account=account, credentials=credentials))
        if isinstance(verdict, str) and verdict:
            elsewhere = await self._redirects.held(verdict, links=links, scope=asked.visit.scope)
            return leads_to(elsewhere, asked=asked)
        if not verdict:
            return leads_to(links.error("AccessDenied"), asked=asked, status=403)
        if not await self._begun(asked, provider.id, sign_in, account):
            return leads_to(links.error("Configuration"), asked=asked)
        return leads_to(asked.callback_url, asked=asked)

    async def _verdict(self, params: SignInParams) -> object:
        if self._allow is None:
            return True
        try:
            return await settled(self._allow(params))
        except Exception as error:  # noqa: BLE001 who can't be judged is not let in
            logger.error("The sign_in callback failed: %s", said(error))
            return False

    async def _begun(self, asked: Asked, provider: str, sign_in: SignIn, account: Mapping[str, Any]) -> bool:
        visit = asked.visit
        before = visit.read()  # so that a session in place is replaced
        try:
            await visit.sign_in(sign_in, provider=provider, account=account)
        except Exception as error:  # noqa: BLE001 the jwt or the session callback, or a token that fits into no cookie
            logger.error("The sign-in with the provider %s failed: %s", provider, said(error))
            if visit.token is not before:  # the session callback failed: no cookie beside an answer that says "failed"
                await visit.sign_out()
            return False
        return True

    def _unknown(self, asked: Asked, links: Links, method: str) -> Response | None:
        """v4's answer for a provider that there is none; v5 has a code for it."""
        if links.dialect == "nextauth-v4" and asked.provider not in self._providers:
            return not_supported(method, dialect=links.dialect)
        return None


def account_of(provider: str, sign_in: SignIn) -> dict[str, Any]:
    """NextAuth's account: who this is at the provider, and the token set's fields under their RFC 6749 names."""
    user_id = sign_in.user.get("id")
    account = {
        "provider": provider,
        "type": "credentials",
        "providerAccountId": None if user_id is None else str(user_id),
    }
    return account if sign_in.tokens is None else {**_fields(sign_in.tokens), **account}


def _fields(tokens: TokenSet) -> dict[str, Any]:
    names = ("access_token", "refresh_token", "expires_at", "refresh_expires_at", "id_token", "scope", "token_type")
    present = {name: getattr(tokens, name) for name in names if getattr(tokens, name) is not None}
    return {**tokens.extra, **present}
