"""Where a visitor is sent afterwards: never away from our own and trusted origins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .._log import logger, where
from .._origins import Origins
from .._user_code import settled
from ..types import RedirectParams, Scope
from .links import Links

MAX_URL = 2048  # characters; a longer one counts as absent

RedirectCallback = Callable[[RedirectParams], Awaitable[str] | str]


class Redirects:
    """NextAuth's redirect rule (Auth.js contract, 4.1), the application's ``redirect`` callback included."""

    def __init__(self, *, origins: Origins, callback: RedirectCallback | None) -> None:
        self._origins = origins
        self._callback = callback

    async def callback_url(
        self, body: Mapping[str, Any], query: Mapping[str, str], cookie: str | None, *, links: Links, scope: Scope
    ) -> str:
        """The place that the body, else the query, else the cookie names, as far as we go there.

        A cookie with a place that we don't go to counts as absent: in Auth.js one poisoned cookie breaks every answer.
        """
        for wanted in (body.get("callbackUrl"), query.get("callbackUrl")):
            if isinstance(wanted, str) and 0 < len(wanted) <= MAX_URL:
                return await self.held(wanted, links=links, scope=scope)
        if cookie and self._target(cookie, links=links, scope=scope) is not None:
            return await self.held(cookie, links=links, scope=scope)
        return links.home

    async def held(self, url: str, *, links: Links, scope: Scope) -> str:
        """The absolute URL to go to. Whatever the callback answers, it is held to our own and trusted origins."""
        answer: object = url
        if self._callback is not None:
            try:
                answer = await settled(self._callback(RedirectParams(url=url, base_url=links.site.origin)))
            except Exception as error:  # noqa: BLE001 a client chose the URL: what it breaks there is no 500 here
                logger.error("The redirect callback failed: %s", where(error))
                answer = None
        return self._target(answer, links=links, scope=scope) or links.home

    def _target(self, url: object, *, links: Links, scope: Scope) -> str | None:
        if not isinstance(url, str):
            return None
        target = self._origins.target(url, site=links.site, scope=scope)
        return target if target is not None and len(target) <= MAX_URL else None
