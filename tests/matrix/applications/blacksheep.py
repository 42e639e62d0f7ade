import json

from auth import rotation
from blacksheep import Application, Request, Response, WebSocket
from blacksheep.server.responses import json as json_response

from asgi_token_rotation import TokenRotationMiddleware, get_session

site = Application()


@site.router.get("/me")
async def me(request: Request) -> Response:
    return json_response(get_session(request))


@site.router.ws("/socket")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(json.dumps(get_session(websocket)))
    await websocket.close()


app = TokenRotationMiddleware(site, rotation=rotation)

# For the matrix:


@site.router.get("/fail")
async def fail() -> Response:
    raise LookupError("the handler's own failure")
