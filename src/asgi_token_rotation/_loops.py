"""Things that belong to one event loop, where several may come and go (a test client makes one for each request)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One object for each running event loop; those of closed loops are let go."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._of: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """The running loop's object, made at the first call."""
        loop = asyncio.get_running_loop()
        if loop not in self._of:
            for other in [other for other in list(self._of) if other.is_closed()]:
                self._of.pop(other, None)
            self._of[loop] = self._make()
        return self._of[loop]

    def drop(self) -> T | None:
        """The running loop's object, if there is one; the next ``get`` makes another."""
        return self._of.pop(asyncio.get_running_loop(), None)


def closed_with_loop(aclose: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Have the running loop call ``aclose`` before it ends. To call it earlier, and only once, close what is answered.

    ``asyncio.run``, and so every server and test client, closes the asynchronous generators that were begun in its
    loop while the loop still runs. Nothing else tells a library that a loop ends, and connections that are found only
    after it has closed can't be closed any more.
    """

    async def guard() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await aclose()

    generator = guard()
    with contextlib.suppress(StopIteration):
        generator.__anext__().__await__().send(None)  # up to the yield, without a wait
    return generator
