"""One task for many who wait, and it outlives them all."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

from .._loops import PerLoop as PerLoop

T = TypeVar("T")


class Tasks:
    """Detached tasks of one loop: no request's cancellation reaches them, and a shutdown can wait for them."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[object]] = set()

    def spawn(self, work: Awaitable[T]) -> asyncio.Task[T]:
        """Run the work apart from whoever asked for it, in a context of its own."""

        async def detached() -> T:
            return await work

        task = asyncio.get_running_loop().create_task(detached(), context=contextvars.Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def drain(self, seconds: float) -> int:
        """Wait for all of them, those that they spawn included, and answer how many are left after so many seconds."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._running and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(set(self._running), timeout=left)
        return len(self._running)


class Flight(Generic[T]):
    """One piece of work under way. It is *parked* where somebody else does the real work and it only watches."""

    def __init__(self) -> None:
        self.parked = False
        self.task: asyncio.Task[T] | None = None
        self._waiting: dict[asyncio.Future[None], None] = {}  # in order of arrival
        self._waiting_unless_parked: dict[asyncio.Future[None], None] = {}

    def park(self) -> None:
        """Tell those who need not wait for another worker."""
        self.parked = True
        _wake(self._waiting_unless_parked)

    def land(self) -> None:
        """Tell everybody that the task is done."""
        _wake((*self._waiting, *self._waiting_unless_parked))

    async def wait(self, seconds: float, *, or_parked: bool = False) -> T | None:
        """The result, or None after so many seconds, or as soon as it is parked. A cancelled waiter cancels nothing."""
        task = self.task
        assert task is not None  # noqa: S101 set before anyone can see the flight
        if not task.done() and not (or_parked and self.parked):
            # As asyncio.wait does it, in a third of the time: there may be a thousand of them.
            loop, waiting = asyncio.get_running_loop(), self._waiting_unless_parked if or_parked else self._waiting
            waiter = loop.create_future()
            waiting[waiter] = None
            timer = loop.call_later(seconds, _wake, (waiter,))
            try:
                await waiter
            finally:
                timer.cancel()
                del waiting[waiter]
        return task.result() if task.done() and not task.cancelled() else None


def _wake(waiters: Iterable[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


class SingleFlight(Generic[T]):
    """At most one flight for each key and loop."""

    def __init__(self, tasks: PerLoop[Tasks]) -> None:
        self._tasks = tasks
        self._flights: PerLoop[dict[Hashable, Flight[T]]] = PerLoop(dict)

    def under_way(self, key: Hashable) -> bool:
        """Whether there is a flight for the key."""
        return key in self._flights.get()

    def join(self, key: Hashable, work: Callable[[Flight[T]], Awaitable[T]]) -> tuple[Flight[T], bool]:
        """The flight for the key, and whether this call started it."""
        flights = self._flights.get()
        if key in flights:
            return flights[key], False
        flight: Flight[T] = Flight()
        flights[key] = flight
        flight.task = self._tasks.get().spawn(work(flight))

        def landed(_: asyncio.Task[T]) -> None:
            if flights.get(key) is flight:
                del flights[key]
            flight.land()

        flight.task.add_done_callback(landed)
        return flight, True


class Turns:
    """One at a time for each key, in order of arrival."""

    def __init__(self) -> None:
        self._turns: PerLoop[dict[str, tuple[asyncio.Lock, int]]] = PerLoop(dict)

    async def take(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """Run the work when the key is free."""
        turns = self._turns.get()
        turn, waiting = turns.get(key, (asyncio.Lock(), 0))
        turns[key] = (turn, waiting + 1)
        try:
            async with turn:
                return await work()
        finally:
            turn, waiting = turns[key]
            if waiting == 1:
                del turns[key]
            else:
                turns[key] = (turn, waiting - 1)
