"""One request's hold on its session: from the cookie that came in to the one that goes out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ._claims import copy_of, new_token, rebased, token_set_changed
from ._cookies.session_cookie import SessionCookie
from ._headers import amended
from ._held import HeldCookie
from ._log import Once, logger, where
from ._origins import Origins, header
from ._present import presented
from ._rotation.policy import expired, session_error
from ._rotation.rotator import Rotator, Standing
from ._rotation.sealing import key_of, session_name
from ._user_code import UserCode
from .errors import CookieTooLargeError, NotSignedInError, RefreshError, ResponseStartedError, StoreError
from .options import Lifetime, RefreshOptions
from .types import JWT, Callbacks, Event, EventName, FailureKind, Message, Scope, Session, SignIn

SCOPE_KEY = "asgi_token_rotation"
FRESH_LOOK = 1.0  # seconds for which a look at the record is good enough for a cookie write


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What all visits share."""

    origins: Origins
    secure_cookie: SessionCookie
    plain_cookie: SessionCookie
    rotator: Rotator
    callbacks: Callbacks
    options: RefreshOptions
    lifetime: Lifetime
    emit: Callable[[Event], None]
    once: Once
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    state_key: str
    mark: str | None  # of this process, where the store is not shared


class Visit:
    """The session of one request or WebSocket. ``session`` is always there; ``token`` is None for an anonymous one.

    It puts itself and the session into the scope, which is never copied: outer middlewares read theirs from it.
    """

    def __init__(self, parts: Parts, scope: Scope, connection: Any) -> None:
        self.scope = scope
        self.session = Session()
        self.token: JWT | None = None
        self.committed = False
        self.rolls = True  # a visit keeps an idle session alive, a poll of GET session does not
        self._parts = parts
        self._code = UserCode(parts.callbacks, connection)
        cookie = parts.secure_cookie if parts.origins.secure(scope) else parts.plain_cookie
        self._cookie = HeldCookie(cookie, lifetime=parts.lifetime, clock=parts.clock)
        self._base: JWT = {}  # the token before this request's own changes
        self._kind: FailureKind | None = None  # why the access token is not fresh
        self._fresh = False  # signed in by this request
        self._clear = False
        self._sole = False  # the cookie is the only holder of the newest token
        self._looked: tuple[float, float] | None = None  # when the record was looked at, by both clocks
        scope[SCOPE_KEY] = self
        state = scope.get("state")
        if state is None or parts.state_key in state:
            scope["state"] = dict(state or {})  # a key that is there is a foreign object, maybe one for all requests
        scope["state"][parts.state_key] = self.session

    @property
    def error(self) -> str | None:
        """What ``session.error`` says."""
        if self.token is None:
            return None
        return session_error(self.token, self._kind, self._parts.options, now=self._parts.clock())

    def read(self) -> JWT | None:
        """The token of the cookie, as far as this process knows of it: no callbacks, no refresh, no wait."""
        token = self._cookie_token()
        if token is not None:
            self._take(self._parts.rotator.glance(token), token)
        return self.token

    async def open(self) -> None:
        """The session, refreshed if it is due, and as the callbacks want it."""
        token = self._cookie_token()
        if token is None:
            return
        standing = await self._parts.rotator.ensure(token)
        if self._take(standing, token):
            await self._apply_callbacks()
        elif standing.stale and self._parts.options.on_stale == "end_session":
            await self._parts.rotator.end(token, reason="stale_cookie")

    async def sign_in(
        self,
        sign_in: SignIn,
        *,
        provider: str | None,
        account: Mapping[str, Any] | None = None,
        profile: Mapping[str, Any] | None = None,
    ) -> Session:
        """Begin a session, in place of the one that was there. CookieTooLargeError where it does not fit."""
        self._must_not_have_started("sign_in")
        now = self._parts.clock()
        token = new_token(
            sign_in.user, sign_in.tokens, provider=provider, session_id=secrets.token_urlsafe(32), now=now
        )
        answer = await self._code.jwt(
            token, trigger="signIn", user=sign_in.user, account=account, profile=profile, is_new_user=False
        )
        if answer is not None:
            self._cookie.lines(answer, rolls=True)  # what does not fit fails here, where the application can see it
        if self.token is not None:
            await self._parts.rotator.end(self.token, reason="replaced")
        if answer is None:
            return self._become_anonymous(clear=True)
        self._cookie.replaced()
        self._fresh, self._clear, self._kind = True, False, None
        self.token = self._base = answer
        self._emit("sign_in", answer, user=sign_in.user, account=account)
        return await self._show()

    async def update(self, data: Any) -> Session:
        """Run the ``jwt`` callback with ``trigger="update"``, and publish what it changed."""
        self._must_not_have_started("update_session")
        token = self._signed_in()
        if not self._code.has_jwt:
            return self.session
        answer = await self._code.jwt(token, trigger="update", session=data)
        if answer is None:
            return await self._end("jwt_callback")
        if answer != token:
            self._cookie.lines(answer, rolls=self._rolling)
            self.token = self._base = await self._parts.rotator.update(token, answer)
            self._note_look()
        return await self._show()

    async def sign_out(self) -> JWT | None:
        """End the session and clear its cookie. Answers the token that it had."""
        self._must_not_have_started("sign_out")
        token = self.token
        if token is not None:
            await self._parts.rotator.end(token, reason="sign_out")
            self._emit("sign_out", token)
        self._become_anonymous(clear=True)
        return token

    async def access_token(self, *, min_valid_for: float, rejected: str | None) -> str:
        """An access token that is good for so long, refreshed if need be."""
        token = self._signed_in()
        standing = await self._parts.rotator.ensure(token, min_valid_for=min_valid_for, rejected=rejected)
        if not self._take(standing, token):
            raise NotSignedInError("The session has ended, or its cookie is older than what is still served.")
        if self.token is not token and not self.committed:
            await self._apply_callbacks()
        current = self._signed_in()
        access_token = current.get("access_token")
        useless = self._kind == "refused" or access_token == rejected or expired(current, now=self._parts.clock())
        if useless or not isinstance(access_token, str):
            raise RefreshError(code=self.error or "RefreshUnavailable")
        return access_token

    async def commit(self, message: Message) -> Message:
        """The response's first message with what is to be said about the cookie. After it, nothing can change."""
        self.committed = True
        lines = await self._lines()
        return amended(message, lines, carried=bool(self._cookie.names)) if lines or self._cookie.names else message

    def _cookie_token(self) -> JWT | None:
        if self.scope["type"] == "websocket":
            origin = header(self.scope, b"origin")
            if origin is not None and not self._parts.origins.accepts(origin, self.scope):
                return None
        token = self._cookie.read(self.scope["headers"])
        if (
            token is not None
            and self._parts.mark is not None
            and token.get("rotated_by", self._parts.mark) != self._parts.mark
        ):
            self._parts.once.warn("other process", OTHER_PROCESS)
        return token

    def _take(self, standing: Standing, presented_token: JWT) -> bool:
        """Go on with what the session stands at; False where there is none."""
        if standing.looked:
            self._note_look()
        if standing.token is None:
            if standing.stale:
                self._emit("stale_cookie", presented_token)
            ended_at = self._parts.rotator.ended_at(presented_token)
            self._become_anonymous(
                clear=ended_at is not None and self._parts.clock() >= ended_at + self._parts.options.grace
            )
            return False
        if self.token is None:
            self.token = self._base = presented_token
        if standing.token is not presented_token:
            newest = copy_of(standing.token)
            self.token, self._base = rebased(newest, base=self._base, own=self.token), newest
        self._kind, self._sole = standing.kind, self._sole or standing.sole
        if standing.kind == "refused" and self.token.get("error") != self._parts.options.refused_code:
            self.token = self.token | {"error": self._parts.options.refused_code}
        return True

    async def _apply_callbacks(self) -> None:
        token = self._signed_in()
        answer = await self._code.jwt(token)
        if answer is None:
            await self._end("jwt_callback")
            return
        if token_set_changed(answer, token):
            self._parts.once.warn("own rotation", OWN_ROTATION)
            try:
                answer = await self._parts.rotator.update(token, answer)
                self._base = answer
            except NotSignedInError:
                self._become_anonymous(clear=False)
                return
            except StoreError as error:
                logger.error("A token set from the jwt callback could not be published: %s", where(error))
                self._sole = True
        self.token = answer
        await self._show()

    async def _show(self) -> Session:
        """The session anew, in the hands of application and helpers."""
        token = self._signed_in()
        default = presented(
            token,
            error=self.error,
            expires=self._cookie.expires(token, rolls=self._rolling),
            options=self._parts.options,
        )
        return self._hand_out(await self._code.session(default, token))

    def _hand_out(self, session: Session) -> Session:
        self.session = session
        self.scope["state"][self._parts.state_key] = session
        return session

    @property
    def _rolling(self) -> bool:
        return self.rolls and not (self.token or {}).get("error")

    def _become_anonymous(self, *, clear: bool) -> Session:
        self.token, self._fresh, self._kind, self._clear = None, False, None, clear
        return self._hand_out(Session())

    async def _end(self, reason: str) -> Session:
        await self._parts.rotator.end(self._signed_in(), reason=reason)
        return self._become_anonymous(clear=True)

    def _signed_in(self) -> JWT:
        if self.token is None:
            raise NotSignedInError("Nobody is signed in on this connection.")
        return self.token

    def _must_not_have_started(self, helper: str) -> None:
        if self.committed:
            raise ResponseStartedError(
                f"{helper} was called after the response had started, so the cookie can't change. Call it earlier."
            )

    def _emit(self, name: EventName, token: JWT, **more: Any) -> None:
        self._parts.emit(Event(name=name, session=session_name(key_of(token["session_id"])), token=token, **more))

    def _note_look(self) -> None:
        self._looked = (self._parts.clock(), self._parts.monotonic())

    async def _lines(self) -> list[bytes]:
        if self.token is None:
            return self._cookie.cleared() if self._clear else []
        if not self._fresh and not self._cookie.differs(self.token, rolls=self._rolling):
            return []
        token = await self._verified(self.token)
        try:
            return [] if token is None else self._cookie.lines(token, rolls=self._rolling)
        except CookieTooLargeError as error:
            logger.error("The session cookie was not written: %s", error)
            return []

    async def _verified(self, token: JWT) -> JWT | None:
        """The token that may be written now: with the newest token set, and none for a session that ended."""
        standing = self._parts.rotator.glance(token)
        if not self._fresh and not (standing.token is token and self._looked_just_now()):
            try:
                standing = await self._parts.rotator.look(token)
            except StoreError as error:
                logger.error("A session cookie was left out, the record could not be read: %s", where(error))
                return token if self._sole else None
        if standing.token is None or standing.token is token:
            return standing.token
        return rebased(copy_of(standing.token), base=self._base, own=token)

    def _looked_just_now(self) -> bool:
        if self._looked is None:
            return False
        clock, monotonic = self._looked
        return abs(self._parts.clock() - clock) < FRESH_LOOK and self._parts.monotonic() - monotonic < FRESH_LOOK


OTHER_PROCESS = (
    "A cookie was rotated by another process (another worker, or this one before a restart), but the store is memory://, which each"
    ' process has for itself: rotations get lost. Use store="sqlite:///path.db" on one host, or store="redis://…" on several.'
)
OWN_ROTATION = (
    "The jwt callback changed the token set itself; that was published as a rotation. Give the provider a refresh function instead:"
    " it is called once, however many requests there are."
)
