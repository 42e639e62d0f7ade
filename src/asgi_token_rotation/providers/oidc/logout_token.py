"""What a logout token must be (OpenID Connect Back-Channel Logout 1.0, 2.4 and 2.6): pure. Each refusal has a code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ...errors import SignInError
from .id_token import LEEWAY, IdToken, time_in

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
OLDEST: Final = 600.0  # seconds since it was made: for so long its ``jti`` must be remembered
LONGEST_NAME: Final = 512  # characters of ``jti``, ``sid`` and ``sub``


@dataclass(frozen=True, slots=True, kw_only=True)
class Logout:
    """What a provider says has ended: one of its sessions, or, without ``sid``, all of a user's."""

    provider: str
    jti: str = field(repr=False)
    sid: str | None = field(repr=False)
    sub: str | None = field(repr=False)


def logout_of(token: IdToken, *, provider: str, now: float) -> Logout:
    """What the token says. Signature, issuer and audience are for the caller to check.

    SignInError: ``logout_token_type``, ``logout_token_events``, ``logout_token_nonce``, ``logout_token_jti``,
    ``logout_token_subject``, ``logout_token_expired``, ``logout_token_issued_at``.
    """
    claims = token.claims
    if token.type is not None and str(token.type).lower() not in ("logout+jwt", "application/logout+jwt", "jwt"):
        raise _refused("type", "The token is another kind of token.")
    events: object = claims.get("events")
    if not isinstance(events, dict) or not isinstance(cast("dict[str, object]", events).get(EVENT), dict):
        raise _refused("events", "The token speaks of no logout.")
    if "nonce" in claims:
        raise _refused("nonce", "The token has a nonce, so it is an ID token.")
    jti, sid, sub = (_name(claims, name) for name in ("jti", "sid", "sub"))
    if jti is None:
        raise _refused("jti", "The token has no id.")
    if sid is None and sub is None:
        raise _refused("subject", "The token does not say whose logout that is.")
    _check_times(claims, now=now)
    return Logout(provider=provider, jti=jti, sid=sid, sub=sub)


def _check_times(claims: Mapping[str, Any], *, now: float) -> None:
    issued, expires = time_in(claims.get("iat")), time_in(claims.get("exp"))
    if issued is None or issued > now + LEEWAY:
        raise _refused("issued_at", "The token comes from the future, by our clock.")
    # Older drafts have no exp (glewlwyd): the time of issue bounds a token's life in any case.
    over = "exp" in claims and (expires is None or expires + LEEWAY <= now)
    if over or issued <= now - OLDEST:
        raise _refused("expired", "The token has expired, by our clock.")


def _name(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_NAME else None


def _refused(code: str, sentence: str) -> SignInError:
    return SignInError(sentence, code=f"logout_token_{code}")
