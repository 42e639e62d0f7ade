"""What one request holds of its session: the cookie that came in, and the token that goes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._claims import copy_of, rebased
from ._contents import Contents, absolute_end, contents_of
from ._cookies.jwe import Opened
from ._cookies.session_cookie import SessionCookie
from ._log import logger, where
from ._mistakes import look_at_mark
from ._parts import Parts
from ._present import default_session
from ._rotation.policy import refresh_at, session_error
from ._rotation.rotator import Standing
from ._rotation.sealing import key_of, session_name
from .errors import CookieTooLargeError, StoreError
from .types import JWT, Event, EventName, FailureKind, Session

FRESH_LOOK = 1.0  # seconds for which a look at the record is good enough for a cookie write


def unpacked(parts: Parts, opened: Opened) -> Contents:
    """What the cookie holds, worked out at its first reading."""
    contents = opened.contents = contents_of(opened, options=parts.options, lifetime=parts.lifetime)
    look_at_mark(parts, contents.token)
    return contents


def goes_on_as_it_came(parts: Parts, contents: Contents) -> bool:
    """Whether nothing is to be said, written or waited for."""
    now = parts.tools.clock()
    if not contents.quiet or now >= contents.rolls_at:
        return False
    return parts.rotator.is_current(contents.token, contents.key, contents.due_at, now)


class HeldCookie:
    """What was in the cookie, and whether it is written. ``names`` are those of ours that the request carried."""

    def __init__(
        self, parts: Parts, cookie: SessionCookie, *, names: Sequence[bytes], contents: Contents | None
    ) -> None:
        self.names = names
        self.contents = contents
        self._cookie = cookie
        self._lifetime = parts.lifetime
        self._clock = parts.tools.clock

    @property
    def generation(self) -> int:
        """The generation that the browser presented; -1 for none."""
        return -1 if self.contents is None else self.contents.token["generation"]

    def copy(self, token: JWT) -> JWT:
        """A copy of the token for the application, which may change it."""
        return copy_of(token) if self.contents is None or token is not self.contents.token else self.contents.copy()

    def expires(self, token: JWT, *, rolls: bool) -> float:
        """When the session ends by the cookie that the browser will have after this response."""
        return self._end(token, rolls=rolls, now=self._clock())

    def differs(self, token: JWT, *, rolls: bool) -> bool:
        """Whether the cookie is to be written: its token changed, a newer secret is there, or ``update_age`` passed."""
        contents = self.contents
        if contents is None or not contents.newest or (token is not contents.token and token != contents.token):
            return True
        return rolls and self._clock() >= contents.rolls_at

    def lines(self, token: JWT, *, rolls: bool) -> list[bytes]:
        """The ``Set-Cookie`` values that write the token. CookieTooLargeError where it does not fit."""
        now = self._clock()
        return self._cookie.write(token, now=now, expires=self._end(token, rolls=rolls, now=now), present=self.names)

    def cleared(self) -> list[bytes]:
        """The ``Set-Cookie`` values that clear every cookie of ours that the request carried."""
        return self._cookie.clear(self.names)

    def replaced(self) -> None:
        """A sign-in begins a new session: the old cookie's times don't count."""
        self.contents = None

    def _end(self, token: JWT, *, rolls: bool, now: float) -> float:
        kept = None if self.contents is None else self.contents.expires
        if kept is not None and not (rolls and self.differs(token, rolls=rolls)):
            return kept
        rolled, end = now + self._lifetime.max_age, absolute_end(token, self._lifetime)
        return rolled if end is None else min(rolled, end)


class HeldToken:
    """The token of one request, as it changes: by the record, by the callbacks, by a sign-in or a sign-out."""

    def __init__(self, parts: Parts, cookie: HeldCookie) -> None:
        self._parts = parts
        self.cookie = cookie
        self.token: JWT | None = None
        self.kind: FailureKind | None = None  # why the access token is not fresh
        self.polls = False  # a visit keeps an idle session alive, a poll of GET session does not
        self.sole = False  # the cookie is the only holder of the newest token
        self._base: JWT | None = None  # the token before this request's own changes
        self._fresh = False  # signed in by this request
        self._clear = False
        self._looked: tuple[float, float] | None = None  # when the record was looked at, by both clocks
        self._as_it_came: JWT | None = None  # the token for which there is nothing to write

    @property
    def error(self) -> str | None:
        """What ``session.error`` says."""
        if self.token is None:
            return None
        return session_error(self.token, self.kind, self._parts.options, now=self._parts.tools.clock())

    @property
    def rolls(self) -> bool:
        """Whether this request keeps the session alive; a flagged session is not kept."""
        return not self.polls and (self.token is None or not self.token.get("error"))

    def shown(self, token: JWT) -> Session:
        """The default session."""
        rolls, contents, session = self.rolls, self.cookie.contents, None
        if contents is not None and token is contents.token and not self.cookie.differs(token, rolls=rolls):
            self._as_it_came = token
            session = contents.session() if self.kind is None and contents.quiet else None
        if session is None:
            expires, due_at = self.cookie.expires(token, rolls=rolls), refresh_at(token, self._parts.options)
            session = Session(default_session(token, expires=expires, due_at=due_at), error=self.error)
        return session

    def keep(self, token: JWT, *, unchanged: bool = False) -> None:
        """Go on with the token that was presented: it is the newest. ``unchanged``: there is nothing to write for it."""
        self.token = self._base = token
        if unchanged:
            self._as_it_came = token

    def take(self, standing: Standing, token: JWT) -> bool:
        """Go on with what the session stands at for the token that was presented; False where there is none."""
        if standing.looked:
            self.look()
        if standing.token is None:
            if standing.stale:
                self.emit("stale_cookie", token)
            ended_at = self._parts.rotator.ended_at(token)
            self.drop(clear=ended_at is not None and self._parts.tools.clock() >= ended_at + self._parts.options.grace)
            return False
        if self.token is None:
            self.keep(token)
        own = self.token or token
        if standing.token is not token:
            newest = standing.token  # of many requests, so it is never changed
            own = newest if own is self._base else rebased(newest, base=self._base or {}, own=own)
            self._base = newest
        self.kind, self.sole = standing.kind, self.sole or standing.sole
        refused_code = self._parts.options.refused_code
        refused = standing.kind == "refused" and own.get("error") != refused_code
        self.token = own | {"error": refused_code} if refused else own
        return True

    def begin(self, token: JWT) -> None:
        """Go on with the token of a new session."""
        self.cookie.replaced()
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
        self._parts.emit(
            Event(name=name, session=session_name(key_of(token["session_id"])), token=copy_of(token), **more)
        )

    def changes_cookie(self) -> bool:
        """Whether there is a reason to write or clear the cookie."""
        token = self.token
        if token is None:
            return self._clear
        if token is self._as_it_came:
            return False
        return self._fresh or self.cookie.differs(token, rolls=self.rolls)

    async def lines(self) -> list[bytes]:
        """The ``Set-Cookie`` values of the response where there is a reason for any."""
        if self.token is None:
            return self.cookie.cleared()
        token = await self._verified(self.token)
        try:
            return [] if token is None else self.cookie.lines(token, rolls=self.rolls)
        except CookieTooLargeError as error:
            logger.error("The session cookie was not written: %s", error)
            return []

    async def _verified(self, token: JWT) -> JWT | None:
        """The token that may be written now: with the newest token set, and none for a session that ended."""
        known = self._fresh or self._looked_just_now()
        standing = self._parts.rotator.glance(token, presented=False) if known else None
        if standing is None or not (self._fresh or standing.token is token):
            try:
                standing = await self._parts.rotator.look(token)
            except StoreError as error:
                logger.error("A session cookie was left out, the record could not be read: %s", where(error))
                return token if self.sole else None
        if standing.token is None or standing.token is token:
            return standing.token
        return rebased(copy_of(standing.token), base=self._base or {}, own=token)

    def _looked_just_now(self) -> bool:
        if self._looked is None:
            return False
        clock, monotonic = self._looked
        return (
            abs(self._parts.tools.clock() - clock) < FRESH_LOOK
            and self._parts.tools.monotonic() - monotonic < FRESH_LOOK
        )
