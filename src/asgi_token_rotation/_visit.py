"""One request's visit: from the cookie that came in to the one that goes out."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from ._claims import new_token, token_set_changed
from ._headers import amended
from ._held import HeldCookie, HeldToken
from ._log import logger, where
from ._origins import header
from ._parts import Parts
from ._present import presented
from ._rotation.policy import expired
from ._user_code import UserCode
from .errors import NotSignedInError, RefreshError, ResponseStartedError, StoreError
from .types import JWT, Message, Scope, Session, SignIn

SCOPE_KEY = "asgi_token_rotation"


class Visit:
    """The session of one request or WebSocket. ``session`` is always there; ``token`` is None for an anonymous one.

    It puts itself and the session into the scope, which is never copied: outer middlewares read theirs from it.
    """

    def __init__(self, parts: Parts, scope: Scope, connection: Any) -> None:
        self.scope = scope
        self.session: Session = Session()
        self.committed: bool = False
        self._parts = parts
        self._code = UserCode(parts.callbacks, connection)
        cookie = parts.secure_cookie if parts.origins.secure(scope) else parts.plain_cookie
        self._cookie = HeldCookie(cookie, lifetime=parts.lifetime, clock=parts.tools.clock)
        self._held = HeldToken(parts, self._cookie)
        scope[SCOPE_KEY] = self
        state = scope.get("state")
        if state is None or parts.state_key in state:
            scope["state"] = dict(state or {})  # a key that is there is a foreign object, maybe one for all requests
        scope["state"][parts.state_key] = self.session

    @property
    def token(self) -> JWT | None:
        """The current claims, after refresh and callbacks."""
        return self._held.token

    def polls(self) -> None:
        """This request is a poll: it does not keep an idle session alive."""
        self._held.polls = True

    def read(self) -> JWT | None:
        """The token of the cookie, as far as this process knows of it: no callbacks, no refresh, no wait."""
        token = self._cookie_token()
        if token is not None:
            self._held.take(self._parts.rotator.glance(token), token)
        return self.token

    async def open(self) -> None:
        """The session, refreshed if it is due, and as the callbacks want it."""
        token = self._cookie_token()
        if token is None:
            return
        standing = await self._parts.rotator.ensure(token)
        if self._held.take(standing, token):
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
        now = self._parts.tools.clock()
        session_id = secrets.token_urlsafe(32)
        token = new_token(sign_in.user, sign_in.tokens, provider=provider, session_id=session_id, now=now)
        answer = await self._code.jwt(
            token, trigger="signIn", user=sign_in.user, account=account, profile=profile, is_new_user=False
        )
        if answer is not None:
            self._cookie.lines(answer, rolls=True)  # what does not fit fails here, where the application can see it
        if self.token is not None:
            await self._parts.rotator.end(self.token, reason="replaced")
        if answer is None:
            return self._become_anonymous(clear=True)
        self._held.begin(answer)
        self._held.emit("sign_in", answer, user=sign_in.user, account=account)
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
            self._cookie.lines(answer, rolls=self._held.rolls)
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
            token, min_valid_for=min_valid_for, rejected=rejected, presented=self._cookie.generation
        )
        if not self._held.take(standing, token):
            self._hand_out(Session())
            raise NotSignedInError("The session has ended, or its cookie is older than what is still served.")
        if self.token is not token and not self.committed:
            await self._apply_callbacks()
        current = self._signed_in()
        access_token = current.get("access_token")
        useless = (
            self._held.kind == "refused" or access_token == rejected or expired(current, now=self._parts.tools.clock())
        )
        if useless or not isinstance(access_token, str):
            raise RefreshError(code=self._held.error or "RefreshUnavailable")
        return access_token

    async def commit(self, message: Message) -> Message:
        """The response's first message with what is to be said about the cookie. After it, nothing can change."""
        self.committed = True
        lines = await self._held.lines()
        carried = bool(self._cookie.names)
        return amended(message, lines, carried=carried) if lines or carried else message

    def _cookie_token(self) -> JWT | None:
        if self.scope["type"] == "websocket":
            origin = header(self.scope, b"origin")
            if origin is not None and not self._parts.origins.accepts(origin, self.scope):
                return None
        token = self._cookie.read(self.scope["headers"])
        mark = self._parts.mark
        if token is not None and mark is not None and token.get("rotated_by", mark) != mark:
            self._parts.once.warn("other process", OTHER_PROCESS)
        return token

    async def _apply_callbacks(self) -> None:
        token = self._signed_in()
        answer = await self._code.jwt(token)
        if answer is None:
            await self._end("jwt_callback")
            return
        if token_set_changed(answer, token):
            answer = await self._publish_own(token, answer)
        if answer is None:
            self._become_anonymous(clear=False)
            return
        self._held.token = answer
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
        token = self._signed_in()
        expires = self._cookie.expires(token, rolls=self._held.rolls)
        default = presented(token, error=self._held.error, expires=expires, options=self._parts.options)
        return self._hand_out(await self._code.session(default, token))

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


OTHER_PROCESS = (
    "A cookie was rotated by another process (another worker, or this one before a restart), but the store is memory://,"
    ' which each process has for itself: rotations get lost. Use store="sqlite:///path.db" on one host, or'
    ' store="redis://…" on several.'
)
OWN_ROTATION = (
    "The jwt callback changed the token set itself; that was published as a rotation. Give the provider a refresh"
    " function instead: it is called once, however many requests there are."
)
