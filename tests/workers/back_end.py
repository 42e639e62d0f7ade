"""The strict token server as a process of its own, with a control route.

``POST /control`` takes a JSON object of TokenServer's switches, and ``hold`` ("before" or "after" the rotation, or null to
let go). It answers how often each refresh token came, by the token's name, and ``name``, that of the token ``whose``.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

import uvicorn

from asgi_token_rotation.testing import TokenServer
from asgi_token_rotation.types import Receive, Scope, Send
from workers.processes import end_with_parent


class BackEnd:
    """The token server, and what steers it."""

    def __init__(self) -> None:
        self._server = TokenServer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http" or scope["path"] != "/control":
            await self._server(scope, receive, send)
            return
        message = await receive()
        body = json.dumps(self._steered(json.loads(message["body"]))).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    def _steered(self, order: dict[str, Any]) -> dict[str, Any]:
        server = self._server
        whose = order.pop("whose", "")
        if "hold" in order:
            stage = order.pop("hold")
            if stage is None:
                server.release()
            else:
                server.hold(stage)
        for switch, value in order.items():
            setattr(server, switch, value)
        return {
            "name": server.name_of(whose),
            "sent": Counter(name for name, _ in server.received),
            "rotations": server.rotations,
            "reuses": server.reuses,
        }


def main() -> None:
    """Serve until the parent is gone."""
    end_with_parent()
    uvicorn.run(BackEnd(), host="127.0.0.1", port=int(os.environ["PORT"]), log_level="critical", timeout_keep_alive=75)


if __name__ == "__main__":
    main()
