"""GET and POST signout."""

from __future__ import annotations

from starlette.responses import Response

from .answers import leads_to
from .asked import Asked
from .links import Links
from .pages import PageWriter


class SignOutEndpoint:
    """Asks first, then ends the session everywhere and clears its cookie."""

    def __init__(self, *, pages: PageWriter) -> None:
        self._pages = pages

    async def ask(self, asked: Asked, links: Links) -> Response:
        """GET signout: a page with one button, or the application's own."""
        if links.pages.sign_out is not None:
            return leads_to(links.own(links.pages.sign_out), asked=asked)
        return self._pages.sign_out(asked, links)

    async def end(self, asked: Asked, links: Links) -> Response:
        """POST signout. Works without a session, too, and with a cookie that can't be opened."""
        if not asked.verified:
            return leads_to(links.missing_csrf("signout"), asked=asked)
        asked.visit.read()
        await asked.visit.sign_out()
        return leads_to(asked.callback_url, asked=asked)
