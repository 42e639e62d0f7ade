"""When to refresh, and what a failure leads to: pure decisions over a token, options and ``now``."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast

from ..options import RefreshOptions
from ..providers.base import Failure
from ..types import JWT, FailureKind

Due: TypeAlias = Literal["no", "soon", "expired"]

_NUMBERS = frozenset((int, float))
DEFAULT_MARGIN = 60.0  # seconds
FIRST_BACK_OFF = 5.0  # seconds
LONGEST_BACK_OFF = 60.0  # seconds
JITTER = 0.2
SHORTEST_LIFETIME = 1.0  # seconds; a rotation that brings less is nonsense, such as expires_in 0
JUST_ROTATED = (
    5.0  # seconds in which neither such nonsense nor min_valid_for asks again, else every request would refresh
)


def moment(token: JWT, claim: str) -> float | None:
    """A claim that holds seconds since the epoch, or None where it is missing or no number."""
    value: Any = token.get(claim)
    if value is None or type(value) in _NUMBERS:  # nearly always
        return cast("float | None", value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def refresh_at(token: JWT, options: RefreshOptions) -> float | None:
    """When the margin before the access token's expiry begins; None where the expiry is unknown.

    The margin is at most half of the token's lifetime, so a token that lives shorter than the margin is not refreshed
    at every request. Where nobody knows when the token was obtained, the margin is what was asked for, or 60 s.
    """
    expires, issued = moment(token, "expires_at"), moment(token, "issued_at")
    if expires is None:
        return None
    if issued is None:
        return expires - (DEFAULT_MARGIN if options.margin is None else options.margin)
    lifetime = max(expires - issued, 0.0)
    wanted = min(DEFAULT_MARGIN, lifetime / 5) if options.margin is None else options.margin
    return expires - min(wanted, lifetime / 2)


def due(
    token: JWT, options: RefreshOptions, *, now: float, min_valid_for: float = 0, rejected: str | None = None
) -> Due:
    """Whether the access token must be refreshed: ``soon`` while it can be served on, ``expired`` where it can't.

    ``rejected`` is an access token that an API refused; it makes the same token due whatever its expiry says.
    """
    if not token.get("refresh_token"):
        return "no"
    if rejected is not None and token.get("access_token") == rejected:
        return "expired"
    expires, begins = moment(token, "expires_at"), refresh_at(token, options)
    if expires is None or begins is None:
        return "no"
    issued = moment(token, "issued_at")
    if issued is not None and token.get("generation", 0) > 0 and now < issued + JUST_ROTATED:
        if expires - issued < SHORTEST_LIFETIME:
            return "no"
        min_valid_for = 0
    if now < begins and now + min_valid_for < expires:
        return "no"
    return "expired" if now + min_valid_for >= expires else "soon"


def expired(token: JWT, *, now: float) -> bool:
    """Whether the access token can't be served any more. An unknown expiry never comes."""
    expires = moment(token, "expires_at")
    return expires is not None and now >= expires


def refresh_token_expired(token: JWT, *, now: float) -> bool:
    """Whether the refresh token's own end, as far as the provider told it, has passed."""
    expires = moment(token, "refresh_expires_at")
    return expires is not None and now >= expires


def back_off(failures: int, *, jitter: float, retry_after: float | None = None) -> float:
    """Seconds until the next attempt after so many failures in a row: 5 doubling to 60, ± 20 %; ``jitter`` in [0, 1).

    Never earlier than the provider told.
    """
    doubled: float = FIRST_BACK_OFF * 2 ** min(failures - 1, 10)
    seconds = min(doubled, LONGEST_BACK_OFF) * (1 + JITTER * (2 * jitter - 1))
    return seconds if retry_after is None else max(seconds, retry_after)


def consequence(
    failure: Failure, *, doubted_before: bool, last_attempt: bool
) -> Literal["refuse", "again", "back_off"]:
    """What a failed call leads to: the session's refusal, one more attempt at once, or a back-off."""
    if failure.kind == "refused" and (doubted_before or not failure.doubtful):
        return "refuse"
    if failure.kind == "ambiguous" and not last_attempt:
        return "again"
    return "back_off"


def session_error(token: JWT, kind: FailureKind | None, options: RefreshOptions, *, now: float) -> str | None:
    """What ``session.error`` says. Only the refused code is ever sealed into the cookie."""
    if kind == "refused":
        return options.refused_code
    if token.get("error"):
        return str(token["error"])
    if kind is None or not expired(token, now=now):
        return None
    return "RefreshMisconfigured" if kind == "misconfigured" else "RefreshUnavailable"
