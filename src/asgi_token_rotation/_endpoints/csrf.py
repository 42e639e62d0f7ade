"""CSRF by double submit, in NextAuth's form (Auth.js contract, 3), and the origin rule that goes before it."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets as random
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from .._origins import Origins, header
from ..types import Scope
from .answers import NEVER_CACHED, json_answer
from .asked import Asked
from .body import Refusal

_COOKIE = re.compile(r"([0-9a-f]{64})\|([0-9a-f]{64})")

CROSS_ORIGIN: Final = Refusal(
    403,
    "CrossOrigin",
    "This request comes from another origin, so nothing was done. Add that origin to trusted_origins if it is yours.",
)
MISSING_CSRF: Final = Refusal(
    400,
    "MissingCSRF",
    "csrfToken and the CSRF cookie are missing or do not belong together. Ask for a token at GET csrf first.",
)


class Csrf:
    """Issues CSRF tokens and knows its own again. A token is bound to no user and stays while its cookie lives."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._newest = secrets[0]
        # Auth.js v5 hashes a list of secrets joined by commas. Under single ones too, so that a new secret in front
        # does not void every form that is open in a browser (contract, 0.10 and 9.7).
        self._accepted = tuple(dict.fromkeys([*secrets, ",".join(secrets)]))

    def known(self, cookie: str | None) -> str | None:
        """The token of a cookie that we issued, or None. Compared in constant time."""
        found = _COOKIE.fullmatch(cookie or "")
        if found is None:
            return None
        token, digest = found.groups()
        matches = [hmac.compare_digest(_digest(token, secret), digest) for secret in self._accepted]
        return token if any(matches) else None

    def new(self) -> str:
        """A new token: 32 random bytes."""
        return random.token_hex(32)

    def cookie(self, token: str) -> str:
        """The value of the cookie that goes with a token."""
        return f"{token}|{_digest(token, self._newest)}"


def submitted(token: str | None, field: object) -> bool:
    """Whether a body's ``csrfToken`` is the token of the cookie."""
    return token is not None and isinstance(field, str) and hmac.compare_digest(token.encode(), field.encode())


def crosses_origins(scope: Scope, origins: Origins) -> bool:
    """Whether a request that may change something was caused by a page that is neither ours nor trusted.

    ``Origin`` decides where it is present; browsers send it with every unsafe request (Fetch standard). Without it
    ``Sec-Fetch-Site`` does. Clients that are no browsers send neither.
    """
    origin = header(scope, b"origin")
    if origin is not None:
        return not origins.accepts(origin, scope)
    return header(scope, b"sec-fetch-site") in ("cross-site", "same-site")


async def show_token(asked: Asked) -> Response:
    """GET csrf."""
    return json_answer({"csrfToken": asked.csrf_token}, headers=NEVER_CACHED)


def _digest(token: str, secret: str) -> str:
    return hashlib.sha256((token + secret).encode()).hexdigest()
