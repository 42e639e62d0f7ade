from typing import Any

from auth import rotation
from litestar import Litestar, WebSocket, get, websocket
from litestar.di import NamedDependency

from asgi_token_rotation import Session
from asgi_token_rotation.integrations.litestar import TokenRotationPlugin


@get("/me")
async def me(session: NamedDependency[Session]) -> dict[str, Any]:
    return session


@websocket("/socket")
async def socket(socket: WebSocket[Any, Any, Any], session: NamedDependency[Session]) -> None:
    await socket.accept()
    await socket.send_json(session)
    await socket.close()


app = Litestar([me, socket], plugins=[TokenRotationPlugin(rotation)])

# For the matrix:


@get("/fail")
async def fail() -> None:
    raise LookupError("the handler's own failure")


app.register(fail)
