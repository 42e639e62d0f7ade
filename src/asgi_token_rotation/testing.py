"""For tests of applications that use this package: a strict token server, signed-in cookies, and a clock to move.

    clock = Clock()
    server = TokenServer(clock=clock)
    provider = Credentials(authorize=server.authorize, refresh=server.refresh)
    rotation = TokenRotation(secret=…, providers=[provider], clock=clock)

``TokenServer`` is an ASGI application, so that any ASGI server can serve it as well.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._claims import new_token
from ._cookies.session_cookie import session_cookie_for
from ._testing_server import TokenServer as TokenServer
from .options import DAY, CookieOptions
from .types import Dialect, TokenSet


class Clock:
    """A clock that stands still until it is moved: call it for the seconds since the epoch."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start

    def __call__(self) -> float:
        """Now."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move it on."""
        self._now += seconds

    def set(self, seconds: float) -> None:
        """Set it to so many seconds since the epoch."""
        self._now = seconds


def session_cookie(
    *,
    secret: str | Sequence[str],
    user: Mapping[str, Any],
    tokens: TokenSet | None = None,
    provider: str | None = "credentials",
    claims: Mapping[str, Any] | None = None,
    dialect: Dialect = "authjs",
    cookie: CookieOptions = CookieOptions(),
    secure: bool = False,
    max_age: float = 30 * DAY,  # seconds
    clock: Callable[[], float] = time.time,
) -> dict[str, str]:
    """The cookies of somebody who has just signed in, by name, ready for ``httpx.AsyncClient(cookies=…)``.

    ``secret``, ``dialect`` and ``cookie`` are the application's; ``secure`` says whether its ``public_url`` is https.
    ``claims`` go on top of the token's own. Raises CookieTooLargeError where they do not fit.
    """
    now = clock()
    session_id = secrets.token_urlsafe(32)
    token = new_token(user, tokens, provider=provider, session_id=session_id, now=now) | dict(claims or {})
    secret_list = (secret,) if isinstance(secret, str) else tuple(secret)
    minted = session_cookie_for(secret_list, cookie, dialect=dialect, secure=secure)
    lines = minted.write(token, now=now, expires=now + max_age, present=())
    pairs = (line.decode("ascii").partition(";")[0].partition("=") for line in lines)
    return {name: value for name, _, value in pairs}
