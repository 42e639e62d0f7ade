"""What one request to an endpoint asks, understood."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._origins import header
from .._visit import Visit

_ERROR_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Asked:
    """One request: its session, its parameters, and what was found out about it. No repr: the body holds passwords."""

    visit: Visit
    provider: str | None  # the path's second segment
    query: Mapping[str, str]
    body: Mapping[str, Any]
    csrf_token: str
    verified: bool  # a POST with a CSRF token that belongs to its cookie
    callback_url: str  # absolute, and ours to redirect to; "" where no site is known

    @property
    def wants_json(self) -> bool:
        """Whether the client wants ``{"url": …}`` and no redirect: v5's header or v4's field, in either dialect."""
        by_header = header(self.visit.scope, b"x-auth-return-redirect") is not None
        return by_header or self.body.get("json") in ("true", True)

    @property
    def error(self) -> str | None:
        """The query's error code; None for what can be none."""
        code = self.query.get("error", "")
        return code if _ERROR_CODE.fullmatch(code) else None
