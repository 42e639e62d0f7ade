"""Wrong options that come to light only while the server starts up: they stop it, instead of failing every request.

Starlette and FastAPI build the middlewares of ``add_middleware`` when the lifespan begins. uvicorn takes an exception
there for an application without a lifespan, and goes on serving (ASGI, lifespan protocol: ``lifespan.startup.failed``
is what stops a server).
"""

from __future__ import annotations

import inspect

from .errors import ConfigurationError
from .types import ASGIApp, Receive, Scope, Send

_FRAMES = 8  # looked at: from a middleware's constructor to the framework's call


def server_starts_up() -> bool:
    """Whether the caller is being built by Starlette because a lifespan has just begun."""
    frame, building = inspect.currentframe(), False
    for _ in range(_FRAMES):
        frame = None if frame is None else frame.f_back
        if frame is None:
            return False
        building = building or frame.f_code.co_name == "build_middleware_stack"
        scope = frame.f_locals.get("scope") if building else None
        if isinstance(scope, dict) and "type" in scope:
            return bool(scope["type"] == "lifespan")  # pyright: ignore[reportUnknownArgumentType]
    return False


def refusing(error: ConfigurationError) -> ASGIApp:
    """An application that stops the server with the error's sentence, and serves nothing."""
    sentence = str(error)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            raise ConfigurationError(sentence)
        await receive()
        await send({"type": "lifespan.startup.failed", "message": f"ConfigurationError: {sentence}"})

    return app
