"""The application under chaos: one worker, with a clock that is wrong, and a journal that says what it sends when.

Configured by its environment: STORE, WORKER, PORT, CLOCK_SKEW (seconds), BACK_END (URL), JOURNAL.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_token_rotation import (
    JWT,
    Callbacks,
    Event,
    Events,
    JWTParams,
    NotSignedInError,
    RefreshError,
    RefreshOptions,
    TokenRotation,
    TokenRotationMiddleware,
    TokenSet,
    get_access_token,
    get_session,
    get_token,
    sign_in,
    sign_out,
    update_session,
)
from asgi_token_rotation.errors import StoreError
from chaos import settings
from chaos.journal import Journal, mark_of
from chaos.processes import end_with_parent
from chaos.token_back_end import PASSWORD


class Worker:
    """The refresh function, the events and the login route share a client and a journal."""

    def __init__(self, *, name: str, back_end: str, journal: Journal) -> None:
        self._name = name
        self._journal = journal
        self._client = httpx.AsyncClient(base_url=back_end, timeout=60)

    async def refresh(self, token: JWT) -> TokenSet:
        """Ask the back end; say so before, and what came of it."""
        send = uuid.uuid4().hex[:12]
        about = {"send": send, "family": token["name"], "generation": token["generation"]}
        self._journal.write("sending", sent=mark_of(token["refresh_token"]), **about)
        try:
            headers = {"x-worker": self._name, "x-send": send}
            content = {"token": token["refresh_token"]}
            response = await self._client.post("/auth/refreshToken", json=content, headers=headers)
            answer = response.raise_for_status().json()
        except BaseException as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            self._journal.write("no tokens", error=type(error).__name__, status=status, **about)
            raise
        self._journal.write("tokens", new=mark_of(answer["refreshToken"]), **about)
        return _token_set(answer)

    def refreshed(self, event: Event) -> None:
        """A rotation was published."""
        token = event.token
        new = mark_of(token["refresh_token"])
        self._journal.write("published", new=new, family=token["name"], generation=token["generation"])

    def refresh_failed(self, event: Event) -> None:
        """A refresh came to its end without a rotation."""
        sent = mark_of(event.token["refresh_token"])
        self._journal.write("concluded", sent=sent, family=event.token["name"], kind=event.kind)

    def ended(self, event: Event) -> None:
        """A session ended."""
        self._journal.write("ended", family=event.token.get("name"), reason=event.reason)

    def stale(self, event: Event) -> None:
        """A cookie was too old."""
        self._journal.write("stale", family=event.token.get("name"), generation=event.token.get("generation"))

    async def login(self, request: Request) -> Response:
        """Sign in, over whoever is signed in."""
        user = request.query_params["user"]
        response = await self._client.post("/auth/login", json={"username": user, "password": PASSWORD})
        answer = response.raise_for_status().json()
        family = response.headers["x-family"]
        # The family is the user's name, so that every session and every line can tell where it belongs.
        await sign_in(request, {"id": user, "name": family, "email": answer["email"]}, _token_set(answer))
        return JSONResponse({"user": answer["email"], "family": family})


def _token_set(answer: dict[str, Any]) -> TokenSet:
    expires_at = answer["accessTokenExpiry"] / 1000
    return TokenSet(access_token=answer["accessToken"], refresh_token=answer["refreshToken"], expires_at=expires_at)


def changed(params: JWTParams) -> JWT:
    """Updates bring a note. Every fourth family's cookie changes its size with each generation, between one chunk and two.

    Not more: answers that overtake each other may leave both in the jar, and uvicorn never answers a WebSocket handshake
    with more than 8 KiB of cookies (websockets' limit for a line).
    """
    token = params.token
    if params.trigger == "update":
        token["note"] = params.session
    if token["name"].isdigit() and int(token["name"]) % 4 == 0:
        token["padding"] = "x" * (token["generation"] % 2 * 2600)
    return token


async def about(connection: HTTPConnection) -> dict[str, Any]:
    """Whose session it is, as far as this request knows."""
    session, token = get_session(connection), get_token(connection)
    user = session.user or {}
    generation = None if token is None else token["generation"]
    whose = {"user": user.get("email"), "family": user.get("name"), "error": session.error, "generation": generation}
    return whose if token is None else whose | {"note": token.get("note", 0)}


async def about_access_token(connection: HTTPConnection, *, min_valid_for: float) -> dict[str, Any]:
    """The same with a fresh access token, wanted after the response has begun."""
    whose = await about(connection)
    try:
        await get_access_token(connection, min_valid_for=min_valid_for)
    except NotSignedInError:
        return whose | {"user": None}
    except RefreshError as error:
        return whose | {"error": error.code}
    return whose


async def me(request: Request) -> Response:
    """Who is it?"""
    return JSONResponse(await about(request))


async def slow(request: Request) -> Response:
    """The same, after a while."""
    whose = await about(request)
    await asyncio.sleep(float(request.query_params["seconds"]))
    return JSONResponse(whose)


async def stream(request: Request) -> Response:
    """Headers first, then an access token that may have to be refreshed, then the answer."""

    async def parts() -> AsyncIterator[str]:
        yield " "
        await asyncio.sleep(float(request.query_params["seconds"]))
        yield json.dumps(await about_access_token(request, min_valid_for=3.0))

    return StreamingResponse(parts(), media_type="application/json")


async def fail(request: Request) -> Response:
    """Raise, after a rotation perhaps."""
    raise RuntimeError("asked for")


async def note(request: Request) -> Response:
    """Write a number into the session, or say that it could not be stored."""
    try:
        await update_session(request, int(request.query_params["number"]))
    except StoreError:
        return JSONResponse(await about(request) | {"stored": False})
    except NotSignedInError:
        return JSONResponse(await about(request) | {"user": None, "stored": False})
    return JSONResponse(await about(request) | {"stored": True})


async def leave(request: Request) -> Response:
    """Sign out."""
    await sign_out(request)
    return JSONResponse({"user": None})


async def socket(websocket: WebSocket) -> None:
    """Say who it is at each message, with an access token that is good at that time."""
    await websocket.accept()
    try:
        while True:
            await websocket.receive_text()
            await websocket.send_json(await about_access_token(websocket, min_valid_for=0.0))
    except WebSocketDisconnect:
        return


def create() -> TokenRotationMiddleware:
    """The application, as the environment wants it."""
    skew = float(os.environ["CLOCK_SKEW"])
    name = os.environ["WORKER"]
    journal = Journal(os.environ["JOURNAL"], by=name, pid=os.getpid())
    worker = Worker(name=name, back_end=os.environ["BACK_END"], journal=journal)
    routes = [
        Route("/me", me),
        Route("/slow", slow),
        Route("/stream", stream),
        Route("/fail", fail),
        Route("/note", note, methods=["POST"]),
        Route("/login", worker.login, methods=["POST"]),
        Route("/logout", leave, methods=["POST"]),
        WebSocketRoute("/socket", socket),
    ]
    rotation = TokenRotation(
        secret=settings.SECRET,
        store=os.environ["STORE"],
        refresh=worker.refresh,
        callbacks=Callbacks(jwt=changed),
        events=Events(
            refreshed=worker.refreshed,
            refresh_failed=worker.refresh_failed,
            session_ended=worker.ended,
            stale_cookie=worker.stale,
        ),
        refresh_options=RefreshOptions(
            margin=settings.MARGIN,
            timeout=settings.TIMEOUT,
            wait=settings.WAIT,
            grace=settings.GRACE,
            undelivered=settings.UNDELIVERED,
            lease=settings.LEASE,
        ),
        clock=lambda: time.time() + skew,
    )
    return TokenRotationMiddleware(Starlette(routes=routes), rotation=rotation)


def main() -> None:
    """Serve until somebody ends it, or the parent is gone."""
    end_with_parent()
    port = int(os.environ["PORT"])
    uvicorn.run(
        create(), host="127.0.0.1", port=port, log_level="warning", timeout_keep_alive=75, ws="websockets-sansio"
    )


if __name__ == "__main__":
    main()
