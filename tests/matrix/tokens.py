"""Many strict token servers behind one listener, each below a path of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from asgi_token_rotation.testing import TokenServer
from asgi_token_rotation.types import Receive, Scope, Send
from matrix.process import HOST


class TokenServers:
    """An ASGI application."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._servers: dict[str, TokenServer] = {}

    def new(self) -> tuple[TokenServer, str]:
        """One more, and its address."""
        path = f"/{len(self._servers)}"
        self._servers[path] = TokenServer()
        return self._servers[path], f"http://{HOST}:{self._port}{path}"

    @property
    def all(self) -> list[TokenServer]:
        """Every one so far."""
        return list(self._servers.values())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        root = f"/{scope['path'].split('/')[1]}"
        await self._servers[root]({**scope, "root_path": root}, receive, send)


@asynccontextmanager
async def token_servers() -> AsyncIterator[TokenServers]:
    """On a free port, in the running loop."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(512)
        servers = TokenServers(listener.getsockname()[1])
        config = uvicorn.Config(servers, lifespan="off", log_config=None, ws="none", timeout_keep_alive=75)
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            while not server.started:
                assert not serving.done()
                await asyncio.sleep(0.01)
            yield servers
        finally:
            server.should_exit = server.force_exit = True
            await serving
