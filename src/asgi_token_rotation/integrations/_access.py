"""Who may enter: pure, and the same for every framework."""

from __future__ import annotations

from ..types import Session

# The access token can't be had now, but the session goes on (an outage is not a sign-out).
_PASSING = frozenset({"RefreshUnavailable", "RefreshMisconfigured"})


def refusal(session: Session, *, allow_error: bool = False) -> str | None:
    """Why somebody may not enter, in words for an answer with status 401; None where he may.

    Refused are anonymous sessions and, unless ``allow_error``, those whose refresh token the provider refused for good.
    A session whose provider is only unavailable enters: its ``error`` says so.
    """
    if not session:
        return "Not authenticated"
    return None if allow_error or not is_final(session.error) else session.error


def is_final(error: str | None) -> bool:
    """Whether a session's error lasts until the next sign-in."""
    return error is not None and error not in _PASSING
