"""POST _log: where v4's client reports its own errors (Auth.js contract, 4.2). Anybody may write there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response

from .._log import logger
from .._origins import Origins, header
from ..types import Receive, Scope
from .answers import refused
from .body import Refusal, fields_of, read_body
from .csrf import crosses_origins

PAUSE: Final = 60.0  # seconds from one log line to the next, however many reports come
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class ClientReports:
    """Takes the reports, and logs a line a minute at most: level and code, nothing else of what was sent.

    ``monotonic`` gives seconds.
    """

    def __init__(self, *, origins: Origins, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._origins = origins
        self._monotonic = monotonic
        self._quiet_until = float("-inf")
        self._untold = 0

    async def take(self, scope: Scope, receive: Receive) -> Response | None:
        """200 with no body, whatever the report says; 413 above the limit of all bodies; None where the client went away."""
        raw = await read_body(scope, receive)
        if raw is None:
            return None
        if isinstance(raw, Refusal):
            return refused(raw)
        # A page of somebody else's can make a visitor's browser send this.
        if not crosses_origins(scope, self._origins):
            self._told(fields_of(raw, content_type=header(scope, b"content-type")))
        return Response()

    def _told(self, report: dict[str, Any] | Refusal) -> None:
        if isinstance(report, Refusal):
            return
        level, code = report.get("level"), report.get("code")
        if not isinstance(code, str) or not _CODE.fullmatch(code) or level not in ("error", "warn", "debug"):
            return
        now = self._monotonic()
        if now < self._quiet_until:
            self._untold += 1
            return
        logger.warning(
            "A browser's NextAuth client reports %s (%s). Reports left out since the last such line: %d.",
            code,
            level,
            self._untold,
        )
        self._quiet_until, self._untold = now + PAUSE, 0
