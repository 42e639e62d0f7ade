"""The strict token server as a process of its own, with faults to order and a journal of every refresh.

``POST /control`` takes a JSON object: ``latency`` and ``latency_after`` (seconds, at most), ``fail`` (a status), ``cut``
("before" or "after" the rotation), ``share`` of the refreshes that are hit. ``GET /control`` answers the counters.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from typing import Any

import uvicorn

from asgi_token_rotation.testing import TokenServer
from asgi_token_rotation.types import ASGIApp, Message, Receive, Scope, Send
from chaos import settings
from chaos.journal import Journal
from chaos.processes import end_with_parent

PASSWORD = "the same for all"


class BackEnd:
    """TokenServer judges; this decides which requests reach it, and notes what came of them."""

    def __init__(self, journal: Journal, seed: str) -> None:
        users = {f"user{number}": PASSWORD for number in range(settings.USERS)}
        self._server = TokenServer(access_token_lifetime=settings.ACCESS_TOKEN_LIFETIME, users=users)
        self._journal = journal
        self._random = random.Random(f"{seed}/back end")
        self._order: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            await self._server(scope, receive, send)
        elif scope["path"] == "/control":
            await self._control(scope, await _body(receive), send)
        elif scope["path"] == "/auth/refreshToken":
            await self._refresh(scope, await _body(receive), send)
        else:
            answer = await _asked(self._server, scope, await _body(receive))
            name = self._server.name_of(json.loads(answer[1]["body"]).get("refreshToken", ""))
            await _pass_on([_with_header(answer[0], b"x-family", name.partition("-")[0]), answer[1]], send)

    async def _control(self, scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] == "POST":
            self._order = json.loads(body)
        server = self._server
        await _answer(send, 200, {"logins": server.logins, "rotations": server.rotations, "reuses": server.reuses})

    async def _refresh(self, scope: Scope, body: bytes, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        name = self._server.name_of(json.loads(body)["token"])
        more = {"send": headers["x-send"], "token": name, "worker": headers["x-worker"], "family": name.split("-")[0]}
        order, hit = self._order, self._random.random() < self._order.get("share", 1.0)
        slow = self._random.random()
        self._journal.write("received", **more)
        await asyncio.sleep(order.get("latency", 0.0) * slow)
        if hit and order.get("fail"):
            self._journal.write("failed", status=order["fail"], **more)
            await _answer(send, order["fail"], {"message": "Not now."}, retry_after="1")
        elif hit and order.get("cut") == "before":
            self._journal.write("cut", stage="before", **more)
            await _cut(send)
        else:
            answer = await _asked(self._server, scope, body)
            new = self._server.name_of(json.loads(answer[1]["body"]).get("refreshToken", ""))
            self._journal.write("judged", status=answer[0]["status"], new=new, reuses=self._server.reuses, **more)
            await asyncio.sleep(order.get("latency_after", 0.0) * slow)
            if hit and order.get("cut") == "after":
                self._journal.write("cut", stage="after", **more)
                await _cut(send)
            await _pass_on(answer, send)
            self._journal.write("answered", **more)


async def _asked(app: ASGIApp, scope: Scope, body: bytes) -> list[Message]:
    """The answer of an application to one request: its two messages."""
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    return messages


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if not message.get("more_body", False):
            return body


async def _pass_on(messages: list[Message], send: Send) -> None:
    for message in messages:
        await send(message)


async def _cut(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4096")]})
    raise ConnectionError("The connection is cut, as ordered.")  # uvicorn closes it


async def _answer(send: Send, status: int, content: dict[str, Any], *, retry_after: str | None = None) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 429 and retry_after is not None:
        headers.append((b"retry-after", retry_after.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _with_header(message: Message, name: bytes, value: str) -> Message:
    return message | {"headers": [*message["headers"], (name, value.encode())]}


def main() -> None:
    """Serve until the parent is gone."""
    end_with_parent()
    app = BackEnd(Journal(os.environ["JOURNAL"], by="back end"), os.environ["SEED"])
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="critical", timeout_keep_alive=60)


if __name__ == "__main__":
    main()
