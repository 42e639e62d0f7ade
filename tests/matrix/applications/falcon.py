import json

from auth import rotation
from falcon.asgi import App, Request, Response, WebSocket

from asgi_token_rotation import TokenRotationMiddleware, get_session


class Me:
    async def on_get(self, request: Request, response: Response) -> None:
        response.media = get_session(request)


class Socket:
    async def on_websocket(self, request: Request, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(json.dumps(get_session(request)))
        await websocket.close()


site = App()
site.add_route("/me", Me())
site.add_route("/socket", Socket())
app = TokenRotationMiddleware(site, rotation=rotation)

# For the matrix:


class Fail:
    async def on_get(self, request: Request, response: Response) -> None:
        raise LookupError("the handler's own failure")


site.add_route("/fail", Fail())
