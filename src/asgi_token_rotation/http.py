"""The access token on httpx's requests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from typing import Any

import httpx

from ._session import get_access_token
from .errors import RefreshError
from .types import HasScope


class AccessTokenAuth(httpx.Auth):
    """Sends the connection's access token as a Bearer token (RFC 6750, 2.1), refreshed if it is due.

    A 401 is answered by one retry with a new access token. NotSignedInError and RefreshError pass through where no
    request could be sent at all. For ``httpx.AsyncClient`` only::

        await client.get("/orders", auth=AccessTokenAuth(request))
    """

    requires_request_body = True  # a retry sends the body again

    def __init__(self, connection: HasScope | Mapping[str, Any]) -> None:
        self._connection = connection

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """httpx's protocol: yields the request, and once more after a 401."""
        token = await get_access_token(self._connection)
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code != 401:
            return
        try:
            token = await get_access_token(self._connection, rejected=token)
        except RefreshError:
            return  # the API's own 401 says it best
        request.headers["Authorization"] = f"Bearer {token}"
        yield request

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Refused: a refresh needs the event loop."""
        raise RuntimeError("AccessTokenAuth works with httpx.AsyncClient only. Use an AsyncClient.")
