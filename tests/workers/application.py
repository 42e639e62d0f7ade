"""One worker of the application under test. Its environment: STORE, PORT, BACK_END (URL), SECRETS and REFRESH (JSON)."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_token_rotation import (
    JWT,
    Credentials,
    RefreshOptions,
    SignIn,
    TokenRotation,
    TokenRotationMiddleware,
    TokenSet,
    get_access_token,
    get_session,
    get_token,
    sign_out,
)
from workers.processes import end_with_parent


class Worker:
    """The routes, and two providers that the same back end stands behind."""

    def __init__(self, *, back_end: str, secrets: list[str], store: str, refresh: dict[str, Any]) -> None:
        self._client = httpx.AsyncClient(base_url=back_end, timeout=60, trust_env=False)
        self.rotation = TokenRotation(
            secret=secrets,
            store=store,
            providers=[
                Credentials(authorize=nobody, refresh=self._refresh),
                Credentials(authorize=nobody, refresh=self._grant, id="oauth"),
            ],
            revocation_check=refresh.pop("revocation_check", None),
            refresh_options=RefreshOptions(**refresh),
        )
        routes = [
            Route("/me", me),
            Route("/whose", self._whose),
            Route("/stream", stream),
            Route("/events", events),
            Route("/background", background),
            Route("/leave", leave),
            Route("/counts", self._counts),
            WebSocketRoute("/socket", socket),
        ]
        self.app = TokenRotationMiddleware(Starlette(routes=routes), rotation=self.rotation)

    async def _refresh(self, token: JWT) -> TokenSet:
        response = await self._client.post("/auth/refreshToken", json={"token": token["refresh_token"]})
        answer = response.raise_for_status().json()
        expires_at = answer["accessTokenExpiry"] / 1000
        return TokenSet(access_token=answer["accessToken"], refresh_token=answer["refreshToken"], expires_at=expires_at)

    async def _grant(self, token: JWT) -> TokenSet:
        form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
        response = await self._client.post("/oauth/token", data=form)
        return TokenSet.from_response(response.raise_for_status().json(), now=time.time())

    async def _whose(self, request: Request) -> Response:
        """What the back end says whose access token this is."""
        headers = {"authorization": f"Bearer {await get_access_token(request)}"}
        answer = (await self._client.get("/api/me", headers=headers)).raise_for_status().json()
        return JSONResponse(about(request) | {"access_token": answer["token"]})

    async def _counts(self, request: Request) -> Response:
        return JSONResponse(self.rotation.counts)


async def nobody(_: object) -> SignIn | None:
    """Nobody signs in here: the tests make cookies of their own."""
    return None


def about(connection: HTTPConnection) -> dict[str, Any]:
    """Whose session it is, as far as this request knows."""
    session, token = get_session(connection), get_token(connection)
    generation = None if token is None else token["generation"]
    return {"user": (session.user or {}).get("name"), "generation": generation, "error": session.error}


async def me(request: Request) -> Response:
    """Who is it?"""
    return JSONResponse(about(request))


async def leave(request: Request) -> Response:
    """Sign out."""
    await sign_out(request)
    return JSONResponse(about(request))


async def late(connection: HTTPConnection) -> str:
    """An access token asked for some seconds after the headers, and the generation that it belongs to."""
    await asyncio.sleep(float(connection.query_params["seconds"]))
    await get_access_token(connection)
    return json.dumps(about(connection))


async def stream(request: Request) -> Response:
    """The headers, then the rotation."""

    async def parts() -> AsyncIterator[str]:
        yield " "
        yield await late(request)

    return StreamingResponse(parts(), media_type="application/json")


async def events(request: Request) -> Response:
    """Server-sent events, with a rotation between two of them."""

    async def parts() -> AsyncIterator[str]:
        yield "event: hello\ndata: {}\n\n"
        yield f"data: {await late(request)}\n\n"

    return StreamingResponse(parts(), media_type="text/event-stream")


async def background(request: Request) -> Response:
    """The whole answer, then the rotation."""
    return JSONResponse(about(request), background=BackgroundTask(late, request))


async def socket(websocket: WebSocket) -> None:
    """The handshake, then the rotation."""
    await websocket.accept()
    await websocket.send_text(await late(websocket))
    await websocket.close()


def main() -> None:
    """Serve until somebody ends it, or the parent is gone."""
    end_with_parent()
    worker = Worker(
        back_end=os.environ["BACK_END"],
        secrets=json.loads(os.environ["SECRETS"]),
        store=os.environ["STORE"],
        refresh=json.loads(os.environ["REFRESH"]),
    )
    # h11, because the browser of these tests asks by HTTP/1.0, and uvicorn with httptools answers a stream in chunks.
    port = int(os.environ["PORT"])
    uvicorn.run(worker.app, host="127.0.0.1", port=port, log_level="warning", http="h11", ws="websockets-sansio")


if __name__ == "__main__":
    main()
