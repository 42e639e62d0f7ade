import json

from auth import rotation

from asgi_token_rotation import TokenRotationMiddleware, get_session
from asgi_token_rotation.types import Receive, Scope, Send


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await answer(scope, send)
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps(get_session(scope))})
        await send({"type": "websocket.close"})


async def answer(scope: Scope, send: Send) -> None:
    found = scope["path"].endswith("/me")
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(get_session(scope) if found else None).encode()})


app = TokenRotationMiddleware(site, rotation=rotation)

# For the matrix:


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http" and scope["path"].endswith("/fail"):
        raise LookupError("the handler's own failure")
    await site(scope, receive, send)


app = TokenRotationMiddleware(failing, rotation=rotation)
