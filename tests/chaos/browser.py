"""One simulated browser: it knows who it is, what it sent with which cookie, and whether the answer is right."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from chaos.jar import Jar
from chaos.journal import Journal

REFUSED = "RefreshAccessTokenError"
PATIENCE = 40.0  # seconds that a browser waits for an answer, unless it goes away


@dataclass(frozen=True, slots=True)
class Sent:
    """What a browser was when it sent a request. ``late``: with its previous cookie."""

    what: str
    cookie: str
    epoch: int
    changes: int
    at: float
    note: tuple[int, int] = (0, 0)  # the newest that had been stored, and in which generation
    late: bool = False


class GoneError(Exception):
    """The connection broke before an answer came."""

    def __init__(self, worker: str, reason: str) -> None:
        super().__init__(reason)
        self.worker = worker


class Network:
    """A load balancer without stickiness, and connections without cookies of their own."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.ports = ports
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=4)
        self.client = httpx.AsyncClient(limits=limits, timeout=PATIENCE, trust_env=False)
        self.client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    @contextlib.asynccontextmanager
    async def answer(
        self, chosen: Sequence[str], method: str, path: str, cookie: str
    ) -> AsyncIterator[tuple[str, httpx.Response]]:
        """The worker's name and its answer, as soon as its headers are there."""
        headers = {"cookie": cookie} if cookie else {}
        if path == "/fail":
            headers["connection"] = "close"  # uvicorn closes it anyway, which another request must not run into
        for name in chosen:
            request = self.client.build_request(method, f"http://127.0.0.1:{self.ports[name]}{path}", headers=headers)
            try:
                response = await self.client.send(request, stream=True)
            except httpx.ConnectError:
                continue  # that worker is being restarted: a load balancer takes another
            except httpx.TransportError as error:
                raise GoneError(name, type(error).__name__) from error
            try:
                yield name, response
            except httpx.TransportError as error:
                raise GoneError(name, type(error).__name__) from error
            finally:
                await response.aclose()
            return
        raise GoneError("", "no worker listens")


class Browser:
    """What one user's browser holds and believes. ``family`` is None while nobody is signed in."""

    def __init__(self, name: str, *, seed: int, network: Network, journal: Journal) -> None:
        self.name = name
        self.random = random.Random(f"{seed}/browser/{name}")
        self.jar = Jar()
        self.user: str | None = None
        self.family: str | None = None
        self.note_stored = (0, 0)  # the newest of which the user was told that it is stored, and in which generation
        self.epoch = 0  # counts what the user did about who is signed in
        self.left: list[tuple[str, str, float]] = []  # cookie and family of ended sessions, and since when
        self._epoch_of_cookie = 0
        self.network = network
        self.journal = journal

    def note(self, event: str, **more: Any) -> None:
        """A line in the journal of browsers."""
        self.journal.write(event, browser=self.name, epoch=self.epoch, **more)

    def sending(self, what: str) -> Sent:
        """A request that goes out now, with the newest cookie."""
        return Sent(what, self.jar.header, self.epoch, self.jar.changes, time.time(), self.note_stored)

    async def request(self, sent: Sent, method: str, path: str, *, leaves_after: float | None = None) -> Any:
        """The JSON answer, judged; None where none came: the connection broke, or the user went away before."""
        chosen = self._chosen()
        try:
            async with (
                asyncio.timeout(leaves_after),
                self.network.answer(chosen, method, path, sent.cookie) as (worker, response),
            ):
                began = time.time() - sent.at
                self._take(response.headers.get_list("set-cookie"), sent, worker)
                body = await response.aread()
        except TimeoutError:
            self.note("went away", what=sent.what, family=self.family)
            return None
        except GoneError as error:
            self.note("broken", what=sent.what, family=self.family, error=str(error), worker=error.worker, sent=sent.at)
            return None
        status = response.status_code
        content = json.loads(body) if status == 200 and body.strip() else None
        self._judge(sent, worker, status, content, began)
        return content if status == 200 else None

    async def talk(self, messages: int) -> None:
        """A WebSocket with a few messages; the handshake's cookies count like any."""
        sent = self.sending("socket")
        worker = self._chosen()[0]
        port = self.network.ports[worker]
        headers = {"cookie": sent.cookie}
        try:
            async with (
                asyncio.timeout(PATIENCE),
                connect(
                    f"ws://127.0.0.1:{port}/socket",
                    additional_headers=headers,
                    origin=f"http://127.0.0.1:{port}",  # type: ignore[arg-type]
                    proxy=None,
                    open_timeout=None,
                ) as socket,
            ):
                began = time.time() - sent.at
                if socket.response is not None:
                    self._take(socket.response.headers.get_all("set-cookie"), sent, worker)
                for _ in range(messages):
                    await socket.send("who?")
                    self._judge(sent, worker, 200, json.loads(await socket.recv()), began)
                    await asyncio.sleep(self.random.uniform(0.0, 2.0))
        except (OSError, WebSocketException) as error:  # TimeoutError is an OSError
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status is not None:
                self._judge(sent, worker, status, None, time.time() - sent.at)
            elif not isinstance(error, ConnectionRefusedError):
                name = type(error).__name__
                self.note("broken", what="socket", family=self.family, error=name, worker=worker, sent=sent.at)

    def become(self, user: str | None, family: str | None) -> None:
        """Somebody else from now on; answers to older requests are no longer judged."""
        self.user, self.family, self.note_stored = user, family, (0, 0)
        self.epoch += 1

    def owns_its_cookie(self) -> bool:
        """Whether the newest cookie is of the present session: an older one's may have overtaken."""
        return self._epoch_of_cookie == self.epoch

    def _chosen(self) -> list[str]:
        return self.random.sample(sorted(self.network.ports), len(self.network.ports))

    def _take(self, lines: Sequence[str], sent: Sent, worker: str) -> None:
        if not self.jar.take(lines):
            return
        if sent.epoch != self.epoch:
            self.note("overtaken", what=sent.what, family=self.family, sent=sent.at, worker=worker)
        self._epoch_of_cookie = sent.epoch

    def _judge(self, sent: Sent, worker: str, status: int, content: Any, began: float) -> None:
        content = content or {}
        wrong = None
        if status != 200:
            wrong = None if sent.what == "fail" else "status"
        elif sent.epoch == self.epoch and self.family is not None and self.owns_its_cookie():
            wrong = self._wrong(sent, content)
        self.note(
            "response",
            what=sent.what,
            family=self.family if sent.epoch == self.epoch else None,
            worker=worker,
            status=status,
            generation=content.get("generation"),
            error=content.get("error"),
            waited=round(began, 3),
            late=sent.late,
        )
        if wrong is not None:
            self.note(
                "wrong", how=wrong, family=self.family, what=sent.what, worker=worker, status=status, sent=sent.at
            )
        if wrong in ("anonymous", "refused"):
            self.become(None, None)

    def _wrong(self, sent: Sent, content: dict[str, Any]) -> str | None:
        """What is wrong with an answer to who is signed in as ``user`` and has done nothing about it since."""
        if sent.late and self.jar.changes > sent.changes + 1:
            return None  # two rotations ago by now: nobody promised it anything
        if content.get("user") is None:
            return "late anonymous" if sent.late else "anonymous"
        if (content["user"], content["family"]) != (self.user, self.family):
            return "somebody else's"
        if content.get("error") == REFUSED:
            return "refused"
        # An older cookie may overtake for a moment, and is served by what is in it as long as nothing is due.
        number, generation = sent.note
        return "an update lost" if content["generation"] >= generation and content["note"] < number else None
