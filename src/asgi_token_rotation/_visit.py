"""One request's visit: from the cookie that came in to the one that goes out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from ._claims import new_token, token_set_changed
from ._headers import amended
from ._held import HeldCookie, HeldToken
from ._log import logger, where
from ._mistakes import check_sign_in, look_at_address, look_at_anonymous
from ._origins import header
from ._parts import Parts
from ._rotation.policy import expired
from .errors import NotSignedInError, RefreshError, ResponseStartedError, StoreError
from .types import JWT, Message, Scope, Session, SignIn

SCOPE_KEY = "asgi_token_rotation"
SKIPPED_KEY = "asgi_token_rotation.skipped"  # in the scope of a request that ``skip`` told us to leave alone


class Visit:
    """The session of one request or WebSocket. ``session`` is always there; ``token`` is None for an anonymous one.

    It puts itself and the session into the scope, which is never copied: outer middlewares read theirs from it.
    """

    __slots__ = ("_connect", "_connection", "_holds", "_parts", "committed", "scope", "session")

    def __init__(self, parts: Parts, scope: Scope, connect: Callable[[Scope], Any]) -> None:
        self.scope: Scope = scope
        self.session: Session = Session()
        self.committed: bool = False
        self._parts = parts
        self._connect = connect
        self._connection: Any = None
        self._holds: HeldToken | None = None  # made when there is something to hold
        scope[SCOPE_KEY] = self
        state = scope.get("state")
        if state is None or parts.state_key in state:
            state = scope["state"] = dict(state or {})  # a key that is there is foreign, maybe one for all requests
        state[parts.state_key] = self.session

    def __copy__(self) -> Visit:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Visit:
        # hypercorn's ProxyFixMiddleware deep-copies the scope; a sign-out on the copy must still be this response's.
        return self

    @property
    def token(self) -> JWT | None:
        """The current claims, after refresh and callbacks."""
        return None if self._holds is None else self._holds.token

    @property
    def _held(self) -> HeldToken:
        if self._holds is None:
            self._holds = HeldToken(self._parts, HeldCookie(self._parts, self._parts.cookie(self.scope)))
        return self._holds

    def belongs_to(self, parts: Parts) -> bool:
        """Whether it is a visit of the runtime that has these parts."""
        return self._parts is parts

    def polls(self) -> None:
        """This request is a poll: it does not keep an idle session alive."""
        self._held.polls = True

    def read(self) -> JWT | None:
        """The token of the cookie, as far as this process knows of it: no callbacks, no refresh, no wait."""
        token = self._cookie_token()
        if token is not None:
            self._held.take(self._parts.rotator.glance(token), token)
        return self.token

    def presented(self) -> JWT | None:
        """The token of the cookie, as it came; None for an anonymous request."""
        token = self._cookie_token()
        if token is None:
            look_at_anonymous(self._parts, self.scope, names=() if self._holds is None else self._holds.cookie.names)
        return token

    async def open(self) -> None:
        """The session, refreshed if it is due, and as the callbacks want it."""
        token = self.presented()
        if token is not None:
            await self.go_on(token)

    async def go_on(self, token: JWT) -> None:
        """As ``open``, with the token that was ``presented``."""
        held, rotator = self._held, self._parts.rotator
        if held.cookie.is_current(rotator):
            held.keep(token)
            await self._apply_callbacks(held, token)
            return
        standing = await rotator.ensure(token)
        if held.take(standing, token):
            await self._apply_callbacks(held, self._signed_in())
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
        check_sign_in(sign_in)
        look_at_address(self._parts, self.scope)
        now = self._parts.tools.clock()
        session_id = secrets.token_urlsafe(32)
        token = new_token(sign_in.user, sign_in.tokens, provider=provider, session_id=session_id, now=now)
        answer = await self._parts.code.jwt(
            token, trigger="signIn", user=sign_in.user, account=account, profile=profile, is_new_user=False,
            connection=self._connected(),
        )  # fmt: skip
        if answer is not None:
            self._held.cookie.lines(
                answer, rolls=True
            )  # what does not fit fails here, where the application can see it
        if self.token is not None:
            await self._parts.rotator.end(self.token, reason="replaced")
        if answer is None:
            self._parts.once.warn("no token", ENDED_AT_ONCE)
            return self._become_anonymous(clear=True)
        self._held.begin(answer)
        self._held.emit("sign_in", answer, user=sign_in.user, account=account)
        return await self._show()

    async def update(self, data: Any) -> Session:
        """Run the ``jwt`` callback with ``trigger="update"``, and publish what it changed."""
        self._must_not_have_started("update_session")
        token = self._signed_in()
        if not self._parts.code.has_jwt:
            return self.session
        answer = await self._parts.code.jwt(token, trigger="update", session=data, connection=self._connected())
        if answer is None:
            return await self._end("jwt_callback")
        if answer != token:
            self._held.cookie.lines(answer, rolls=self._held.rolls)
            self._held.published(await self._parts.rotator.update(token, answer))
        return await self._show()

    async def sign_out(self) -> JWT | None:
        """End the session and clear its cookie. Answers the token that it had."""
        self._must_not_have_started("sign_out")
        token = self.token
        if token is not None:
            await self._parts.rotator.end(token, reason="sign_out")
            self._held.emit("sign_out", token)
        self._become_anonymous(clear=True)
        return token

    async def access_token(self, *, min_valid_for: float, rejected: str | None) -> str:
        """An access token that is good for so long, refreshed if need be."""
        token = self._signed_in()
        standing = await self._parts.rotator.ensure(
            token, min_valid_for=min_valid_for, rejected=rejected, presented=self._held.cookie.generation
        )
        if not self._held.take(standing, token):
            self._hand_out(Session())
            raise NotSignedInError("The session has ended, or its cookie is older than what is still served.")
        if self.token is not token and not self.committed:
            await self._apply_callbacks(self._held, self._signed_in())
        current = self._signed_in()
        access_token = current.get("access_token")
        useless = (
            self._held.kind == "refused" or access_token == rejected or expired(current, now=self._parts.tools.clock())
        )
        if useless or not isinstance(access_token, str):
            raise RefreshError(code=self._held.error or "RefreshUnavailable")
        return access_token

    def commit_unchanged(self, message: Message) -> Message | None:
        """As ``commit``, where the cookie stays as it is, and so there is nothing to wait for; else None."""
        held = self._holds
        if held is not None and held.changes_cookie():
            return None
        self.committed = True
        return message if held is None or not held.cookie.names else amended(message, (), carried=True)

    async def commit(self, message: Message) -> Message:
        """The response's first message with what is to be said about the cookie. After it, nothing can change."""
        self.committed = True
        lines, carried = await self._held.lines(), bool(self._held.cookie.names)
        return amended(message, lines, carried=carried) if lines or carried else message

    def leave(self) -> None:
        """The application is done. Without the circle of scope and visit the memory is free at once, while it is warm."""
        self._connection, self.scope = None, self.scope.copy()
        del self.scope[SCOPE_KEY]

    def _cookie_token(self) -> JWT | None:
        if self.scope["type"] == "websocket":
            origin = header(self.scope, b"origin")
            if origin is not None and not self._parts.origins.accepts(origin, self.scope):
                return None
        parts = self._parts
        now, cookie = parts.tools.clock(), parts.cookie(self.scope)
        opened, names = cookie.read(self.scope["headers"], now=now)
        if not names:
            return None
        if self._holds is None:
            self._holds = HeldToken(parts, HeldCookie(parts, cookie))
        token = self._holds.cookie.take(opened, names=names, now=now)
        mark = parts.mark
        if token is not None and mark is not None and token.get("rotated_by", mark) != mark:
            parts.once.warn("other process", OTHER_PROCESS)
        return token

    async def _apply_callbacks(self, held: HeldToken, token: JWT) -> None:
        answer = await self._parts.code.jwt(token, copy=held.cookie.copy(token), connection=self._connected())
        if answer is None:
            await self._end("jwt_callback")
            return
        if answer is not token and token_set_changed(answer, token):
            answer = await self._publish_own(token, answer)
        if answer is None:
            self._become_anonymous(clear=False)
            return
        held.token = answer
        await self._show()

    async def _publish_own(self, token: JWT, answer: JWT) -> JWT | None:
        """Publish the token set that a ``jwt`` callback brought; None where the session ended meanwhile."""
        self._parts.once.warn("own rotation", OWN_ROTATION)
        try:
            self._held.published(await self._parts.rotator.update(token, answer))
        except NotSignedInError:
            return None
        except StoreError as error:
            logger.error("A token set from the jwt callback could not be published: %s", where(error))
            self._held.sole, self._held.kind = True, None
            return {claim: value for claim, value in answer.items() if claim != "error"}
        return self.token

    async def _show(self) -> Session:
        """The session anew, in the hands of application and helpers."""
        token, held, connection = self._signed_in(), self._held, self._connected()
        copy, code = held.cookie.copy(token), self._parts.code
        return self._hand_out(await code.session(held.shown(token), token, copy=copy, connection=connection))

    def _connected(self) -> Any:
        """The connection that callbacks get: one object for the whole request."""
        if self._connection is None:
            self._connection = self._connect(self.scope)
        return self._connection

    def _hand_out(self, session: Session) -> Session:
        self.session = session
        self.scope["state"][self._parts.state_key] = session
        return session

    def _become_anonymous(self, *, clear: bool) -> Session:
        self._held.drop(clear=clear)
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


def hide_session(scope: Scope, *, state_key: str) -> None:
    """Take out another request's session where a skipped one shares its state (asgi-lifespan has one for all)."""
    state = scope.get("state")
    if state and isinstance(state.get(state_key), Session):
        scope["state"] = {key: value for key, value in state.items() if key != state_key}


OTHER_PROCESS = (
    "A cookie was rotated by another process (another worker, or this one before a restart), but the store is memory://,"
    ' which each process has for itself: rotations get lost. Use store="sqlite:///path.db" on one host, or'
    ' store="redis://…" on several.'
)
ENDED_AT_ONCE = (
    "The jwt callback answered None at a sign-in, which ends the session before it began: expected the token. Return"
    " params.token, also where there is nothing to add."
)
OWN_ROTATION = (
    "The jwt callback changed the token set itself; that was published as a rotation. Give the provider a refresh"
    " function instead: it is called once, however many requests there are."
)
