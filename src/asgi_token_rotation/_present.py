"""From the token to what application and browser may see: pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ._claims import FLAT, copied
from ._rotation.policy import moment
from .types import JWT, Session

_USER = (("name", "name"), ("email", "email"), ("image", "picture"))


def anonymous_session() -> Session:
    """An anonymous session, as ``Session()`` makes it, in half of the time."""
    return dict.__new__(Session)


def iso(seconds: float) -> str | None:
    """ISO 8601 with milliseconds, as JavaScript writes it; None for what no calendar has."""
    try:
        # Without a zone it is written in two thirds of the time.
        return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat("T", "milliseconds") + "Z"
    except (ValueError, OverflowError, OSError):
        return None


def default_session(token: JWT, *, expires: float, due_at: float | None) -> dict[str, Any]:
    """What the default session of a token without an error holds: ``user`` and ``expires`` as NextAuth has them.

    When known, also ``accessTokenExpires`` and, by ``due_at``, ``refreshAt``: when a client should come back.
    """
    user = {key: copied(token[claim]) for key, claim in _USER if claim in token}
    session = {"user": user, "expires": iso(expires)}
    access_token_expires = moment(token, "expires_at")
    if access_token_expires is not None and (text := iso(access_token_expires)) is not None:
        session["accessTokenExpires"] = text
    if due_at is not None and (text := iso(due_at)) is not None:
        session["refreshAt"] = text
    return session


def shows(value: Any, secret: str) -> bool:
    """Whether a secret stands anywhere in a session, whole."""
    items: Any = value
    if isinstance(value, dict):
        items = items.values()
    elif not isinstance(value, (list, tuple)):
        return bool(value == secret)
    for item in items:
        if type(item) is str:  # most are
            if item == secret:
                return True
        elif type(item) not in FLAT and shows(item, secret):
            return True
    return False
