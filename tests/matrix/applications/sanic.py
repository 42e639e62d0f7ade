import json

from auth import rotation
from sanic import HTTPResponse, Request, Sanic, Websocket
from sanic.response import json as json_response

from asgi_token_rotation import TokenRotationMiddleware, get_session

site = Sanic("site")


@site.get("/me")
async def me(request: Request) -> HTTPResponse:
    return json_response(get_session(request))


@site.websocket("/socket")
async def socket(request: Request, websocket: Websocket) -> None:
    await websocket.send(json.dumps(get_session(request)))


app = TokenRotationMiddleware(site, rotation=rotation)

# For the matrix:


@site.get("/fail")
async def fail(request: Request) -> HTTPResponse:
    raise LookupError("the handler's own failure")
