"""From the token to what application and browser may see: pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, cast

from ._rotation.policy import moment, refresh_at
from .options import RefreshOptions
from .types import JWT, Session


def iso(seconds: float) -> str | None:
    """ISO 8601 with milliseconds, as JavaScript writes it; None for what no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def presented(token: JWT, *, error: str | None, expires: float, options: RefreshOptions) -> Session:
    """The default session: ``user`` and ``expires`` as NextAuth has them, and ``error`` if any.

    When known, also ``accessTokenExpires`` and ``refreshAt``: when a client should come back.
    """
    user = {
        key: token[claim]
        for key, claim in (("name", "name"), ("email", "email"), ("image", "picture"))
        if claim in token
    }
    session = Session(user=user, expires=iso(expires), error=error)
    for key, when in (("accessTokenExpires", moment(token, "expires_at")), ("refreshAt", refresh_at(token, options))):
        text = None if when is None else iso(when)
        if text is not None:
            session[key] = text
    return session


def shows(value: Any, secret: str) -> bool:
    """Whether a secret stands anywhere in a session, whole."""
    if isinstance(value, str):
        return value == secret
    if isinstance(value, dict):
        return any(shows(item, secret) for item in cast("dict[object, object]", value).values())
    return isinstance(value, list | tuple) and any(shows(item, secret) for item in cast("Iterable[object]", value))
