"""What an ID token must be (OpenID Connect Core, 3.1.3.7 and 12.2): pure. Each refusal is a sentence and a code.

What every signed token must be is here, too: ``what`` names the kind, in the sentence and at the start of the code.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from ..._cookies.json_codec import loads
from ...errors import SignInError
from .keys import Key, candidates, signed_by

LEEWAY: Final = 60.0  # seconds that the provider's clock may be off
LONGEST: Final = 32 * 1024  # characters
MAX_SUBJECT: Final = 255  # characters (OpenID Connect Core, 2)

What: TypeAlias = Literal["ID token", "access token"]

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, repr=False)
class IdToken:
    """A token in its parts. Nothing in it is believed before it was checked."""

    algorithm: str
    kid: str | None
    type: object  # the header's ``typ``
    claims: Mapping[str, Any]
    message: bytes
    signature: bytes
    what: What = "ID token"


def parsed(token: object, *, algorithms: Sequence[str], what: What = "ID token") -> IdToken:
    """The parts. SignInError: ``id_token_missing``, ``id_token_malformed``, or ``id_token_algorithm`` for one not allowed."""
    if not isinstance(token, str) or not token:
        raise refused("missing", f"The provider sent no {what}.", what=what)
    parts = token.split(".")
    if len(parts) != 3 or len(token) > LONGEST or not token.isascii():
        raise refused("malformed", f"The {what} is no signed JWT.", what=what)
    header, claims = (_object(part, what=what) for part in parts[:2])
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise refused("algorithm", f"The {what} is signed with an algorithm that is not allowed.", what=what)
    if "crit" in header or (kid is not None and not isinstance(kid, str)):
        raise refused(
            "malformed", f"The {what}'s header asks for what is not understood (RFC 7515, 4.1.11).", what=what
        )
    message, signature = f"{parts[0]}.{parts[1]}".encode(), _decoded(parts[2], what=what)
    return IdToken(algorithm, kid, header.get("typ"), claims, message, signature, what)


def claims_in(token: object) -> Mapping[str, Any]:
    """The claims of a token that was checked before; empty where it is none. They are not checked here."""
    parts = token.split(".") if isinstance(token, str) else []
    try:
        return _object(parts[1]) if len(parts) == 3 else {}
    except SignInError:
        return {}


def check_signature(token: IdToken, keys: Sequence[Key]) -> None:
    """SignInError: ``id_token_key_unknown`` where no key can be meant, ``id_token_signature`` where none of them made it.

    A token that does not name its key may have been signed by one that is newer than those, so that is an unknown key, too.
    """
    what = token.what
    possible = candidates(keys, algorithm=token.algorithm, kid=token.kid)
    for key in possible:
        if signed_by(key, algorithm=token.algorithm, message=token.message, signature=token.signature):
            return
    if not possible or token.kid is None:
        raise refused("key_unknown", f"The {what} is signed with a key that the provider does not publish.", what=what)
    raise refused("signature", f"The {what}'s signature is not the provider's.", what=what)


def check_identity(claims: Mapping[str, Any], *, issuer: str, client_id: str) -> None:
    """Who made it for whom, and of whom it speaks.

    SignInError: ``id_token_issuer``, ``id_token_audience``, ``id_token_azp``, ``id_token_subject``.
    """
    if claims.get("iss") != issuer:
        raise _refused("issuer", "The ID token comes from another issuer.")
    audience = audience_of(claims)
    if client_id not in audience:
        raise _refused("audience", "The ID token was made for another client.")
    party = claims.get("azp")
    if (party is not None or len(audience) > 1) and party != client_id:
        raise _refused("azp", "The ID token was handed out to another client.")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
        raise _refused("subject", "The ID token does not say who that is.")


def check_times(claims: Mapping[str, Any], *, now: float) -> None:
    """SignInError: ``id_token_expired``, or ``id_token_issued_at`` for one from the future."""
    expires, issued, begins = (time_in(claims.get(name)) for name in ("exp", "iat", "nbf"))
    if expires is None or now >= expires + LEEWAY:
        raise _refused("expired", "The ID token has expired, by our clock.")
    if issued is None or max(issued, begins or 0.0) > now + LEEWAY:
        raise _refused("issued_at", "The ID token comes from the future, by our clock.")


def check_nonce(claims: Mapping[str, Any], nonce: str | None) -> None:
    """SignInError with ``id_token_nonce`` where it is not the one of this sign-in: replayed, or another's."""
    told = claims.get("nonce")
    if nonce is None or not isinstance(told, str) or not _same(told, nonce):
        raise _refused("nonce", "The ID token's nonce is not that of this sign-in.")


def check_access_token(token: IdToken, access_token: str) -> None:
    """SignInError with ``id_token_at_hash`` where the ID token says that it belongs to another one (Core, 3.1.3.6)."""
    told = token.claims.get("at_hash")
    if told is not None and (not isinstance(told, str) or not _same(told, half_hash(access_token, token.algorithm))):
        raise _refused("at_hash", "The ID token belongs to another access token.")


def check_same(claims: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    """What holds for a new ID token at a refresh (Core, 12.2): same issuer, subject and audience, and the first nonce.

    SignInError with ``id_token_issuer``, ``id_token_subject``, ``id_token_audience``, ``id_token_nonce``. Many providers
    send no nonce here.
    """
    for code, claim in (("issuer", "iss"), ("subject", "sub")):
        if claim in first and claims.get(claim) != first[claim]:
            raise _refused(code, f"The new ID token has another {claim} than the first.")
    if not set(audience_of(first)) <= set(audience_of(claims)):
        raise _refused("audience", "The new ID token was made for others than the first.")
    if "nonce" in first and "nonce" in claims:
        check_nonce(claims, first["nonce"] if isinstance(first["nonce"], str) else None)


def half_hash(access_token: str, algorithm: str) -> str:
    """The left half of the token's hash, as in ``at_hash``; Ed25519 signs with SHA-512 (RFC 8032, 5.1)."""
    digest = hashlib.new(f"sha{algorithm[2:] if algorithm[2:].isdigit() else '512'}", access_token.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode("ascii")


def audience_of(claims: Mapping[str, Any]) -> list[str]:
    """Whom it was made for: ``aud`` is a text, or a list of them."""
    told: object = claims.get("aud")
    entries = cast("list[object]", told) if isinstance(told, list) else [told]
    return [entry for entry in entries if isinstance(entry, str)]


def refused(code: str, sentence: str, *, what: What) -> SignInError:
    """What is raised: the code begins with the kind of token, such as ``id_token_``."""
    return SignInError(sentence, code=f"{what.lower().replace(' ', '_')}_{code}")


def time_in(value: object) -> float | None:
    """Seconds since the epoch, or None for what is no time."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15 else None


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _object(part: str, *, what: What = "ID token") -> Mapping[str, Any]:
    try:
        value = loads(_decoded(part, what=what))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise refused("malformed", f"The {what} is no signed JWT.", what=what)
    return cast("dict[str, Any]", value)


def _decoded(part: str, *, what: What) -> bytes:
    if not _BASE64URL.fullmatch(part) or len(part) % 4 == 1:
        raise refused("malformed", f"The {what} is no signed JWT.", what=what)
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _refused(code: str, sentence: str) -> SignInError:
    return refused(code, sentence, what="ID token")
