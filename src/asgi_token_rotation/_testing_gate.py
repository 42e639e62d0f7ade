"""Where the token server's requests wait when a test says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal["before", "after"]  # the rotation


class Gate:
    """Holds requests at one stage, and counts them. Bound to no event loop, so that one server serves several."""

    def __init__(self) -> None:
        self._closed_at: Stage | None = None
        self._arrivals = 0
        self._waiters: list[asyncio.Future[None]] = []

    def close(self, stage: Stage | None) -> None:
        """Hold what comes to this stage, and count anew; None: let all go."""
        if stage is not None:
            self._arrivals = 0
        self._closed_at = stage
        self._notify()

    async def passed(self, stage: Stage) -> None:
        """Wait while this stage is closed."""
        if stage == (self._closed_at or "before"):
            self._arrivals += 1
            self._notify()
        await self._until(lambda: self._closed_at != stage)

    async def arrived(self, number: int) -> None:
        """Wait until so many requests have come to the stage that is closed; to the first one while none is."""
        await self._until(lambda: self._arrivals >= number)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while True:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)  # before the look: a change in another thread must not fall between
            if condition():
                return
            await waiter

    def _notify(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            with contextlib.suppress(RuntimeError):  # its event loop is closed: nobody waits any more
                waiter.get_loop().call_soon_threadsafe(_wake, waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
