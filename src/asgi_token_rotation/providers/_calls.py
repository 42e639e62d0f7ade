"""All that one runtime asks of its providers over HTTP. Which kind of provider is asked in which way is said here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..types import JWT, Event, RefreshFunction
from ._code_flow import CodeFlow, OAuth2Flow
from ._http import ProviderHttp
from ._revocation import Revocations
from .base import Provider
from .oauth2 import OAuth2
from .oidc import OIDC

if TYPE_CHECKING:
    from .oidc.flow import OIDCFlow


class ProviderCalls:
    """Made once; does nothing until somebody is asked. ``timeout``: seconds for one call.

    ConfigurationError for a client that can't be used.

    ``flows`` are the sign-ins of providers that users are sent to, by id; ``refreshes`` the refresh functions of those
    that can refresh; ``logouts`` the sign-ins whose provider may end sessions by itself.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        *,
        client: Any,
        clock: Callable[[], float],
        timeout: float,
        spawn: Callable[[Awaitable[None]], object],
    ) -> None:
        self._http = http = ProviderHttp(client, timeout=timeout)
        flows: dict[str, OAuth2Flow | OIDCFlow] = {}
        logouts: dict[str, OIDCFlow] = {}
        for name, provider in providers.items():
            if isinstance(provider, OAuth2):
                flows[name] = OAuth2Flow(provider, http=http, clock=clock, timeout=timeout)
            elif isinstance(provider, OIDC):
                from .oidc.flow import OIDCFlow  # a tenth of the whole package's import, so for those who need it

                flows[name] = flow = OIDCFlow(provider, http=http, clock=clock, timeout=timeout)
                if flow.backchannel_logout:
                    logouts[name] = flow
        if flows and client is not None and not callable(getattr(client, "stream", None)):
            raise ConfigurationError(
                f"http_client is a {type(client).__name__} without a stream method: expected an httpx.AsyncClient, or an object"
                " of that shape, since answers of providers are read piece by piece. Leave it out, or add the method."
            )
        self.flows: Mapping[str, CodeFlow] = flows
        self.logouts: Mapping[str, OIDCFlow] = logouts
        own = {name: provider.refresh for name, provider in providers.items() if provider.refresh is not None}
        self.refreshes: Mapping[str, RefreshFunction] = {name: flow.refresh for name, flow in flows.items()} | own
        servers = {name: flow.server for name, flow in flows.items()}
        self._revocations = Revocations(
            servers, http=http, spawn=spawn, sleep=asyncio.sleep, clock=clock, timeout=timeout
        )

    def heard(self, emit: Callable[[Event], None]) -> Callable[[Event], None]:
        """``emit``, and the revocation of what an ended session held."""

        def hear(event: Event) -> None:
            self._revocations.hear(event)
            emit(event)

        return hear

    def revoke(self, token: JWT, session: str) -> None:
        """Revoke the token's refresh token in the background. For tokens that a session got after its end."""
        self._revocations.revoke(token, session=session)

    async def aclose(self) -> None:
        """Close the connections of the running loop that are ours."""
        await self._http.aclose()
