"""The same small application in each framework, with the middleware in each way of putting it there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import litestar
from fastapi import FastAPI
from litestar.middleware import DefineMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_token_rotation import Credentials, TokenRotation, TokenRotationMiddleware, sign_in
from asgi_token_rotation.integrations.litestar import TokenRotationPlugin
from asgi_token_rotation.testing import Clock, TokenServer
from asgi_token_rotation.types import ASGIApp, Receive, Scope, Send

SECRET = "a secret of the tests, long enough for everybody"
COOKIE = "authjs.session-token"
Options = Mapping[str, Any]


@dataclass(slots=True)
class World:
    """What the applications share with a test: the token server, and what they noticed."""

    clock: Clock = field(default_factory=Clock)
    server: TokenServer = field(init=False)
    lifespans: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.server = TokenServer(clock=self.clock, users={"ada": "lovelace", "bob": "the builder"})

    def options(self, **more: Any) -> dict[str, Any]:
        """The options of TokenRotation."""
        provider = Credentials(authorize=self.server.authorize, refresh=self.server.refresh)
        return {"secret": SECRET, "providers": [provider], "clock": self.clock, **more}

    async def log_in(self, connection: Any) -> dict[str, Any]:
        """A login route's work, by the helper."""
        answer = await self.server.authorize({"username": "ada", "password": "lovelace"})
        assert answer is not None
        return dict(await sign_in(connection, answer.user, answer.tokens, provider="credentials"))

    @asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[None]:
        """The application's own lifespan."""
        self.lifespans.append("startup")
        yield
        self.lifespans.append("shutdown")


def plain(world: World) -> ASGIApp:
    """An application without a framework."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            async with world.lifespan(None):
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": json.dumps(scope["state"]["session"])})
            await send({"type": "websocket.close", "code": 1000})
        else:
            await _answer(world, scope, send)

    return app


async def _answer(world: World, scope: Scope, send: Send) -> None:
    match scope["path"]:
        case "/me":
            status, content = 200, scope["state"]["session"]
        case "/login":
            status, content = 200, await world.log_in(scope)
        case "/static":
            status, content = 200, sorted(scope.get("state", {}))
        case "/raise":
            raise LookupError("a handler's own failure")
        case _:
            status, content = 404, "not found"
    await send({"type": "http.response.start", "status": status, "headers": ((b"content-type", b"application/json"),)})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


def starlette(world: World, middleware: list[Middleware]) -> Starlette:
    """In Starlette."""

    async def me(request: Request) -> JSONResponse:
        return JSONResponse(request.state.session)

    async def login(request: Request) -> JSONResponse:
        return JSONResponse(await world.log_in(request))

    async def static(request: Request) -> JSONResponse:
        return JSONResponse(sorted(request.scope.get("state", {})))

    async def failing(request: Request) -> JSONResponse:
        raise LookupError("a handler's own failure")

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(websocket.state.session)
        await websocket.close()

    handlers = {"/me": me, "/login": login, "/static": static, "/raise": failing}
    routes = [Route(path, handler) for path, handler in handlers.items()]
    return Starlette(routes=[*routes, WebSocketRoute("/ws", socket)], middleware=middleware, lifespan=world.lifespan)


def fastapi(world: World) -> FastAPI:
    """In FastAPI; one handler is a plain function, which runs in a thread."""
    app = FastAPI(lifespan=world.lifespan)

    def me(request: Request) -> dict[str, Any]:
        return request.state.session

    async def login(request: Request) -> dict[str, Any]:
        return await world.log_in(request)

    async def static(request: Request) -> list[str]:
        return sorted(request.scope.get("state", {}))

    async def failing() -> None:
        raise LookupError("a handler's own failure")

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(websocket.state.session)
        await websocket.close()

    # Not by decorators: with `from __future__ import annotations` FastAPI resolves names in the module only, and these do.
    for path, handler in {"/me": me, "/login": login, "/static": static, "/raise": failing}.items():
        app.add_api_route(path, handler)
    app.add_api_websocket_route("/ws", socket)
    return app


def litestar_app(world: World, **options: Any) -> litestar.Litestar:
    """In Litestar."""

    @litestar.get("/me")
    async def me(request: litestar.Request[Any, Any, Any]) -> dict[str, Any]:
        return dict(request.state.session)

    @litestar.get("/login")
    async def login(request: litestar.Request[Any, Any, Any]) -> dict[str, Any]:
        return await world.log_in(request)

    @litestar.get("/static")
    async def static(request: litestar.Request[Any, Any, Any]) -> list[str]:
        return sorted(request.scope.get("state", {}))

    @litestar.get("/raise")
    async def failing() -> None:
        raise LookupError("a handler's own failure")

    @litestar.websocket("/ws")
    async def socket(socket: litestar.WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.send_json(dict(socket.state.session))
        await socket.close()

    handlers = [me, login, static, failing, socket]
    return litestar.Litestar(handlers, lifespan=[world.lifespan], openapi_config=None, logging_config=None, **options)


@dataclass(frozen=True, slots=True)
class Way:
    """One way of putting the middleware there, and what a framework keeps from it."""

    name: str
    build: Callable[[World, Options], ASGIApp]
    endpoints: bool = True  # requests to the endpoints reach the middleware
    lifespan: bool = True  # the lifespan reaches the middleware
    bare_errors: bool = False  # the 500 of an unhandled exception is made outside of the middleware


def _starlette_middleware(world: World, options: Options) -> ASGIApp:
    return starlette(world, [Middleware(TokenRotationMiddleware, **options)])


def _fastapi_add_middleware(world: World, options: Options) -> ASGIApp:
    app = fastapi(world)
    app.add_middleware(TokenRotationMiddleware, **options)
    return app


def _litestar_plugin(world: World, options: Options) -> ASGIApp:
    return litestar_app(world, plugins=[TokenRotationPlugin(TokenRotation(**options))])


def _litestar_asgi_handler(world: World, options: Options) -> ASGIApp:
    app = litestar_app(world)
    app.asgi_handler = TokenRotationMiddleware(app.asgi_handler, **options)
    return app


def _litestar_define_middleware(world: World, options: Options) -> ASGIApp:
    rotation = TokenRotation(**options)
    return litestar_app(world, middleware=[DefineMiddleware(TokenRotationMiddleware, rotation=rotation)])


WAYS = (
    Way("plain wrap", lambda world, options: TokenRotationMiddleware(plain(world), **options)),
    Way("starlette wrap", lambda world, options: TokenRotationMiddleware(starlette(world, []), **options)),
    Way("starlette Middleware", _starlette_middleware, bare_errors=True),
    Way("fastapi wrap", lambda world, options: TokenRotationMiddleware(fastapi(world), **options)),
    Way("fastapi add_middleware", _fastapi_add_middleware, bare_errors=True),
    Way("litestar wrap", lambda world, options: TokenRotationMiddleware(litestar_app(world), **options)),
    Way("litestar plugin", _litestar_plugin),
    Way("litestar asgi_handler", _litestar_asgi_handler, lifespan=False),
    Way("litestar DefineMiddleware", _litestar_define_middleware, endpoints=False, lifespan=False),
)
