"""The token back end of the examples: the package's own strict token server, and a way to make it slow or down.

It knows one user, "ada" with the password "lovelace". Each refresh token is good for one use: one that comes twice
revokes everything that was issued since the sign-in.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from time import time
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse

from asgi_token_rotation.testing import TokenServer
from asgi_token_rotation.types import Receive, Scope, Send

MOODS = ("normal", "slow", "down", "refusing")
SLOW = 3.0  # seconds


class BackEnd:
    """An ASGI application: ``TokenServer`` with its switches and counters at ``/control``.

    ``GET /control`` answers the counters; ``POST /control`` takes ``{"mood": …}``: ``slow`` answers a refresh after 3 s,
    ``down`` with 503, ``refusing`` with ``invalid_grant``. The back end's own API goes on in all of them.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time, access_token_lifetime: float = 30.0, latency: float = 0.0
    ) -> None:
        self.token_server = TokenServer(clock=clock, access_token_lifetime=access_token_lifetime)
        self.token_server.latency = latency
        self._latency = latency  # seconds
        self._mood = "normal"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http" or scope["path"] != "/control":
            await self.token_server(scope, receive, send)
            return
        request = Request(scope, receive)
        status = 200 if request.method == "GET" or self._set(_mood_in(await request.body())) else 400
        await JSONResponse(self._state(), status_code=status)(scope, receive, send)

    def _set(self, mood: object) -> bool:
        if mood not in MOODS:
            return False
        server = self.token_server
        self._mood = str(mood)
        server.latency = SLOW if mood == "slow" else self._latency
        server.fail_with = 503 if mood == "down" else None
        server.refuse_refresh = mood == "refusing"
        return True

    def _state(self) -> dict[str, Any]:
        server = self.token_server
        return {
            "mood": self._mood,
            "logins": server.logins,
            "refreshCalls": server.refresh_calls,
            "rotations": server.rotations,
            "reuses": server.reuses,
        }


def _mood_in(body: bytes) -> object:
    try:
        content: object = json.loads(body)
    except ValueError:
        return None
    return cast("dict[str, object]", content).get("mood") if isinstance(content, dict) else None
