"""A plugin, a guard and a dependency for Litestar.

::

    rotation = TokenRotation(secret=…, providers=[…])
    app = Litestar(route_handlers=[me], plugins=[TokenRotationPlugin(rotation)])

    @get("/me", guards=[requires_session])
    async def me(session: NamedDependency[Session]) -> Session: ...

Litestar answers what it has no route for by itself, outside of middlewares, so a 404 carries no cookie. Where that
matters, wrap the application instead: ``TokenRotationMiddleware(Litestar(…), rotation=rotation)``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.enums import HttpMethod, ScopeType
from litestar.exceptions import NotAuthorizedException, NotFoundException, WebSocketException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.plugins import InitPlugin
from litestar.types import Scope as LitestarScope

from .._middleware import TokenRotationMiddleware
from .._runtime import TokenRotation
from .._session import get_session
from ..types import ASGIApp, Receive, Scope, Send, Session
from ._access import refusal

_ENDPOINTS = "asgi_token_rotation_endpoints"  # the key in a route handler's opt that says that it is ours
_METHODS = [HttpMethod.GET, HttpMethod.HEAD, HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH, HttpMethod.DELETE]
_POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1


def requires_session(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """A guard that lets signed-in people pass. Anybody else gets a 401; a WebSocket is closed with 1008.

    A session whose refresh token was refused for good does not pass; one whose provider is only unavailable does, and
    its ``error`` says so. MiddlewareMissingError where the plugin, or the middleware, is missing.
    """
    reason = refusal(get_session(connection))
    if reason is None:
        return
    if connection.scope["type"] == ScopeType.WEBSOCKET:
        raise WebSocketException(detail=reason, code=_POLICY_VIOLATION)
    raise NotAuthorizedException(detail=reason)


def provide_session(scope: LitestarScope) -> Session:
    """What the dependency ``session`` gives: the session, which is empty for somebody anonymous."""
    return get_session(scope)


class TokenRotationPlugin(InitPlugin):
    """Brings middleware, endpoints, the dependency ``session`` and the shutdown into a Litestar application.

    The middleware comes first, outside of the application's own. A dependency called ``session`` that the application
    has itself stays; the session is at ``request.state.session`` in any case.
    """

    def __init__(self, rotation: TokenRotation) -> None:
        self.rotation = rotation

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Litestar's hook."""
        app_config.middleware = [DefineMiddleware(_Middleware, rotation=self.rotation), *app_config.middleware]
        app_config.route_handlers = [*app_config.route_handlers, _endpoints_below(self.rotation.base_path)]
        own = {"session": Provide(provide_session, sync_to_thread=False)}
        app_config.dependencies = own | dict(app_config.dependencies)
        # Last in, first out: refreshes under way end before the application closes the client that they use.
        app_config.lifespan.append(self._lifespan)  # pyright: ignore[reportUnknownMemberType]  # litestar's own
        return app_config

    @asynccontextmanager
    async def _lifespan(self, _app: Litestar) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.rotation.aclose()


class _Middleware:
    """Gives the endpoints the path that they go by: Litestar has taken the root path out of it, and left that alone."""

    def __init__(self, app: ASGIApp, *, rotation: TokenRotation) -> None:
        self.app = TokenRotationMiddleware(app, rotation=rotation)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["route_handler"].opt.get(_ENDPOINTS):
            scope["path"] = str(scope.get("root_path", "")).rstrip("/") + scope["path"]
        await self.app(scope, receive, send)


def _endpoints_below(base_path: str) -> HTTPRouteHandler:
    """Routes that lead requests to our middleware, which answers them; what it does not know is not found.

    Not a mount: Litestar's mounts match by prefix, so that one at "/api/auth" would swallow "/api/authors/{id}".
    """

    async def not_found() -> None:
        raise NotFoundException

    paths = [base_path, f"{base_path}/{{rest:path}}"]
    return HTTPRouteHandler(paths, http_method=_METHODS, include_in_schema=False, opt={_ENDPOINTS: True})(not_found)
