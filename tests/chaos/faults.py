"""What befalls a run: workers killed and stopped, the store restarted and stalled, the back end slow, failing, cut.

Each fault is noted in the journal before it begins and after it ends: the verdict goes by these lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from chaos import settings
from chaos.journal import Journal
from chaos.processes import Process


class Workers:
    """Kills and stops single workers."""

    def __init__(self, workers: list[Process], journal: Journal, chance: random.Random) -> None:
        self._workers = workers
        self._journal = journal
        self._chance = chance

    async def kill(self) -> None:
        """SIGKILL, and a new one at once."""
        worker = self._chance.choice(self._workers)
        pid = worker.pid
        worker.kill()
        self._journal.write("killed", worker=worker.name, pid=pid)
        worker.start()
        await worker.ready()
        self._journal.write("started", worker=worker.name, pid=worker.pid)

    async def stall(self) -> None:
        """SIGSTOP for less than what is left of a lease."""
        await self._stop(self._chance.uniform(*settings.SHORT_STALL))

    async def stop(self) -> None:
        """SIGSTOP for longer than a lease: nobody can tell it from a death."""
        await self._stop(self._chance.uniform(*settings.LONG_STALL))

    async def _stop(self, seconds: float) -> None:
        worker = self._chance.choice(self._workers)
        began = time.time()
        self._journal.write("stopping", worker=worker.name, pid=worker.pid, seconds=seconds)
        worker.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            worker.signal(signal.SIGCONT)
            self._journal.write("stopped", worker=worker.name, pid=worker.pid, began=began)


class RedisFaults:
    """Restarts and stalls of the Redis server."""

    def __init__(self, server: Process, journal: Journal, chance: random.Random) -> None:
        self._server = server
        self._journal = journal
        self._chance = chance

    async def restart(self) -> None:
        """SIGKILL and start; with ``appendfsync always`` nothing that was answered is gone."""
        began = time.time()
        self._server.kill()
        self._server.start()
        await self._server.ready()
        self._journal.write("store", what="restarted", began=began)

    async def stall(self) -> None:
        """SIGSTOP for less than what is left of a lease."""
        began = time.time()
        self._server.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(self._chance.uniform(*settings.SHORT_STALL))
        finally:
            self._server.signal(signal.SIGCONT)
            self._journal.write("store", what="stalled", began=began)


class SQLiteFaults:
    """Others who use the file: one holds the place of the writer, one keeps an old snapshot."""

    def __init__(self, path: Path, journal: Journal, chance: random.Random) -> None:
        self._path = path
        self._journal = journal
        self._chance = chance

    async def stall(self) -> None:
        """Nobody else can write for less than what is left of a lease."""
        await asyncio.to_thread(self._hold, "BEGIN IMMEDIATE", "stalled")

    async def restart(self) -> None:
        """Nobody can bring the WAL into the file meanwhile."""
        await asyncio.to_thread(self._hold, "BEGIN; SELECT count(*) FROM record", "read")

    def _hold(self, statements: str, what: str) -> None:
        began = time.time()
        with contextlib.closing(sqlite3.connect(self._path, timeout=5, isolation_level=None)) as connection:
            for statement in statements.split(";"):
                connection.execute(statement).fetchall()
            time.sleep(self._chance.uniform(*settings.SHORT_STALL))
            connection.execute("ROLLBACK")
        self._journal.write("store", what=what, began=began)


class NoFaults:
    """A store within each worker has none."""

    async def restart(self) -> None:
        """Nothing."""

    async def stall(self) -> None:
        """Nothing."""


class BackEndFaults:
    """Orders to the token back end, each for a while."""

    def __init__(self, url: str, journal: Journal, chance: random.Random) -> None:
        self._url = url
        self._journal = journal
        self._chance = chance

    async def bad_minute(self) -> None:
        """One fault for some seconds; answers that are late are the commonest."""
        slow = {"latency": self._chance.uniform(*settings.LATENCY), "latency_after": self._chance.choice((0.0, 1.0))}
        orders: list[tuple[int, dict[str, Any], float]] = [
            (6, slow, 4.0),
            (2, {"fail": 503, "share": 0.6}, 2.0),
            (2, {"fail": 429, "share": 0.6}, 2.0),
            (2, {"cut": "before", "share": 0.4}, 1.5),
            (2, {"cut": "after", "share": 0.3} | slow, 1.0),
        ]
        _, order, seconds = self._chance.choices(orders, [weight for weight, _, _ in orders])[0]
        await self.order(order)
        try:
            await asyncio.sleep(self._chance.uniform(seconds / 2, seconds))
        finally:
            await self.order({})

    async def order(self, order: dict[str, Any]) -> dict[str, Any]:
        """Give an order and answer the counters."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            response = await client.post(f"{self._url}/control", json=order)
        self._journal.write("order", order=order)
        counters: dict[str, Any] = response.raise_for_status().json()
        return counters


async def befall(
    deeds: Sequence[tuple[int, Callable[[], Awaitable[None]]]],
    chance: random.Random,
    *,
    until: float,
    between: tuple[float, float],
) -> None:
    """One thing after the other, by weight, with seconds between in which beats come through."""
    while True:
        await asyncio.sleep(chance.uniform(*between))
        if time.time() >= until:
            return
        deed = chance.choices([deed for _, deed in deeds], [weight for weight, _ in deeds])[0]
        await deed()
