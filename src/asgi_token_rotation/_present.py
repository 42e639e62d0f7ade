"""From the token to what application and browser may see: pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, cast

from ._claims import FLAT, copied
from ._rotation.policy import moment
from .types import JWT, Session

_USER = (("name", "name"), ("email", "email"), ("image", "picture"))


def iso(seconds: float) -> str | None:
    """ISO 8601 with milliseconds, as JavaScript writes it; None for what no calendar has."""
    try:
        # Without a zone it is written in two thirds of the time.
        return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat("T", "milliseconds") + "Z"
    except (ValueError, OverflowError, OSError):
        return None


def presented(token: JWT, *, error: str | None, expires: float, due_at: float | None) -> Session:
    """The default session: ``user`` and ``expires`` as NextAuth has them, and ``error`` if any.

    When known, also ``accessTokenExpires`` and, by ``due_at``, ``refreshAt``: when a client should come back.
    """
    user = {key: copied(token[claim]) for key, claim in _USER if claim in token}
    session = Session(user=user, expires=iso(expires), error=error)
    for key, when in (("accessTokenExpires", moment(token, "expires_at")), ("refreshAt", due_at)):
        text = None if when is None else iso(when)
        if text is not None:
            session[key] = text
    return session


def shows(value: Any, secret: str) -> bool:
    """Whether a secret stands anywhere in a session, whole."""
    if isinstance(value, dict):
        items: Collection[Any] = cast("dict[str, Any]", value).values()
    elif isinstance(value, (list, tuple)):
        items = cast("Collection[Any]", value)
    else:
        return bool(value == secret)
    return secret in items or True in [shows(item, secret) for item in items if item.__class__ not in FLAT]
