"""The middleware: one request on one screen."""

from __future__ import annotations

import secrets
from typing import Unpack

from ._checks import check_middleware
from ._cookies import chunks
from ._lifespan import lifespan
from ._per_route import PER_ROUTE, serves_one_route
from ._runtime import TokenRotation, TokenRotationOptions
from ._start_up import refusing, server_starts_up
from ._visit import SCOPE_KEY, Visit
from .errors import ConfigurationError
from .types import ASGIApp, Message, Receive, Scope, Send

_CONNECTIONS = ("http", "websocket")
_FIRST_MESSAGES = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class TokenRotationMiddleware:
    """Keeps the session's cookie and puts the session at ``request.state.session``.

    Give it a ``rotation``, or the options of TokenRotation, of which it then makes one itself. ConfigurationError where
    an option is wrong, with a sentence.
    """

    def __init__(
        self, app: ASGIApp, *, rotation: TokenRotation | None = None, **options: Unpack[TokenRotationOptions]
    ) -> None:
        self.app: ASGIApp = app
        try:
            self.rotation: TokenRotation = _rotation(app, rotation, options)
        except ConfigurationError as error:
            if not server_starts_up():
                raise
            self.app = refusing(error)
            self.rotation = TokenRotation(secret=secrets.token_hex(32), skip=lambda _: True)  # stands in until the end
        self._parts = self.rotation.parts
        self._skip = self.rotation.skip
        self._base_path = self.rotation.base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, by the ASGI specification."""
        if scope["type"] not in _CONNECTIONS or SCOPE_KEY in scope or (self._skip is not None and self._skip(scope)):
            await self._leave_alone(scope, receive, send)
            return
        visit = Visit(self._parts, scope)

        async def send_with_cookie(message: Message) -> None:
            if not visit.committed and message["type"] in _FIRST_MESSAGES:
                message = visit.commit_unchanged(message) or await visit.commit(message)
            await send(message)

        if self._base_path in scope["path"] and (endpoint := self.rotation.endpoint(scope)) is not None:
            await endpoint(visit, receive, send_with_cookie)
            return
        crumbs = chunks.crumbs(scope["headers"])
        if (crumbs or scope["type"] == "websocket") and (contents := visit.arrives(crumbs)) is not None:
            await visit.go_on(contents)
        await self.app(scope, receive, send_with_cookie)
        visit.leave()

    async def _leave_alone(self, scope: Scope, receive: Receive, send: Send) -> None:
        rotation = self.rotation
        if scope["type"] == "lifespan":
            drain, shutdown, let_go = rotation.drain, rotation.aclose, rotation.let_go
            await lifespan(self.app, scope, receive, send, drain=drain, shutdown=shutdown, let_go=let_go)
            return
        rotation.pass_by(scope)
        await self.app(scope, receive, send)


def _rotation(app: ASGIApp, rotation: TokenRotation | None, options: TokenRotationOptions) -> TokenRotation:
    """The rotation that was given, or one of these options. ConfigurationError where it must not be, or can't."""
    check_middleware(app, rotation, kind=TokenRotation, given=options, known=TokenRotationOptions.__annotations__)
    if rotation is not None and options:
        raise ConfigurationError(
            f"rotation= came together with {', '.join(options)}. Give these to TokenRotation(…) instead."
        )
    if rotation is None and serves_one_route(app):
        raise ConfigurationError(PER_ROUTE)
    if rotation is None and "secret" not in options:
        raise ConfigurationError(
            "TokenRotationMiddleware has neither rotation nor secret: expected rotation=TokenRotation(…), or its"
            " options, with secret=… among them."
        )
    return rotation if rotation is not None else TokenRotation(**options)
