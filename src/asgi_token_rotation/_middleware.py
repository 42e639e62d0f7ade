"""The middleware: one request on one screen."""

from __future__ import annotations

from typing import Unpack

from starlette.requests import HTTPConnection

from ._lifespan import lifespan
from ._per_route import PER_ROUTE, serves_one_route
from ._runtime import TokenRotation, TokenRotationOptions
from ._visit import SCOPE_KEY
from .errors import ConfigurationError
from .types import ASGIApp, Message, Receive, Scope, Send

_FIRST_MESSAGES = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class TokenRotationMiddleware:
    """Keeps the session's cookie and puts the session at ``request.state.session``.

    Give it a ``rotation``, or the options of TokenRotation, of which it then makes one itself. ConfigurationError where
    an option is wrong, with a sentence.
    """

    def __init__(
        self, app: ASGIApp, *, rotation: TokenRotation | None = None, **options: Unpack[TokenRotationOptions]
    ) -> None:
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
        self.app = app
        self.rotation: TokenRotation = rotation if rotation is not None else TokenRotation(**options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, by the ASGI specification."""
        rotation = self.rotation
        if scope["type"] == "lifespan":
            await lifespan(self.app, scope, receive, send, drain=rotation.drain, shutdown=rotation.aclose)
            return
        if scope["type"] not in ("http", "websocket") or SCOPE_KEY in scope or rotation.skips(scope):
            await self.app(scope, receive, send)
            return

        visit = rotation.visit(scope, HTTPConnection(scope))

        async def send_with_cookie(message: Message) -> None:
            if message["type"] in _FIRST_MESSAGES and not visit.committed:
                message = await visit.commit(message)
            await send(message)

        endpoint = rotation.endpoint(scope)
        if endpoint is not None:
            await endpoint(visit, receive, send_with_cookie)
            return
        await visit.open()
        await self.app(scope, receive, send_with_cookie)
