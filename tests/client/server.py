"""An application with the middleware, its token server, and pages under a strict policy: on 127.0.0.1, for Chromium.

Prints its address. Each cookie jar is a user of its own, but the counters and switches of ``/control`` are everybody's.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from asgi_token_rotation import Credentials, RefreshOptions, TokenRotation, TokenRotationMiddleware
from asgi_token_rotation.testing import TokenServer

POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'"
PAGE = '<!doctype html><title>page</title><link rel="icon" href="data:,"><script type="module" src="/static/page.js"></script>'
LIFETIME, MARGIN = 10, 5  # seconds
BASE_PATH = "/somewhere/auth"


class Watched:
    """Counts what comes to the endpoints, and fails in their place when told to."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.counts: dict[str, int] = {}
        self.outage: int | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(f"{BASE_PATH}/") and not scope["path"].endswith(".js"):
            what = f"{scope['method']} {scope['path'].removeprefix(f'{BASE_PATH}/')}"
            self.counts[what] = self.counts.get(what, 0) + 1
            if self.outage is not None:
                await HTMLResponse("<h1>Out of order</h1>", status_code=self.outage)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def application() -> Watched:
    """Everything in one."""
    tokens = TokenServer(access_token_lifetime=LIFETIME)
    rotation = TokenRotation(
        secret="a secret of the browser tests, long enough for everybody",
        providers=[Credentials(authorize=tokens.authorize, refresh=tokens.refresh)],
        refresh_options=RefreshOptions(margin=MARGIN),
        base_path=BASE_PATH,
    )

    async def page(_: Request) -> Response:
        return HTMLResponse(PAGE, headers={"content-security-policy": POLICY})

    async def script(request: Request) -> Response:
        return FileResponse(Path(__file__).with_name("page.js"), media_type="text/javascript")

    async def control(request: Request) -> Response:
        for name, value in (await request.json() if request.method == "POST" else {}).items():
            if name == "reset":
                watched.counts.clear()
                tokens.refresh_calls = 0
            else:
                setattr(watched if name == "outage" else tokens, name, value)
        return JSONResponse({**watched.counts, "refreshes": tokens.refresh_calls, "reuses": tokens.reuses})

    routes = [
        Route("/", page),
        Route("/login", page),
        Route("/static/page.js", script),
        Route("/control", control, methods=["GET", "POST"]),
    ]
    watched = Watched(TokenRotationMiddleware(Starlette(routes=routes), rotation=rotation))
    return watched


async def main() -> None:
    """Serve until the process is ended."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application(), log_level="warning", timeout_graceful_shutdown=1))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # noqa: T201
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main())
