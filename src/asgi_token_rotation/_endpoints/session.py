"""GET and POST session: what the browser may see, and its wish to change it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from .._log import logger
from ..errors import NotSignedInError, StoreError
from ..types import Dialect
from .answers import NEVER_CACHED, json_answer, refused
from .asked import Asked
from .body import Refusal
from .csrf import MISSING_CSRF
from .links import Links
from .said import said

STORE_UNAVAILABLE = Refusal(503, "StoreUnavailable", "The session can't be changed right now. Try again in a moment.")
UPDATE_FAILED = Refusal(400, "UpdateFailed", "The session could not be updated with this data.")


class SessionEndpoint:
    """Answers the session, or what the dialect calls none: ``null`` in v5, ``{}`` in v4 (Auth.js contract, 0.1)."""

    def __init__(self, *, dialect: Dialect) -> None:
        self._dialect = dialect

    async def read(self, asked: Asked) -> Response:
        """GET session. Always 200, whatever a refresh did: anything else signs the visitor out (contract, 0.6)."""
        await asked.visit.open(polls=True)  # a poll must not keep an idle session alive (auth0/nextjs-auth0#1458)
        return self._answer(asked, cached_never=True)

    async def update(self, asked: Asked, links: Links) -> Response:
        """POST session: the ``jwt`` callback with ``trigger="update"`` and the client's data."""
        if not asked.verified:
            return refused(MISSING_CSRF)
        visit = asked.visit
        await visit.open()
        if visit.token is None:
            return self._answer(asked)
        try:
            await visit.update(asked.body.get("data"))
        except NotSignedInError:
            return self._nobody()
        except StoreError:
            return refused(STORE_UNAVAILABLE)
        except Exception as error:  # noqa: BLE001 the data is the client's: what it breaks there is no 500 here
            logger.error("An update of the session at %s failed: %s", links.path("session"), said(error))
            return refused(UPDATE_FAILED)
        return self._answer(asked)

    def _answer(self, asked: Asked, *, cached_never: bool = False) -> Response:
        headers = NEVER_CACHED if cached_never else None
        return json_answer(asked.visit.session, headers=headers) if asked.visit.session else self._nobody(headers)

    def _nobody(self, headers: Mapping[str, str] | None = None) -> Response:
        return json_answer(None if self._dialect == "authjs" else {}, headers=headers)
