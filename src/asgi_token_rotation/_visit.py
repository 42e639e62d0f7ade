"""One request's visit: from the cookie that came in to the one that goes out."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from types import CoroutineType
from typing import Any

from . import _mistakes
from ._claims import new_token, token_set_changed
from ._contents import Contents
from ._cookies import chunks
from ._headers import amended, varied
from ._held import HeldCookie, HeldToken, goes_on_as_it_came, unpacked
from ._log import logger, where
from ._parts import Parts
from ._present import anonymous_session
from ._rotation.policy import expired
from ._user_code import jwt_params, session_params, settled
from .errors import NotSignedInError, RefreshError, ResponseStartedError, StoreError
from .types import JWT, Message, Scope, Session, SignIn

SCOPE_KEY = "asgi_token_rotation"
SKIPPED_KEY = "asgi_token_rotation.skipped"  # in the scope of a request that ``skip`` told us to leave alone


class Visit:
    """The session of one request or WebSocket. ``session`` is always there; ``token`` is None for an anonymous one.

    It puts itself and the session into the scope, which is never copied: outer middlewares read theirs from it.
    """

    def __init__(self, parts: Parts, scope: Scope) -> None:
        self._parts = parts
        self.scope: Scope = scope
        self.session = anonymous_session()
        self.committed = False
        self._connection: Any = None
        self._names: Sequence[bytes] = ()  # of the cookies of ours that the request carried
        self._arrived: Contents | None = None  # what they held
        self._keeps = False  # the session goes on with just that
        self._holds: HeldToken | None = None  # made where there is more to hold
        self._helps = False  # a helper was called, and may be under way when the application is done
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
        if self._holds is not None:
            return self._holds.token
        return self._arrived.token if self._keeps and self._arrived is not None else None

    @property
    def _held(self) -> HeldToken:
        if self._holds is None:
            parts, arrived = self._parts, self._arrived
            cookie = HeldCookie(parts, parts.cookie(self.scope), names=self._names, contents=arrived)
            self._holds = HeldToken(parts, cookie)
            if self._keeps and arrived is not None:
                self._holds.keep(arrived.token, unchanged=True)
        return self._holds

    def belongs_to(self, parts: Parts) -> bool:
        """Whether it is a visit of the runtime that has these parts."""
        return self._parts is parts

    def read(self) -> JWT | None:
        """The token of the cookie, as far as this process knows of it: no callbacks, no refresh, no wait."""
        contents = self.arrives(chunks.crumbs(self.scope["headers"]))
        if contents is not None:
            self._held.take(self._parts.rotator.glance(contents.token), contents.token)
        return self.token

    def arrives(self, crumbs: list[bytes]) -> Contents | None:
        """What the request's cookie holds, as it came; None for an anonymous request."""
        scope, parts = self.scope, self._parts
        if scope["type"] == "websocket" and _mistakes.foreign_socket(parts, scope):
            return None
        now = parts.tools.clock()
        opened, self._names = parts.cookie(scope).read(crumbs, now)
        contents: Contents | None = None if opened is None else opened.contents or unpacked(parts, opened)
        if contents is None or now >= contents.ends:
            _mistakes.look_at_anonymous(parts, scope, names=self._names)
            return None
        self._arrived = contents
        return contents

    async def open(self, *, polls: bool = False) -> None:
        """The session, refreshed if it is due, and as the callbacks want it. A poll keeps no idle session alive."""
        contents = self.arrives(chunks.crumbs(self.scope["headers"]))
        if contents is not None:
            self._held.polls = polls
            await self._go_on_anew(contents.token)

    async def go_on(self, contents: Contents) -> None:
        """As ``open``, with what ``arrives``: in few steps where the session is to go on as it came, as nearly always."""
        if self._holds is not None or not goes_on_as_it_came(self._parts, contents):
            await self._go_on_anew(contents.token)
            return
        self._keeps = True
        code, token, copy, connection = self._parts.code, contents.token, contents.copy(), self._connected()
        callbacks = code.callbacks
        if callbacks.jwt is not None:
            called: Any = callbacks.jwt(jwt_params(copy, connection))
            answer: Any = await (called if called.__class__ is CoroutineType else settled(called))
            if answer.__class__ is not dict or answer != token or self._holds is not None:  # or it called a helper
                await self._go_on_as(code.judged(answer, token), token)
                return
            if answer is not copy:  # what it did to that one was for itself
                copy = contents.copy()
        session = contents.session()
        if callbacks.session is not None:
            called = callbacks.session(session_params(session, copy, connection))
            answer = await (called if called.__class__ is CoroutineType else settled(called))
            session = code.shown(answer, session, token)
        self.session = self.scope["state"][self._parts.state_key] = session

    async def _go_on_anew(self, token: JWT) -> None:
        standing = await self._parts.rotator.ensure(token)
        if self._held.take(standing, token):
            await self._apply_callbacks(self._signed_in())
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
        self._begin("sign_in")
        _mistakes.check_sign_in(sign_in)
        _mistakes.look_at_address(self._parts, self.scope)
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
            _mistakes.warn_of_a_missing_return(self._parts)
            return self._become_anonymous(clear=True)
        self._held.begin(answer)
        self._held.emit("sign_in", answer, user=sign_in.user, account=account)
        return await self._show()

    async def update(self, data: Any) -> Session:
        """Run the ``jwt`` callback with ``trigger="update"``, and publish what it changed."""
        self._begin("update_session")
        token = self._signed_in()
        if self._parts.code.callbacks.jwt is None:
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
        self._begin("sign_out")
        token = self.token
        if token is not None:
            await self._parts.rotator.end(token, reason="sign_out")
            self._held.emit("sign_out", token)
        self._become_anonymous(clear=True)
        return token

    async def access_token(self, *, min_valid_for: float, rejected: str | None) -> str:
        """An access token that is good for so long, refreshed if need be."""
        self._helps = True
        token = self._signed_in()
        standing = await self._parts.rotator.ensure(
            token, min_valid_for=min_valid_for, rejected=rejected, presented=self._held.cookie.generation
        )
        if not self._held.take(standing, token):
            self._hand_out(Session())
            raise NotSignedInError("The session has ended, or its cookie is older than what is still served.")
        if self.token is not token and not self.committed:
            await self._apply_callbacks(self._signed_in())
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
        if self._holds is not None and self._holds.changes_cookie():
            return None
        self.committed = True
        return varied(message) if self._names else message

    async def commit(self, message: Message) -> Message:
        """The response's first message with what is to be said about the cookie. After it, nothing can change."""
        self.committed = True
        lines, carried = await self._held.lines(), bool(self._names)
        return amended(message, lines, carried=carried) if lines or carried else message

    def leave(self) -> None:
        """The application is done. Without the circle of scope and visit the memory is free at once, while it is warm."""
        if not self._helps:
            self._connection = self.scope = None  # a helper that is called later brings its own

    async def _apply_callbacks(self, token: JWT) -> None:
        copy = self._held.cookie.copy(token)
        await self._go_on_as(await self._parts.code.jwt(token, copy=copy, connection=self._connected()), token)

    async def _go_on_as(self, answer: JWT | None, token: JWT) -> None:
        """Go on with what the ``jwt`` callback made of the token; None ends the session."""
        if self.token is None:  # by sign_out, which the callback itself called
            return
        if answer is None:
            await self._end("jwt_callback")
            return
        if answer is not token and token_set_changed(answer, token):
            answer = await self._publish_own(token, answer)
        if answer is None:
            self._become_anonymous(clear=False)
            return
        self._held.token = answer
        await self._show()

    async def _publish_own(self, token: JWT, answer: JWT) -> JWT | None:
        """Publish the token set that a ``jwt`` callback brought; None where the session ended meanwhile."""
        _mistakes.warn_of_own_rotation(self._parts)
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
            self._connection = self._parts.connect(self.scope)
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

    def _begin(self, helper: str) -> None:
        self._helps = True
        if self.committed:
            raise ResponseStartedError(
                f"{helper} was called after the response had started, so the cookie can't change. Call it earlier."
            )
