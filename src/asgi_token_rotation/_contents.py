"""What a session cookie holds, and what follows from that alone: worked out once, and kept with the opened cookie."""

from __future__ import annotations

from dataclasses import dataclass, field

from ._claims import bare, copied, nested_claims, with_session_id
from ._cookies.jwe import Opened
from ._present import presented
from ._rotation.policy import moment, refresh_at
from ._rotation.sealing import key_of
from .options import Lifetime, RefreshOptions
from .types import JWT, Session

_FLAT_IN_SESSION = frozenset(("name", "email", "picture"))


@dataclass(slots=True, kw_only=True)
class Contents:
    """Many requests share it, so none of it is ever changed or handed out: who asks gets a copy."""

    token: JWT = field(repr=False)  # without what the seal set
    nested: tuple[str, ...]  # those of its claims that are lists or objects
    key: str  # of the session's record
    rolls_at: float  # when a visit seals the cookie anew
    expires: float | None
    due_at: float | None  # when the margin before the access token's expiry begins
    shown: Session | None = field(default=None, repr=False)  # the default session as long as nothing changes

    def copy(self) -> JWT:
        """The token, afresh."""
        token = self.token.copy()
        for claim in self.nested:
            token[claim] = copied(token[claim])
        return token

    def session(self) -> Session | None:
        """The default session, afresh, as long as the token stays what it is; None where it must be worked out."""
        if self.shown is None:
            if self.expires is None or self.token.get("error") or not _FLAT_IN_SESSION.isdisjoint(self.nested):
                return None
            self.shown = presented(self.token, error=None, expires=self.expires, due_at=self.due_at)
        session = Session()
        session.update(self.shown)
        session["user"] = session["user"].copy()
        return session


def contents_of(opened: Opened, *, options: RefreshOptions, lifetime: Lifetime) -> Contents:
    """The contents of a cookie, worked out at its first reading."""
    if opened.contents is None:
        claims = opened.claims()
        token = bare(with_session_id(claims))
        expires, due_at = moment(claims, "exp"), refresh_at(token, options)
        opened.contents = Contents(
            token=token,
            nested=nested_claims(token),
            key=key_of(token["session_id"]),
            rolls_at=(moment(claims, "iat") or 0.0) + lifetime.roll_after,
            expires=expires,
            due_at=due_at,
        )
    contents: Contents = opened.contents
    return contents
