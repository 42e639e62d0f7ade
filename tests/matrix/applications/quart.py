import json
from typing import Any

from auth import rotation
from quart import Quart, request, websocket

from asgi_token_rotation import TokenRotationMiddleware, get_session

app = Quart(__name__)


@app.get("/me")
async def me() -> dict[str, Any]:
    return get_session(request)


@app.websocket("/socket")
async def socket() -> None:
    await websocket.send(json.dumps(get_session(websocket)))


app.asgi_app = TokenRotationMiddleware(app.asgi_app, rotation=rotation)

# For the matrix:


@app.get("/fail")
async def fail() -> None:
    raise LookupError("the handler's own failure")
