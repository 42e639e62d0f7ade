"""What a token is made of: pure functions over its claims. None changes its arguments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from .types import JWT, TokenSet

OURS = ("session_id", "generation", "signed_in_at", "error", "rotated_by")
TOKEN_SET = ("access_token", "refresh_token", "id_token", "expires_at", "refresh_expires_at", "scope", "issued_at")
SEAL = ("iat", "exp", "jti", "nbf")  # set by the seal itself, so never a change (Auth.js contract, encode)

_NEEDED = (*TOKEN_SET, "provider")  # without its provider nobody could refresh the session
FLAT = frozenset((str, int, float, bool, type(None)))
_TEXT = frozenset((str,))
_copy_list = list[Any].copy
_DERIVED_SESSION_ID = b"asgi-token-rotation derived session id\0"


def new_token(
    user: Mapping[str, Any], tokens: TokenSet | None, *, provider: str | None, session_id: str, now: float
) -> JWT:
    """The token of a new sign-in, at generation 0: Auth.js's payload convention, the token set, and ours."""
    token: JWT = {}
    for claim, key in (("name", "name"), ("email", "email"), ("picture", "image")):
        if key in user:
            token[claim] = user[key]
    if user.get("id") is not None:
        token["sub"] = str(user["id"])
    if provider is not None:
        token["provider"] = provider
    token |= {"session_id": session_id, "generation": 0, "signed_in_at": now}
    return token if tokens is None else apply_token_set(token, tokens, now=now)


def apply_token_set(token: JWT, tokens: TokenSet, *, now: float) -> JWT:
    """The token with what a token endpoint answered at ``now``; the error flag is gone.

    What may be absent from a refresh answer and then stays as it was: the refresh token (RFC 6749, 6), the ID token
    (OpenID Connect Core, 12.2), the scope (RFC 6749, 5.1).
    """
    gone = ("error", "expires_at", "refresh_expires_at") if tokens.refresh_token else ("error", "expires_at")
    fresh = {claim: value for claim, value in token.items() if claim not in gone}
    fresh |= {"access_token": tokens.access_token, "issued_at": now}
    for claim in ("refresh_token", "id_token", "scope"):
        if getattr(tokens, claim):
            fresh[claim] = getattr(tokens, claim)
    for claim in ("expires_at", "refresh_expires_at"):
        if getattr(tokens, claim) is not None:
            fresh[claim] = getattr(tokens, claim)
    return fresh


def bare(token: JWT) -> JWT:
    """The token without what the seal sets."""
    rest = token.copy()
    for claim in SEAL:
        rest.pop(claim, None)
    return rest


def copy_of(token: JWT) -> JWT:
    """A copy that shares nothing with the original; the claims are JSON."""
    copy = token.copy()
    for claim in nested_claims(token):
        copy[claim] = copied(copy[claim])
    return copy


def nested_claims(token: JWT) -> tuple[str, ...]:
    """The claims whose values are more than a text or a number."""
    return tuple([claim for claim, value in token.items() if type(value) not in FLAT])


def copier_of(value: Any) -> Callable[[Any], Any]:
    """What copies this JSON value, and any other of its shape, as ``copied`` does."""
    return _copy_list if value.__class__ is list and FLAT.issuperset(map(type, value)) else copied


def copied(value: Any) -> Any:
    """A copy of a JSON value, as JSON would give it back. Twenty times as fast as to write and to read it."""
    kind = value.__class__
    if kind in FLAT:
        return value
    if kind is list:
        return value.copy() if FLAT.issuperset(map(type, value)) else [copied(item) for item in value]
    if kind is dict and _TEXT.issuperset(map(type, value)):
        return {key: copied(item) for key, item in value.items()}
    return json.loads(json.dumps(value))  # from an application: a tuple, a key that is a number


def with_session_id(token: JWT) -> JWT:
    """A token that Auth.js made, with a session id derived from its refresh token, so that concurrent requests agree.

    Without a refresh token its own ``jti`` serves. Its sign-in counts from the seal that is on it.
    """
    if isinstance(token.get("session_id"), str) and isinstance(token.get("generation"), int):
        return token
    source = token.get("refresh_token") or token.get("jti") or json.dumps(token, sort_keys=True)
    derived = hashlib.sha256(_DERIVED_SESSION_ID + str(source).encode("utf-8", "surrogatepass")).hexdigest()
    return token | {"session_id": derived, "generation": 0, "signed_in_at": token.get("signed_in_at", token.get("iat"))}


def restored(own: JWT, before: JWT) -> JWT:
    """What a ``jwt`` callback answered, with what is ours put back, and with the token-set claims that it left out."""
    token = own.copy()
    for claim in OURS:
        if claim in before:
            token[claim] = before[claim]
        elif claim in token:
            del token[claim]
    for claim in _NEEDED:
        if claim in before and claim not in token:
            token[claim] = before[claim]
    return token


def token_set_changed(own: JWT, before: JWT) -> bool:
    """Whether a ``jwt`` callback brought a token set of its own."""
    return [*map(own.get, TOKEN_SET)] != [*map(before.get, TOKEN_SET)]


def rebased(newest: JWT, *, base: JWT, own: JWT) -> JWT:
    """The newest token with the claims that one response changed itself: between ``base`` and ``own``.

    The token set and what is ours are the newest token's.
    """
    fixed = {*OURS, *TOKEN_SET, *SEAL}
    token = dict(newest)
    for claim in {*base, *own} - fixed:
        if claim not in own:
            token.pop(claim, None)
        elif claim not in base or own[claim] != base[claim]:
            token[claim] = own[claim]
    return token


def laid_on_top(newest: JWT, *, base: JWT, own: JWT) -> JWT:
    """As ``rebased``, and with a token set that the response brought itself, unless there is a newer one."""
    token = rebased(newest, base=base, own=own)
    if token_set_changed(own, base) and newest.get("refresh_token") == base.get("refresh_token"):
        token |= {claim: own[claim] for claim in TOKEN_SET if claim in own}
    return token
