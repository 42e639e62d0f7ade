"""Understands a request: its CSRF token, where it wants to go, and which small cookies its answer needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .._origins import Origins
from .._visit import Visit
from .asked import Asked
from .body import query_of
from .csrf import Csrf, submitted
from .links import Links
from .redirects import Redirects
from .side_cookies import SideCookies

_ISSUES_TOKEN: Final = ("csrf", "session", "signin", "signout")


class Reception:
    """Made once; ``cookies`` by whether the browser's side of a connection is TLS."""

    def __init__(
        self, *, origins: Origins, csrf: Csrf, redirects: Redirects, cookies: Mapping[bool, SideCookies]
    ) -> None:
        self._origins = origins
        self._csrf = csrf
        self._redirects = redirects
        self._cookies = cookies

    async def understood(
        self, action: str, provider: str | None, visit: Visit, *, body: Mapping[str, Any] | None, links: Links | None
    ) -> tuple[Asked, list[bytes]]:
        """What is asked, and the ``Set-Cookie`` values for its answer (Auth.js contract, 2.2). ``body`` None: a GET."""
        cookies = self._cookies[self._origins.secure(visit.scope)]
        lines: list[bytes | None] = []
        token = self._csrf.known(cookies.csrf.read(visit.scope))
        verified = body is not None and submitted(token, body.get("csrfToken"))
        if token is None and body is None and action in _ISSUES_TOKEN:
            token = self._csrf.new()
            lines.append(cookies.csrf.line(self._csrf.cookie(token)))
        query = query_of(visit.scope.get("query_string", b""))
        callback_url = ""
        if links is not None and action != "providers":
            before = cookies.callback_url.read(visit.scope)
            callback_url = await self._redirects.callback_url(body or {}, query, before, links=links, scope=visit.scope)
            if callback_url != before and (body is None or verified):
                lines.append(cookies.callback_url.line(callback_url))
        asked = Asked(
            visit=visit,
            provider=provider,
            query=query,
            body=body or {},
            csrf_token=token or "",
            verified=verified,
            callback_url=callback_url,
        )
        return asked, [line for line in lines if line is not None]
