"""The session cookie of one request: what came in, and what goes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ._claims import bare, with_session_id
from ._cookies.jwe import Opened
from ._cookies.session_cookie import SessionCookie
from ._rotation.policy import moment
from .options import Lifetime
from .types import JWT


class HeldCookie:
    """Reads the cookie, and decides whether it is written. ``names`` are those of ours that the request carried."""

    def __init__(self, cookie: SessionCookie, *, lifetime: Lifetime, clock: Callable[[], float]) -> None:
        self._cookie = cookie
        self._lifetime = lifetime
        self._clock = clock
        self._opened: Opened | None = None
        self._token: JWT | None = None
        self._sealed_at = 0.0
        self._expires: float | None = None
        self.names: list[bytes] = []

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> JWT | None:
        """The token behind the request's cookie, without what the seal set; None where there is none that is valid."""
        now = self._clock()
        opened, self.names = self._cookie.read(headers, now=now)
        if opened is None:
            return None
        claims = opened.claims()
        token = bare(with_session_id(claims))
        signed_in_at, longest = moment(token, "signed_in_at"), self._lifetime.absolute_max_age
        if signed_in_at is not None and longest is not None and now >= signed_in_at + longest:
            return None
        self._opened, self._token = opened, token
        self._sealed_at, self._expires = moment(claims, "iat") or 0.0, moment(claims, "exp")
        return token

    def expires(self, token: JWT, *, rolls: bool) -> float:
        """When the session ends by the cookie that the browser will have after this response."""
        kept = self._expires
        if kept is not None and not (rolls and self.differs(token, rolls=rolls)):
            return kept
        end = self._clock() + self._lifetime.max_age
        signed_in_at, longest = moment(token, "signed_in_at"), self._lifetime.absolute_max_age
        return end if signed_in_at is None or longest is None else min(end, signed_in_at + longest)

    def differs(self, token: JWT, *, rolls: bool) -> bool:
        """Whether the cookie is to be written: its token changed, a newer secret is there, or ``update_age`` passed."""
        if self._opened is None or not self._opened.newest or token != self._token:
            return True
        return rolls and self._clock() - self._sealed_at >= self._lifetime.roll_after

    def lines(self, token: JWT, *, rolls: bool) -> list[bytes]:
        """The ``Set-Cookie`` values that write the token. CookieTooLargeError where it does not fit."""
        return self._cookie.write(
            token, now=self._clock(), expires=self.expires(token, rolls=rolls), present=self.names
        )

    def cleared(self) -> list[bytes]:
        """The ``Set-Cookie`` values that clear every cookie of ours that the request carried."""
        return self._cookie.clear(self.names)

    def replaced(self) -> None:
        """A sign-in begins a new session: the old cookie's times don't count."""
        self._opened, self._token, self._expires = None, None, None
