"""The background note that the browser has the newest generation."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import StoreError
from ..types import JWT
from . import record as records
from .ledger import Bounded, Ledger
from .policy import moment
from .record import Record
from .single_flight import PerLoop, Tasks

NOTED_SESSIONS = 100_000


class Deliveries:
    """Notes deliveries: for each generation once in a process, and never so that a request waits."""

    def __init__(self, *, ledger: Ledger, tasks: PerLoop[Tasks], grace: float, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._tasks = tasks
        self._grace = grace  # seconds
        self._clock = clock
        self._noted: Bounded[int] = Bounded(NOTED_SESSIONS)

    def note(self, key: str, token: JWT) -> None:
        """The browser presented this token: so its predecessor's days are counted, once ``grace`` has passed."""
        generation, now = token["generation"], self._clock()
        if generation == 0 or self._noted.get(key) == generation:
            return
        known = self._ledger.known(key)
        if known is not None and known.generation == generation:
            if known.delivered is not None:
                return
            published: float | None = known.published
        else:
            published = moment(token, "issued_at")
        if published is not None and now < published + self._grace:
            return
        self._noted.put(key, generation)
        self._tasks.get().spawn(self._write(key, generation, now=now))

    async def _write(self, key: str, generation: int, *, now: float) -> None:
        def transition(record: Record | None) -> Record | None:
            return records.noted(record, generation, grace=self._grace, now=now)

        try:
            change = await self._ledger.change(key, transition)
        except StoreError:
            self._noted.drop(key)  # the next request notes it
            return
        record = change.record
        if not change.made and record is not None and record.generation == generation and record.delivered is None:
            self._noted.drop(key)  # published less than grace ago: too early
