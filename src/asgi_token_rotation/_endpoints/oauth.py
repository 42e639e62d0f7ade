"""Sign-in at a provider that users are sent to: POST signin/<id>, and the way back to callback/<id>."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from starlette.responses import RedirectResponse, Response

from .._log import logger
from .._origins import Origins
from ..errors import CookieTooLargeError, SignInError
from ..providers._code_flow import Arrival, CodeFlow
from ..types import Dialect, SignIn
from .admission import Admission, account_of
from .answers import leads_to
from .asked import Asked
from .body import MAX_QUERY
from .checks import ChecksCookies
from .links import Links
from .said import said

if TYPE_CHECKING:
    from .backchannel import BackchannelLogout

_ANSWERED: Final = ("code", "state", "iss", "error")  # what of an authorization answer goes on (RFC 6749, 4.1.2)

# How reasons end for which v5 says that the sign-in failed; failed checks and faults of the set-up are told as
# Configuration (Auth.js contract, 4.2).
_AT_PROVIDER: Final = (
    "provider_error", "code_missing", "_refused", "_unavailable", "_throttled", "_ambiguous",
    "_timeout", "_too_long",
)  # fmt: skip
_SET_UP: Final = (
    "code_misconfigured", "userinfo_misconfigured", "no_user_id", "discovery_misconfigured", "discovery_issuer",
    "discovery_incomplete", "discovery_insecure", "keys_misconfigured", "keys_malformed",
)  # fmt: skip


class OAuthEndpoint:
    """Made once; ``cookies`` by whether the browser's side of a connection is TLS."""

    def __init__(
        self,
        *,
        flows: Mapping[str, CodeFlow],
        kinds: Mapping[str, Literal["credentials", "oauth", "oidc"]],
        admission: Admission,
        origins: Origins,
        cookies: Mapping[bool, ChecksCookies],
        clock: Callable[[], float],
        backchannel: BackchannelLogout | None,
    ) -> None:
        self._flows = flows
        self._kinds = kinds
        self._admission = admission
        self._origins = origins
        self._cookies = cookies
        self._clock = clock
        self._backchannel = backchannel

    def knows(self, provider: str | None) -> bool:
        """Whether users are sent to that provider."""
        return provider in self._flows

    async def begin(self, asked: Asked, links: Links) -> Response:
        """POST signin: the authorization URL, and the flow's checks in a cookie of their own. The CSRF token was good."""
        flow, now, scope = self._flows[asked.provider or ""], self._clock(), asked.visit.scope
        try:
            url, checks = await flow.begin(
                redirect_uri=_redirect_uri(links, flow.id), callback_url=asked.callback_url, extra=asked.query, now=now
            )
            lines = self._cookies[self._origins.secure(scope)].begin(scope, checks, path=_path(links), now=now)
        except (SignInError, CookieTooLargeError) as error:
            code = error.code if isinstance(error, SignInError) else "cookie_too_large"
            logger.error("The sign-in with the provider %s could not begin (%s): %s", flow.id, code, error)
            return leads_to(links.error(_code_of_begin(links.dialect)), asked=asked)
        return _with(leads_to(url, asked=asked), lines)

    async def arrived(self, asked: Asked, links: Links) -> Response:
        """GET callback: judged, exchanged, admitted. Whatever comes of it, the flow is spent."""
        scope, state = asked.visit.scope, asked.query.get("state")
        cookies = self._cookies[self._origins.secure(scope)]
        response = await self._judged(asked, links, cookies)
        return _with(response, cookies.spent(state, path=_path(links)))

    def bounced(self, provider: str, fields: Mapping[str, Any], links: Links) -> Response:
        """POST callback (response_mode=form_post): the same answer once more, by GET and from our own site.

        A browser sends no SameSite=Lax cookie with a form from elsewhere, so neither the checks nor a session that is to
        be replaced would be seen; with a redirected GET it sends both. Nothing is done here, so any origin may come.
        """
        answer = {name: value for name in _ANSWERED if isinstance(value := fields.get(name), str)}
        url = links.endpoint(f"callback/{provider}", **answer)
        if len(url) > MAX_QUERY:
            return RedirectResponse(links.error(_code_of_checks(links.dialect)), status_code=303)
        return RedirectResponse(url, status_code=303)

    async def _judged(self, asked: Asked, links: Links, cookies: ChecksCookies) -> Response:
        flow, now = self._flows[asked.provider or ""], self._clock()
        checks = cookies.find(asked.visit.scope, asked.query.get("state"), now=now)
        try:
            arrival = await flow.finish(asked.query, checks, redirect_uri=_redirect_uri(links, flow.id), now=now)
        except SignInError as error:
            logger.log(_level(error.code), "A sign-in with the provider %s failed (%s): %s", flow.id, error.code, error)
            return leads_to(failed(links, error.code), asked=asked)
        except Exception as error:  # noqa: BLE001 the application's profile function: told in the log, never in its words
            logger.error("The profile function of the provider %s failed: %s", flow.id, said(error))
            return leads_to(failed(links, "profile"), asked=asked)
        then = "" if checks is None else checks.callback_url
        return await self._admitted(asked, links, flow.id, arrival, then=then)

    async def _admitted(self, asked: Asked, links: Links, provider: str, arrival: Arrival, *, then: str) -> Response:
        sign_in = SignIn(user=arrival.user, tokens=arrival.tokens)
        account = account_of(provider, sign_in, kind=self._kinds[provider])
        response = await self._admission.admitted(
            asked, links, sign_in, account=account, profile=arrival.profile, then=then
        )
        token, id_token = asked.visit.token, arrival.tokens.id_token
        began = token is not None and id_token is not None and token.get("id_token") == id_token
        if self._backchannel is not None and token is not None and began:
            await self._backchannel.note(provider, id_token, token)
        return response


def failed(links: Links, reason: str) -> str:
    """Where a failed sign-in leads, in the dialect's form (Auth.js contract, 4.2)."""
    if links.dialect == "nextauth-v4":
        return links.error("Callback" if reason == "provider_error" else "OAuthCallback")
    if reason.endswith(_AT_PROVIDER):
        return links.sign_in(error="OAuthCallbackError")
    return links.error("Configuration")


def _level(reason: str) -> int:
    if reason in _SET_UP:
        return logging.ERROR
    return logging.INFO if reason == "provider_error" else logging.WARNING


def _code_of_checks(dialect: Dialect) -> str:
    return "OAuthCallback" if dialect == "nextauth-v4" else "Configuration"


def _code_of_begin(dialect: Dialect) -> str:
    return "OAuthSignin" if dialect == "nextauth-v4" else "Configuration"


def _redirect_uri(links: Links, provider: str) -> str:
    return links.endpoint(f"callback/{provider}")


def _path(links: Links) -> str:
    return links.path("").rstrip("/")


def _with(response: Response, lines: list[bytes]) -> Response:
    response.raw_headers.extend((b"set-cookie", line) for line in lines)
    return response
