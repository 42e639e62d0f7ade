"""News of changed records by Redis publish/subscribe: one connection for all who wait in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any, Protocol

from .._log import logger, where

LINGER = 1.0  # seconds that a subscription outlives its last waiter, who reads the record and often comes back
UNHEARD = 0.5  # seconds that a wait lasts at most where no news can be heard
SILENCE = 5.0  # seconds without a word after which the connection is tried
FIRST_PAUSE = 0.1  # seconds between two connections, doubled with each that fails
LONGEST_PAUSE = 5.0  # seconds


class PubSub(Protocol):
    """What is used of ``redis.asyncio.client.PubSub``."""

    async def subscribe(self, *channels: Any) -> Any:
        """Ask for the channels' messages."""
        ...

    async def unsubscribe(self, *channels: Any) -> Any:
        """Ask for them no more."""
        ...

    async def get_message(self, *, timeout: float) -> Any:  # noqa: ASYNC109 redis-py's
        """The next message, or None after so many seconds."""
        ...

    async def ping(self) -> Any:
        """Ask for a pong message."""
        ...

    async def aclose(self) -> Any:
        """Close the connection."""
        ...


class _Topic:
    """One channel, from the first who waits for it until a while after the last."""

    def __init__(self) -> None:
        self.waiting: set[asyncio.Future[None]] = set()
        self.heard = False  # the server has confirmed the subscription
        self.missed = False  # there was news while nobody waited
        self.end: asyncio.TimerHandle | None = None

    def tell(self) -> None:
        """Wake all who wait, or else the next who will."""
        self.missed = not self.waiting
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(None)

    def keep(self) -> None:
        """Somebody waits: it does not end."""
        if self.end is not None:
            self.end.cancel()
            self.end = None


class News:
    """Tells who waits in this event loop that a channel had a message. Its failures are silence, never exceptions."""

    def __init__(self, open_pubsub: Callable[[], PubSub]) -> None:
        self._open = open_pubsub
        self._topics: dict[bytes, _Topic] = {}
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Timeout | None = None
        self._stale = False  # the subscriptions are not those that are wanted
        self._failures = 0  # in a row
        self._warned = False

    async def wait(self, channel: bytes, seconds: float) -> None:
        """Return at the channel's next message, or after so many seconds; earlier where the connection failed."""
        topic = self._topics.get(channel)
        if topic is None:
            topic = self._topics[channel] = _Topic()
            self._interrupt()
        topic.keep()
        waiter = asyncio.get_running_loop().create_future()
        topic.waiting.add(waiter)
        if topic.missed:
            topic.tell()
        self._start()
        try:
            await asyncio.wait({waiter}, timeout=seconds if topic.heard else min(seconds, UNHEARD))
        finally:
            topic.waiting.discard(waiter)
            if not topic.waiting and self._topics.get(channel) is topic:
                topic.end = asyncio.get_running_loop().call_later(LINGER, self._forget, channel)

    async def aclose(self) -> None:
        """Let go of the connection and wake who waits. It may be used again."""
        task, self._task = self._task, None
        topics, self._topics = self._topics, {}
        for topic in topics.values():
            topic.keep()
            topic.tell()
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _forget(self, channel: bytes) -> None:
        del self._topics[channel]
        self._interrupt()

    def _interrupt(self) -> None:
        """Have the listener look at the topics, now."""
        self._stale = True
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.reschedule(asyncio.get_running_loop().time())

    def _start(self) -> None:
        if self._task is None or self._task.done():
            # In a context of its own: it outlives the request that happened to come first.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    async def _run(self) -> None:
        while self._topics:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 whatever it is: there is no news, and who waits looks for himself
                self._failed(error)
                await asyncio.sleep(min(FIRST_PAUSE * 2 ** (self._failures - 1), LONGEST_PAUSE))

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures > 1 and not self._warned:  # once is what a server's restart looks like
            self._warned = True
            logger.warning(
                "The Redis store hears no news, so waiting requests look every half second: %s", where(error)
            )
        for topic in self._topics.values():
            topic.heard = False
            topic.tell()

    async def _listen(self) -> None:
        """Hold one connection while anybody waits, subscribed to what is waited for."""
        pubsub = self._open()
        subscribed = set[bytes]()
        silent = False
        try:
            while self._topics:
                self._stale = False
                await _subscribe(pubsub, wanted=set(self._topics), subscribed=subscribed)
                message = await self._next_message(pubsub)
                if message is not None:
                    silent = False
                    self._take(message)
                elif not self._stale:
                    if silent:
                        raise TimeoutError("The server did not answer a ping.")
                    silent = True
                    await pubsub.ping()
        finally:
            with contextlib.suppress(Exception):  # it would hide a cancellation
                await pubsub.aclose()

    async def _next_message(self, pubsub: PubSub) -> Any:
        """The next message, or None after a silence or an interruption.

        An interruption cancels the read, as redis-py's own time-out does; what had arrived stays in its buffer.
        """
        if self._stale:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None) as self._reading:
                try:
                    return await pubsub.get_message(timeout=SILENCE)
                finally:
                    self._reading = None
        return None

    def _take(self, message: dict[str, Any]) -> None:
        topic = self._topics.get(message["channel"])
        if topic is None:
            return
        if message["type"] == "message":
            topic.tell()
        elif message["type"] == "subscribe":
            if topic.heard:  # again: redis-py had to connect anew, and nobody knows what was said meanwhile
                topic.tell()
            topic.heard = True
            self._failures = 0


async def _subscribe(pubsub: PubSub, *, wanted: set[bytes], subscribed: set[bytes]) -> None:
    new, old = wanted - subscribed, subscribed - wanted
    if new:
        await pubsub.subscribe(*new)
        subscribed |= new
    if old:
        await pubsub.unsubscribe(*old)
        subscribed -= old
