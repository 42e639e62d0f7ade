"""What only a demonstration needs: the journal and the token back end's controls over HTTP, and a look at late requests.

None of it belongs into a real application.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from examples.journal import Journal
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from asgi_token_rotation.types import ASGIApp, Message, Receive, Scope, Send

SESSION_COOKIE = b"authjs.session-token"


def panel(*, framework: str, api: httpx.AsyncClient, journal: Journal) -> ASGIApp:
    """``GET …/log?after=N``: the journal. ``GET`` and ``POST …/back-end``: the counters, and how the back end behaves."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        # The frameworks differ in what is left of the path for a mounted application, so only its end counts.
        answer = await _answer(request, request.url.path.rstrip("/").rpartition("/")[2])
        await answer(scope, receive, send)

    async def _answer(request: Request, name: str) -> Response:
        match request.method, name:
            case "GET", "log":
                after = request.query_params.get("after", "0")
                return _json({"framework": framework, "notes": journal.after(int(after) if after.isdecimal() else 0)})
            case "GET", "back-end":
                return _json((await api.get("/control")).raise_for_status().json())
            case "POST", "back-end":
                return await _set_mood(request)
            case _:
                return _json({"detail": "Not Found"}, status=404)

    async def _set_mood(request: Request) -> Response:
        response = await api.post("/control", content=await request.body())
        if response.is_success:
            journal.add("control", f"the token back end is now: {response.json()['mood']}")
        return _json(response.json(), status=response.status_code)

    return app


class LateRequestWatch:
    """Tells the journal of each request that came with the previous cookie and left with the newest one.

    It stands around the application and sees what a browser sees: a response that sets the session cookie although
    nothing happened while it was under way was served from grace.
    """

    def __init__(self, app: ASGIApp, *, journal: Journal) -> None:
        self._app = app
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, by the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, self._watching(send))

    def _watching(self, send: Send) -> Callable[[Message], Any]:
        moves = self._journal.moves

        async def watched(message: Message) -> None:
            if (
                message["type"] == "http.response.start"
                and self._journal.just_refreshed
                and self._journal.moves == moves
            ):
                headers = message.get("headers", [])
                if any(name.lower() == b"set-cookie" and value.startswith(SESSION_COOKIE) for name, value in headers):
                    self._journal.late_request()
            await send(message)

        return watched


def _json(content: object, *, status: int = 200) -> Response:
    return JSONResponse(content, status_code=status, headers={"cache-control": "no-store"})
