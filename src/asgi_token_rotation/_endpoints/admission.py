"""The last steps of every sign-in, whoever judged it: the ``sign_in`` callback, then the session begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from starlette.responses import Response

from .._log import logger
from .._user_code import settled
from ..types import SignIn, SignInParams, TokenSet
from .answers import leads_to
from .asked import Asked
from .links import Links
from .redirects import Redirects
from .said import said

SignInCallback = Callable[[SignInParams], Awaitable[bool | str] | bool | str]


class Admission:
    """Lets in, refuses, or sends elsewhere, by the ``sign_in`` callback (Auth.js contract, 4.2 and 5.1)."""

    def __init__(self, *, sign_in: SignInCallback | None, redirects: Redirects) -> None:
        self._allow = sign_in
        self._redirects = redirects

    async def admitted(
        self,
        asked: Asked,
        links: Links,
        sign_in: SignIn,
        *,
        account: Mapping[str, Any],
        then: str,
        profile: Mapping[str, Any] | None = None,
        credentials: Mapping[str, str] | None = None,
    ) -> Response:
        """The answer to a sign-in that its provider found good. ``then``: where it leads, absolute and ours."""
        params = SignInParams(user=sign_in.user, account=account, profile=profile, credentials=credentials)
        verdict = await self._verdict(params)
        if isinstance(verdict, str) and verdict:
            elsewhere = await self._redirects.held(verdict, links=links, scope=asked.visit.scope)
            return leads_to(elsewhere, asked=asked)
        if not verdict:
            return leads_to(links.error("AccessDenied"), asked=asked, status=403)
        if not await self._begun(asked, sign_in, account=account, profile=profile):
            return leads_to(links.error("Configuration"), asked=asked)
        return leads_to(then, asked=asked)

    async def _verdict(self, params: SignInParams) -> object:
        if self._allow is None:
            return True
        try:
            return await settled(self._allow(params))
        except Exception as error:  # noqa: BLE001 who can't be judged is not let in
            logger.error("The sign_in callback failed: %s", said(error))
            return False

    async def _begun(
        self, asked: Asked, sign_in: SignIn, *, account: Mapping[str, Any], profile: Mapping[str, Any] | None
    ) -> bool:
        visit, provider = asked.visit, str(account["provider"])
        before = visit.read()  # so that a session in place is replaced
        try:
            await visit.sign_in(sign_in, provider=provider, account=account, profile=profile)
        except Exception as error:  # noqa: BLE001 the jwt or the session callback, or a token that fits into no cookie
            logger.error("The sign-in with the provider %s failed: %s", provider, said(error))
            if visit.token is not before:  # the session callback failed: no cookie beside an answer that says "failed"
                await visit.sign_out()
            return False
        return True


def account_of(provider: str, sign_in: SignIn, *, kind: Literal["credentials", "oauth", "oidc"]) -> dict[str, Any]:
    """NextAuth's account: who this is at the provider, and the token set's fields under their RFC 6749 names."""
    user_id = sign_in.user.get("id")
    account = {"provider": provider, "type": kind, "providerAccountId": None if user_id is None else str(user_id)}
    return account if sign_in.tokens is None else {**_fields(sign_in.tokens), **account}


def _fields(tokens: TokenSet) -> dict[str, Any]:
    names = ("access_token", "refresh_token", "expires_at", "refresh_expires_at", "id_token", "scope", "token_type")
    present = {name: getattr(tokens, name) for name in names if getattr(tokens, name) is not None}
    return {**tokens.extra, **present}
