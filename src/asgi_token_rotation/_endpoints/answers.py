"""The answers that several endpoints give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import PlainTextResponse, RedirectResponse, Response

from ..types import Dialect
from .asked import Asked
from .body import Refusal

# On GET session and GET csrf, as Auth.js has it (contract, 4.2).
NEVER_CACHED: Final[Mapping[str, str]] = {
    "cache-control": "private, no-cache, no-store",
    "pragma": "no-cache",
    "expires": "0",
}


def json_answer(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON, in ASCII: a lone surrogate in a claim becomes an escape, and no error."""
    text = json.dumps(content, separators=(",", ":"))
    return Response(text, status_code=status, headers=headers, media_type="application/json")


def refused(refusal: Refusal) -> Response:
    """A refusal as a JSON object: ``null`` would break the v5 client (contract, 0.7)."""
    return json_answer({"error": refusal.error, "message": refusal.message}, status=refusal.status)


def leads_to(url: str, *, asked: Asked, status: int = 200) -> Response:
    """The way on: for scripts ``{"url": …}`` with the status, for forms a redirect."""
    return json_answer({"url": url}, status=status) if asked.wants_json else RedirectResponse(url, status_code=302)


def not_supported(method: str, *, dialect: Dialect) -> Response:
    """For an action or a method that there is none: 400 in the dialect's words (contract, 4.0).

    As plain text where v4 says text/html, since the method is the client's.
    """
    if method == "HEAD":
        return Response(status_code=400)
    if dialect == "authjs":
        return json_answer("Bad request.", status=400)
    return PlainTextResponse(f"Error: This action with HTTP {method} is not supported by NextAuth.js", status_code=400)


def finished(response: Response, cookies: Sequence[bytes]) -> Response:
    """The answer with our small cookies, and with what it says to caches.

    The session cookie, and what goes with it, is added when the answer is sent.
    """
    response.headers.setdefault("cache-control", "private, no-store")
    response.headers["vary"] = "Cookie"
    response.headers["x-content-type-options"] = "nosniff"
    response.raw_headers.extend((b"set-cookie", cookie) for cookie in cookies)
    return response
