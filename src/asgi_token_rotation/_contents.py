"""What a session cookie holds, and what follows from that alone: worked out once, and kept with the opened cookie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ._claims import SEAL, copier_of, nested_claims, with_session_id
from ._cookies.jwe import Opened
from ._present import anonymous_session, default_session
from ._rotation.policy import moment, refresh_at
from ._rotation.sealing import key_of
from .options import Lifetime, RefreshOptions
from .types import JWT, Session

_FLAT_IN_SESSION = frozenset(("name", "email", "picture"))
_FOR_EVER = float("inf")


@dataclass(slots=True)
class Contents:
    """Many requests share it, so none of it is ever changed or handed out: who asks gets a copy."""

    token: JWT = field(repr=False)  # without what the seal set
    newest: bool  # sealed by the first secret, in the dialect that seals
    nested: tuple[tuple[str, Callable[[Any], Any]], ...]  # its claims that are lists or objects, and what copies each
    key: str  # of the session's record
    rolls_at: float  # when a visit seals the cookie anew
    expires: float | None
    ends: float  # when the session is over, however often it is visited
    due_at: float | None  # when the margin before the access token's expiry begins
    quiet: bool  # nothing is to be said or written of it, until ``rolls_at`` or a refresh
    shown: dict[str, Any] | None = field(default=None, repr=False)  # the default session as long as nothing changes

    def copy(self) -> JWT:
        """The token, afresh."""
        token = self.token.copy()
        for claim, copier in self.nested:
            token[claim] = copier(token[claim])
        return token

    def session(self) -> Session:
        """The default session, afresh, of what is quiet."""
        shown = self.shown
        if shown is None:
            shown = self.shown = default_session(self.token, expires=self.expires or 0.0, due_at=self.due_at)
        session = anonymous_session()
        session.update(shown)
        session["user"] = shown["user"].copy()
        return session


def contents_of(opened: Opened, *, options: RefreshOptions, lifetime: Lifetime) -> Contents:
    """What follows from an opened cookie, to be kept with it."""
    token = with_session_id(opened.parsed).copy()
    sealed_at, expires = token.get("iat", 0.0), token.get("exp")  # numbers, as the key ring has seen to
    for claim in SEAL:
        token.pop(claim, None)
    nested, ends = nested_claims(token), absolute_end(token, lifetime)
    quiet = opened.newest and expires is not None and not token.get("error") and _FLAT_IN_SESSION.isdisjoint(nested)
    copiers = tuple([(claim, copier_of(token[claim])) for claim in nested])
    return Contents(
        token, opened.newest, copiers, key_of(token["session_id"]), sealed_at + lifetime.roll_after, expires,
        _FOR_EVER if ends is None else ends, refresh_at(token, options), quiet,
    )  # fmt: skip


def absolute_end(token: JWT, lifetime: Lifetime) -> float | None:
    """When the session is over by ``absolute_max_age``."""
    longest = lifetime.absolute_max_age
    signed_in_at = None if longest is None else moment(token, "signed_in_at")
    return None if signed_in_at is None or longest is None else signed_in_at + longest
