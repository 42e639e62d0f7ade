"""What an access token must be where ``OIDC(verify_access_token=…)`` asks for it (RFC 9068, 4): pure.

The profile is kept to as far as providers do: many make plain JWTs, without its type, its ``sub`` or its ``iat``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import SignInError
from .data import OIDC
from .id_token import LEEWAY, IdToken, audience_of, parsed, refused, time_in


def access_token_of(provider: OIDC, access_token: str, *, audience: str, id_claims: Mapping[str, Any]) -> IdToken:
    """The token in its parts: made by whom, for whom, of whom. Signature and times are for the caller to check.

    ``id_claims``: those of the ID token. SignInError: ``access_token_malformed``, ``access_token_algorithm``,
    ``access_token_issuer``, ``access_token_audience``, ``access_token_subject``.
    """
    token = parsed(access_token, algorithms=provider.algorithms, what="access token")
    claims = token.claims
    if token.type is not None and str(token.type).lower() not in ("at+jwt", "application/at+jwt", "jwt"):
        raise _refused("malformed", "The access token is another kind of token by its header.")
    if claims.get("iss") != provider.issuer:
        raise _refused("issuer", "The access token comes from another issuer.")
    if audience not in audience_of(claims):
        raise _refused("audience", "The access token was made for another audience than verify_access_token says.")
    if "sub" in claims and claims["sub"] != id_claims.get("sub", claims["sub"]):
        raise _refused("subject", "The access token speaks of somebody else than the ID token.")
    return token


def check_life(token: IdToken, *, now: float) -> None:
    """SignInError: ``access_token_expired``, or ``access_token_issued_at`` for one from the future."""
    expires, *begins = (time_in(token.claims.get(name)) for name in ("exp", "iat", "nbf"))
    if expires is None or now >= expires + LEEWAY:
        raise _refused("expired", "The access token has expired, by our clock, or does not say when it does.")
    if any(begin is not None and begin > now + LEEWAY for begin in begins):
        raise _refused("issued_at", "The access token comes from the future, by our clock.")


def _refused(code: str, sentence: str) -> SignInError:
    return refused(code, sentence, what="access token")
