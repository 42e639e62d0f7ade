"""GET providers, GET and POST signin, GET error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from ..providers.base import Provider
from .answers import json_answer, leads_to
from .asked import Asked
from .links import Links
from .oauth import OAuthEndpoint
from .pages import PageWriter

# What v4 shows on its sign-in page and not on its error page (contract, 4.2), in lower case.
_AT_SIGN_IN: Final = frozenset(
    (
        "signin",
        "oauthsignin",
        "oauthcallback",
        "oauthcreateaccount",
        "emailcreateaccount",
        "callback",
        "oauthaccountnotlinked",
        "emailsignin",
        "credentialssignin",
        "sessionrequired",
    )
)


class SignInEndpoint:
    """Shows how one can sign in here, and why it failed."""

    def __init__(self, *, providers: Mapping[str, Provider], oauth: OAuthEndpoint, pages: PageWriter) -> None:
        self._providers = providers
        self._oauth = oauth
        self._pages = pages

    async def providers(self, asked: Asked, links: Links) -> Response:
        """GET providers: each with its absolute URLs, by its id."""
        return json_answer(
            {
                provider.id: {
                    "id": provider.id,
                    "name": provider.name,
                    "type": provider.type,
                    "signinUrl": links.endpoint(f"signin/{provider.id}"),
                    "callbackUrl": links.endpoint(f"callback/{provider.id}"),
                }
                for provider in self._providers.values()
            }
        )

    async def show(self, asked: Asked, links: Links) -> Response:
        """GET signin: a form per provider, or the application's own page. One for all providers, as in v4."""
        if links.pages.sign_in is not None:
            page = links.own(links.pages.sign_in, callbackUrl=asked.callback_url, error=asked.error)
            return leads_to(page, asked=asked)
        return self._pages.sign_in(asked, links, providers=self._providers)

    async def begin(self, asked: Asked, links: Links) -> Response:
        """POST signin: on to the provider. Credentials are asked for on the sign-in page (contract, 4.2)."""
        if not asked.verified:
            return leads_to(links.missing_csrf("signin"), asked=asked)
        if self._oauth.knows(asked.provider):
            return await self._oauth.begin(asked, links)
        if asked.provider is not None and asked.provider not in self._providers:
            return leads_to(links.error("Configuration"), asked=asked)
        return leads_to(links.endpoint("signin"), asked=asked)

    async def explain(self, asked: Asked, links: Links) -> Response:
        """GET error: what the code means. v4 tells about failed sign-ins on the sign-in page."""
        code = asked.error
        if links.dialect == "nextauth-v4" and code is not None and code.lower() in _AT_SIGN_IN:
            return leads_to(links.endpoint("signin", error=code), asked=asked)
        if links.pages.error is not None:
            return leads_to(links.own(links.pages.error, error=code), asked=asked)
        return self._pages.error(asked, links)
