from typing import Any

from auth import rotation
from fastapi import FastAPI, WebSocket

from asgi_token_rotation import TokenRotationMiddleware
from asgi_token_rotation.integrations.fastapi import CurrentSession

site = FastAPI()


@site.get("/me")
async def me(session: CurrentSession) -> dict[str, Any]:
    return session


@site.websocket("/socket")
async def socket(websocket: WebSocket, session: CurrentSession) -> None:
    await websocket.accept()
    await websocket.send_json(session)
    await websocket.close()


app = TokenRotationMiddleware(site, rotation=rotation)

# For the matrix:


@site.get("/fail")
async def fail() -> None:
    raise LookupError("the handler's own failure")
