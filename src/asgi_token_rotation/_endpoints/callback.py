"""GET and POST callback: where a sign-in is decided."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from .._log import logger
from .._mistakes import check_sign_in
from ..errors import CredentialsSignInError
from ..providers.base import Provider
from ..providers.credentials import RESERVED_FIELDS, Credentials
from .admission import Admission, account_of
from .answers import leads_to, not_supported, refused
from .asked import Asked
from .body import Refusal
from .links import Links
from .oauth import OAuthEndpoint
from .said import said

NOT_TEXT = Refusal(400, "BadRequest", "Each field of a sign-in must be a string.")


class CallbackEndpoint:
    """Takes what a sign-in form sent. A failed one answers 401 to scripts in both dialects (Auth.js contract, 9.4)."""

    def __init__(self, *, providers: Mapping[str, Provider], admission: Admission, oauth: OAuthEndpoint) -> None:
        self._providers = providers
        self._admission = admission
        self._oauth = oauth

    async def visited(self, asked: Asked, links: Links) -> Response:
        """GET callback: who comes back from a provider. Credentials come by POST only."""
        if self._oauth.knows(asked.provider):
            return await self._oauth.arrived(asked, links)
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
            check_sign_in(sign_in)
        except CredentialsSignInError as error:
            return leads_to(links.refused_credentials(provider.id, error.code), asked=asked, status=401)
        except Exception as error:  # noqa: BLE001 an authorize that fails is told in the log and as a code, never in its words
            logger.error("authorize of the provider %s failed: %s", provider.id, said(error))
            status = 200 if links.dialect == "authjs" else 401  # contract, 4.2
            return leads_to(links.error("Configuration"), asked=asked, status=status)
        account = account_of(provider.id, sign_in, kind="credentials")
        return await self._admission.admitted(
            asked, links, sign_in, account=account, then=asked.callback_url, credentials=credentials
        )

    def _unknown(self, asked: Asked, links: Links, method: str) -> Response | None:
        """v4's answer for a provider that there is none; v5 has a code for it."""
        if links.dialect == "nextauth-v4" and asked.provider not in self._providers:
            return not_supported(method, dialect=links.dialect)
        return None
