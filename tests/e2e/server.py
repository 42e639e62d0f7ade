"""The React example and its token server, once for each test: on 127.0.0.1, for Chromium. Prints its own address.

``POST /worlds`` makes a world of its own, with settings, and answers ``{"id", "address", "now"}``. Under ``/worlds/{id}``
are its journal (GET), its switches (POST) and its end (DELETE).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from examples.back_end import BackEnd  # noqa: E402
from examples.journal import Journal  # noqa: E402
from examples.react.app import create_app  # noqa: E402

from asgi_token_rotation.testing import Clock  # noqa: E402


class Served:
    """An ASGI application on a free port, in the loop of its maker."""

    def __init__(self, app: Any) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        )
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))

    async def aclose(self) -> None:
        """Stop, whoever still holds a connection."""
        self._server.should_exit = True
        await self._task


class Counted:
    """Counts the requests, by method and path."""

    def __init__(self, app: Any) -> None:
        self.counts: Counter[str] = Counter()
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.counts[f"{scope['method']} {scope['path']}"] += 1
        await self._app(scope, receive, send)


class World:
    """One application and one token server, on one clock: the machine's, or one that stands until it is moved."""

    def __init__(self, *, dialect: Any, lifetime: float, latency: float = 0.0, stands: bool = False) -> None:
        self.clock = Clock(time.time()) if stands else time.time
        self.back_end = BackEnd(clock=self.clock, access_token_lifetime=lifetime, latency=latency)
        self.journal = Journal(clock=self.clock)
        self._tokens = Served(self.back_end)
        app = create_app(
            api=httpx.AsyncClient(base_url=self._tokens.address),
            secret="a secret of the browser tests, long enough for everybody",
            journal=self.journal,
            dialect=dialect,
            clock=self.clock,
        )
        self._counted = Counted(app)
        self._app = Served(self._counted)
        self.address = self._app.address

    def switch(self, *, advance: float = 0.0, reset: bool = False, **switches: Any) -> None:
        """Move the clock; count anew; and whatever the token server has."""
        if advance:
            assert isinstance(self.clock, Clock)
            self.clock.advance(advance)
        if reset:
            self._counted.counts.clear()
            self.back_end.token_server.refresh_calls = 0
        for name, value in switches.items():
            assert hasattr(self.back_end.token_server, name), name
            setattr(self.back_end.token_server, name, value)

    def report(self) -> dict[str, Any]:
        """What came, and what became of it."""
        server = self.back_end.token_server
        sent = Counter(name for name, _ in server.received)
        return {
            "requests": dict(self._counted.counts),
            "refreshes": server.refresh_calls,
            "rotations": server.rotations,
            "reuses": server.reuses,
            "sentTwice": [name for name, times in sent.items() if times > 1],
            "notes": [note["kind"] for note in self.journal.after(0)],
            "now": self.clock() * 1000,
        }

    async def aclose(self) -> None:
        """Stop both servers."""
        await self._app.aclose()
        await self._tokens.aclose()


def application() -> Starlette:
    """Makes worlds, and ends them."""
    worlds: dict[str, World] = {}

    async def make(request: Request) -> Response:
        world = World(**await request.json())
        name = str(len(worlds))
        worlds[name] = world
        return JSONResponse({"id": name, "address": world.address, **world.report()})

    async def use(request: Request) -> Response:
        world = worlds[request.path_params["name"]]
        if request.method == "POST":
            world.switch(**await request.json())
        if request.method == "DELETE":
            await world.aclose()
        return JSONResponse(world.report())

    return Starlette(
        routes=[
            Route("/worlds", make, methods=["POST"]),
            Route("/worlds/{name}", use, methods=["GET", "POST", "DELETE"]),
        ]
    )


async def main() -> None:
    """Serve until the input ends: with the process that started this one."""
    logging.getLogger("asgi_token_rotation").addHandler(logging.NullHandler())
    served = Served(application())
    print(served.address, flush=True)  # noqa: T201 this is what it is for
    await asyncio.to_thread(sys.stdin.read)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await served.aclose()


if __name__ == "__main__":
    asyncio.run(main())
