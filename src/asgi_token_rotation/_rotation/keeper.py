"""Brings to the store what it did not take, once it is back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .._log import logger
from ..errors import StoreError
from .ledger import Ledger
from .sealing import session_name
from .single_flight import PerLoop, Tasks

FIRST_PAUSE = 1.0  # seconds between two attempts, at first
LONGEST_PAUSE = 30.0  # seconds


class Keeper:
    """Keeps rotations and ends that could not be published, in the background, one task for each session."""

    def __init__(self, *, ledger: Ledger, tasks: PerLoop[Tasks], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._ledger = ledger
        self._tasks = tasks
        self._sleep = sleep
        self._kept: set[str] = set()

    def keep(self, key: str, *, longest_pause: float = LONGEST_PAUSE) -> None:
        """See to it that what this process knows of the session reaches the store, so many seconds after it is back."""
        if key not in self._kept:
            self._kept.add(key)
            self._tasks.get().spawn(self._bring_back(key, longest_pause=longest_pause))

    async def _bring_back(self, key: str, *, longest_pause: float) -> None:
        pause = min(FIRST_PAUSE, longest_pause)
        try:
            while True:
                await self._sleep(pause)
                pause = min(pause * 2, longest_pause)
                try:
                    await self._ledger.restore(key)
                except StoreError:
                    continue
                logger.info("session %s: the store has what it had not taken", session_name(key))
                return
        finally:
            self._kept.discard(key)
