"""What one request holds of its session: the cookie that came in, and the token that goes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ._claims import bare, copy_of, rebased, with_session_id
from ._cookies.jwe import Opened
from ._cookies.session_cookie import SessionCookie
from ._log import logger, where
from ._parts import Parts
from ._rotation.policy import moment, session_error
from ._rotation.rotator import Standing
from ._rotation.sealing import key_of, session_name
from .errors import CookieTooLargeError, StoreError
from .options import Lifetime
from .types import JWT, Event, EventName, FailureKind

FRESH_LOOK = 1.0  # seconds for which a look at the record is good enough for a cookie write


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

    @property
    def generation(self) -> int:
        """The generation that the browser presented; -1 for none."""
        return -1 if self._token is None else self._token["generation"]

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> JWT | None:
        """The token behind the request's cookie, without what the seal set; None where there is none that is valid."""
        now = self._clock()
        opened, self.names = self._cookie.read(headers, now=now)
        if opened is None:
            return None
        claims = opened.claims()
        token = bare(with_session_id(claims))
        end = self._absolute_end(token)
        if end is not None and now >= end:
            return None
        self._opened, self._token = opened, token
        self._sealed_at, self._expires = moment(claims, "iat") or 0.0, moment(claims, "exp")
        return token

    def expires(self, token: JWT, *, rolls: bool) -> float:
        """When the session ends by the cookie that the browser will have after this response."""
        return self._end(token, rolls=rolls, now=self._clock())

    def differs(self, token: JWT, *, rolls: bool) -> bool:
        """Whether the cookie is to be written: its token changed, a newer secret is there, or ``update_age`` passed."""
        if self._opened is None or not self._opened.newest or token != self._token:
            return True
        return rolls and self._clock() - self._sealed_at >= self._lifetime.roll_after

    def lines(self, token: JWT, *, rolls: bool) -> list[bytes]:
        """The ``Set-Cookie`` values that write the token. CookieTooLargeError where it does not fit."""
        now = self._clock()
        return self._cookie.write(token, now=now, expires=self._end(token, rolls=rolls, now=now), present=self.names)

    def cleared(self) -> list[bytes]:
        """The ``Set-Cookie`` values that clear every cookie of ours that the request carried."""
        return self._cookie.clear(self.names)

    def replaced(self) -> None:
        """A sign-in begins a new session: the old cookie's times don't count."""
        self._opened, self._token, self._expires = None, None, None

    def _end(self, token: JWT, *, rolls: bool, now: float) -> float:
        kept = self._expires
        if kept is not None and not (rolls and self.differs(token, rolls=rolls)):
            return kept
        rolled, end = now + self._lifetime.max_age, self._absolute_end(token)
        return rolled if end is None else min(rolled, end)

    def _absolute_end(self, token: JWT) -> float | None:
        signed_in_at, longest = moment(token, "signed_in_at"), self._lifetime.absolute_max_age
        return None if signed_in_at is None or longest is None else signed_in_at + longest


class HeldToken:
    """The token of one request, as it changes: by the record, by the callbacks, by a sign-in or a sign-out."""

    def __init__(self, parts: Parts, cookie: HeldCookie) -> None:
        self.token: JWT | None = None
        self.kind: FailureKind | None = None  # why the access token is not fresh
        self.polls = False  # a visit keeps an idle session alive, a poll of GET session does not
        self.sole = False  # the cookie is the only holder of the newest token
        self._parts = parts
        self._cookie = cookie
        self._base: JWT = {}  # the token before this request's own changes
        self._fresh = False  # signed in by this request
        self._clear = False
        self._looked: tuple[float, float] | None = None  # when the record was looked at, by both clocks

    @property
    def error(self) -> str | None:
        """What ``session.error`` says."""
        if self.token is None:
            return None
        return session_error(self.token, self.kind, self._parts.options, now=self._parts.tools.clock())

    @property
    def rolls(self) -> bool:
        """Whether this request keeps the session alive; a flagged session is not kept."""
        return not self.polls and not (self.token or {}).get("error")

    def take(self, standing: Standing, presented: JWT) -> bool:
        """Go on with what the session stands at for the token that was presented; False where there is none."""
        if standing.looked:
            self.look()
        if standing.token is None:
            if standing.stale:
                self.emit("stale_cookie", presented)
            ended_at = self._parts.rotator.ended_at(presented)
            self.drop(clear=ended_at is not None and self._parts.tools.clock() >= ended_at + self._parts.options.grace)
            return False
        if self.token is None:
            self.token = self._base = presented
        if standing.token is not presented:
            newest = copy_of(standing.token)
            self.token, self._base = rebased(newest, base=self._base, own=self.token), newest
        self.kind, self.sole = standing.kind, self.sole or standing.sole
        refused_code = self._parts.options.refused_code
        if standing.kind == "refused" and self.token.get("error") != refused_code:
            self.token = self.token | {"error": refused_code}
        return True

    def begin(self, token: JWT) -> None:
        """Go on with the token of a new session."""
        self._cookie.replaced()
        self._fresh, self._clear, self.kind = True, False, None
        self.token = self._base = token

    def published(self, token: JWT) -> None:
        """Go on with a token that this request has just published."""
        self.token = self._base = token
        self.kind = None
        self.look()

    def drop(self, *, clear: bool) -> None:
        """Go on without a session."""
        self.token, self._fresh, self.kind, self._clear = None, False, None, clear

    def look(self) -> None:
        """The record was looked at just now."""
        self._looked = (self._parts.tools.clock(), self._parts.tools.monotonic())

    def emit(self, name: EventName, token: JWT, **more: Any) -> None:
        """Tell the application of something that happened to the session."""
        self._parts.emit(Event(name=name, session=session_name(key_of(token["session_id"])), token=token, **more))

    async def lines(self) -> list[bytes]:
        """The ``Set-Cookie`` values of the response: none, unless there is a reason to write."""
        if self.token is None:
            return self._cookie.cleared() if self._clear else []
        if not self._fresh and not self._cookie.differs(self.token, rolls=self.rolls):
            return []
        token = await self._verified(self.token)
        try:
            return [] if token is None else self._cookie.lines(token, rolls=self.rolls)
        except CookieTooLargeError as error:
            logger.error("The session cookie was not written: %s", error)
            return []

    async def _verified(self, token: JWT) -> JWT | None:
        """The token that may be written now: with the newest token set, and none for a session that ended."""
        standing = self._parts.rotator.glance(token, presented=False)
        if not self._fresh and not (standing.token is token and self._looked_just_now()):
            try:
                standing = await self._parts.rotator.look(token)
            except StoreError as error:
                logger.error("A session cookie was left out, the record could not be read: %s", where(error))
                return token if self.sole else None
        if standing.token is None or standing.token is token:
            return standing.token
        return rebased(copy_of(standing.token), base=self._base, own=token)

    def _looked_just_now(self) -> bool:
        if self._looked is None:
            return False
        clock, monotonic = self._looked
        return (
            abs(self._parts.tools.clock() - clock) < FRESH_LOOK
            and self._parts.tools.monotonic() - monotonic < FRESH_LOOK
        )
