"""Workers, their token server and their store: processes of their own on 127.0.0.1, gone after the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx

from asgi_token_rotation import TokenSet
from asgi_token_rotation.testing import session_cookie
from stores.redis_servers import Server, running
from workers.browser import Answer, Browser
from workers.processes import Process

SECRET = "the secret of all workers, long enough for everybody"
ADA = "Ada"
HOUR = 3600.0  # seconds


class Meeting(Protocol):
    """A store that a test can take away. ``url``: for a worker of that name."""

    def url(self, worker: str) -> str:
        """What the worker is configured with."""
        ...

    def down(self) -> contextlib.AbstractContextManager[None]:
        """Out of reach, for a while."""
        ...


class RedisMeeting:
    """A Redis that has every answered write on the disk. ``killed``: it goes down by SIGKILL, else by SIGSTOP."""

    def __init__(self, server: Server, *, killed: bool = False) -> None:
        self.server = server
        self._killed = killed

    def url(self, worker: str) -> str:
        """Each worker's connections carry its name."""
        return f"{self.server.url}?client_name={worker}"

    @contextmanager
    def down(self) -> Iterator[None]:
        """Killed and started again, or stopped and continued."""
        if not self._killed:
            with self.server.paused():
                yield
            return
        self.server.stop()
        try:
            yield
        finally:
            self.server.start()


class SQLiteMeeting:
    """A file. It goes down by a transaction that another program keeps open in it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def url(self, worker: str) -> str:
        """The same for all."""
        return f"sqlite:///{self._path}"

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody else can write; who asks is told so after SQLiteStore's busy_timeout."""
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None, timeout=10)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")


@contextmanager
def meeting(kind: str, folder: Path) -> Iterator[Meeting]:
    """``redis`` (stopped where it goes down), ``redis, killed`` or ``sqlite``."""
    if kind == "sqlite":
        yield SQLiteMeeting(folder / "sessions.db")
        return
    with running("--appendonly", "yes", "--appendfsync", "always") as server:
        yield RedisMeeting(server, killed=kind == "redis, killed")


class Fleet:
    """The workers, in the order of their options, and the token server behind them."""

    def __init__(self, back_end: Process, workers: Sequence[Process], meeting: Meeting) -> None:
        self.workers = list(workers)
        self.meeting = meeting
        self._back_end = back_end
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{back_end.port}", trust_env=False)

    @property
    def ports(self) -> list[int]:
        """Where the workers listen."""
        return [worker.port for worker in self.workers]

    async def steer(self, **order: Any) -> dict[str, Any]:
        """Turn the token server's switches; its counters."""
        answer: dict[str, Any] = (await self._client.post("/control", json=order)).raise_for_status().json()
        return answer

    async def sends(self, browser: Browser) -> list[int]:
        """How often each of the family's refresh tokens reached the token server, oldest first."""
        sent = (await self.steer())["sent"]
        names = [name for name in sent if name.rpartition("-")[0] == browser.family]
        return [sent[name] for name in sorted(names, key=lambda name: int(name.rpartition("-")[2]))]

    async def signed_in(
        self, *, valid_for: float = -1.0, provider: str = "credentials", secret: str = SECRET
    ) -> Browser:
        """A browser that signed in an hour ago, and whose access token expires in so many seconds."""
        response = await self._client.post("/auth/login", json={"username": "ada", "password": "lovelace"})
        answer = response.raise_for_status().json()
        now = time.time()
        tokens = TokenSet(
            access_token=answer["accessToken"], refresh_token=answer["refreshToken"], expires_at=now + valid_for
        )
        user = {"id": answer["id"], "name": answer["name"], "email": answer["email"]}
        cookies = session_cookie(secret=secret, user=user, tokens=tokens, provider=provider, clock=lambda: now - HOUR)
        family = (await self.steer(whose=answer["refreshToken"]))["name"].rpartition("-")[0]
        return Browser("; ".join(f"{name}={value}" for name, value in cookies.items()), family=family)

    async def counts(self, worker: int) -> dict[str, int]:
        """What went wrong in that worker."""
        return (await Browser("", family="").get(self.ports[worker], "/counts")).content

    async def aclose(self) -> None:
        """Kill all."""
        await self._client.aclose()
        for process in (*self.workers, self._back_end):
            process.kill()


@asynccontextmanager
async def fleet(
    meeting: Meeting, folder: Path, *workers: dict[str, Any], secrets: Sequence[Sequence[str]] = ()
) -> AsyncIterator[Fleet]:
    """As many workers as RefreshOptions are given; ``secrets`` of each, where they differ."""
    back_end = Process("workers.back_end", "back-end", folder)
    processes = [
        Process(
            "workers.application",
            f"worker{number}",
            folder,
            STORE=meeting.url(f"worker{number}"),
            BACK_END=f"http://127.0.0.1:{back_end.port}",
            SECRETS=json.dumps(secrets[number] if secrets else [SECRET]),
            REFRESH=json.dumps(refresh),
        )
        for number, refresh in enumerate(workers)
    ]
    started = Fleet(back_end, processes, meeting)
    try:
        for process in (back_end, *processes):
            process.start()
        for process in (back_end, *processes):
            await process.ready()
        yield started
    finally:
        await started.aclose()


async def at_once(browsers: Sequence[Browser], ports: Sequence[int], path: str = "/me") -> list[Answer]:
    """One request of each browser at one time, spread evenly over the workers."""
    return await asyncio.gather(
        *(browser.get(ports[number % len(ports)], path) for number, browser in enumerate(browsers))
    )


async def until(condition: Callable[[], Any], *, seconds: float, every: float = 0.05) -> float:
    """Wait until it holds, and answer how long that took. ``condition`` may be a coroutine function."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if await answer if asyncio.iscoroutine(answer) else answer:
                return time.monotonic() - began
            await asyncio.sleep(every)
