"""GET and POST signout."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from ..providers._code_flow import CodeFlow
from .answers import leads_to
from .asked import Asked
from .links import Links
from .pages import PageWriter


class SignOutEndpoint:
    """Asks first, then ends the session everywhere and clears its cookie."""

    def __init__(self, *, pages: PageWriter, flows: Mapping[str, CodeFlow]) -> None:
        self._pages = pages
        self._flows = flows

    async def ask(self, asked: Asked, links: Links) -> Response:
        """GET signout: a page with one button, or the application's own."""
        if links.pages.sign_out is not None:
            return leads_to(links.own(links.pages.sign_out), asked=asked)
        return self._pages.sign_out(asked, links)

    async def end(self, asked: Asked, links: Links) -> Response:
        """POST signout. Works without a session, too, and with a cookie that can't be opened.

        The session has ended here before the provider's own sign-out is asked for, if its data wants that: browsers may
        never come back from there.
        """
        if not asked.verified:
            return leads_to(links.missing_csrf("signout"), asked=asked)
        asked.visit.read()
        token = await asked.visit.sign_out()
        flow = None if token is None else self._flows.get(str(token.get("provider")))
        if token is None or flow is None:
            return leads_to(asked.callback_url, asked=asked)
        url = await flow.end_session_url(token, return_to=asked.callback_url)
        return leads_to(url or asked.callback_url, asked=asked)
