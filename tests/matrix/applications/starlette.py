from auth import rotation
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_token_rotation import TokenRotationMiddleware


async def me(request: Request) -> JSONResponse:
    return JSONResponse(request.state.session)


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(websocket.state.session)
    await websocket.close()


site = Starlette(routes=[Route("/me", me), WebSocketRoute("/socket", socket)])
app = TokenRotationMiddleware(site, rotation=rotation)

# For the matrix:


async def fail(request: Request) -> JSONResponse:
    raise LookupError("the handler's own failure")


site.router.routes.append(Route("/fail", fail))
