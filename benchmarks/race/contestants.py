"""Who races: the real Auth.js in node, and this package under uvicorn. Both answer the same requests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from asgi_token_rotation import JWT, Credentials, SignIn, TokenRotation, TokenRotationMiddleware, TokenSet

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A server with NextAuth's endpoints, and how to move its clock ahead by so many seconds."""

    name: str
    address: str
    go_ahead: Callable[[float], Awaitable[object]]


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncGenerator[str]:
    """An ASGI application under uvicorn, on a free port. Its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@contextlib.asynccontextmanager
async def auth_js(endpoint: str, *, node: str) -> AsyncGenerator[Contestant]:
    """The real Auth.js, with the callback of its guide."""
    process = await asyncio.create_subprocess_exec(
        node, "guide.mjs", endpoint, cwd=HERE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = (await process.stdout.readline()).decode().strip()
        if not port:
            raise RuntimeError("node has ended: see its error output above")
        address = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=address) as client:
            yield Contestant(
                name="Auth.js, its guide's callback",
                address=address,
                go_ahead=lambda seconds: client.post("/ahead", content=str(seconds)),
            )
    finally:
        process.stdin.close()
        await process.wait()


@contextlib.asynccontextmanager
async def this_package(endpoint: str) -> AsyncGenerator[Contestant]:
    """This package, as the README has it."""
    moved: list[float] = [0.0]

    async def go_ahead(seconds: float) -> None:
        moved[0] = seconds

    def clock() -> float:
        return time.time() + moved[0]

    async with httpx.AsyncClient() as api:

        async def asked_for(**fields: str) -> TokenSet:
            response = await api.post(endpoint, data=fields)
            return TokenSet.from_response(response.raise_for_status().json(), now=clock())

        async def authorize(credentials: Mapping[str, str]) -> SignIn:
            name = credentials["username"]
            tokens = await asked_for(grant_type="password", username=name, password=credentials["password"])
            return SignIn(user={"id": name, "name": name}, tokens=tokens)

        async def refresh(token: JWT) -> TokenSet:
            return await asked_for(grant_type="refresh_token", refresh_token=token["refresh_token"])

        rotation = TokenRotation(
            secret="the secret of the race, which nobody else needs to know",
            providers=[Credentials(authorize=authorize, refresh=refresh)],
            clock=clock,
        )
        async with served(TokenRotationMiddleware(_nothing, rotation=rotation)) as address:
            yield Contestant(name="asgi-token-rotation", address=address, go_ahead=go_ahead)


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """The application behind the middleware: nobody asks for anything but the endpoints."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body"})
