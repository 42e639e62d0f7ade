"""The store of one process: a bounded, expiring dictionary.

What it forgets first, when it is full, is written in ``stores/base.py``. Every operation is a handful of dictionary and
heap steps, O(log records), full or not: nobody who makes records can make one of them expensive.
"""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from ..errors import ConfigurationError, StoreError

_RANK = re.compile(rb"([kbe])(\d{1,15}(?:\.\d{1,9})?):")
_EXPIRED_PER_INSERTION = 2  # over one: a store in use shrinks to what is alive; few: nobody waits for it

_FORGETS = (
    "The memory store is full (max_records=%d), so it forgets what it has promised to remember: from now on a replayed"
    " cookie may reach the provider, a failing provider may be asked again too early, and a session that has ended may"
    ' come back. Raise MemoryStore(max_records=…), or use a store outside the process ("sqlite:///…", "redis://…").'
)
_logger = logging.getLogger("asgi_token_rotation")


def rank_of(value: bytes) -> tuple[str, float]:
    """A value's rank, ``k``, ``b`` or ``e``, and its time. What has none is kept for as long as its ``ttl`` says."""
    match = _RANK.match(value)
    return (match[1].decode(), float(match[2])) if match else ("k", float("inf"))


class _Queue:
    """Keys by a time, the earliest first, equals as they came: a binary heap that knows each key's place.

    With ``heapq`` a key that changes would leave its old entry behind, and sweeping those up takes a tenth of a second
    at 100 000 records. Here no step is longer than the heap is deep.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, str]] = []
        self._places: dict[str, int] = {}
        self._numbers = itertools.count()

    def add(self, key: str, at: float) -> None:
        """Take in a key that is not here."""
        self._entries.append((at, next(self._numbers), key))
        self._settle(len(self._entries) - 1)

    def remove(self, key: str) -> None:
        """Take out a key that is here."""
        place = self._places.pop(key)
        last = self._entries.pop()
        if place < len(self._entries):
            self._entries[place] = last
            self._settle(place)

    def earliest(self, *, until: float = float("inf")) -> str | None:
        """The earliest key if its time is at most ``until``."""
        return self._entries[0][2] if self._entries and self._entries[0][0] <= until else None

    def _settle(self, place: int) -> None:
        """Move the entry at this place up, or down, until it is in order."""
        entries, entry = self._entries, self._entries[place]
        while place > 0 and entry < entries[(place - 1) // 2]:
            self._put((place - 1) // 2, at_place=place)
            place = (place - 1) // 2
        while (child := self._earlier_child(place)) is not None and entries[child] < entry:
            self._put(child, at_place=place)
            place = child
        entries[place] = entry
        self._places[entry[2]] = place

    def _put(self, source: int, *, at_place: int) -> None:
        entry = self._entries[source]
        self._entries[at_place] = entry
        self._places[entry[2]] = at_place

    def _earlier_child(self, place: int) -> int | None:
        left = 2 * place + 1
        return min(
            (child for child in (left, left + 1) if child < len(self._entries)),
            key=self._entries.__getitem__,
            default=None,
        )


class _Record(NamedTuple):
    value: bytes
    expires_at: float
    rank: _Queue


class MemoryStore:
    """Records in this process's memory: right for one process, gone when it ends.

    It holds ``max_records`` at most. When it is full it drops expired records, then marks, then back-off states, then
    the oldest ends, and says so once in the log; never a claim or undelivered tokens: if nothing else is left, a new
    record is refused with ``StoreError``. It may be used from several event loops in several threads.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, max_records: int = 100_000) -> None:
        if isinstance(max_records, bool) or not isinstance(max_records, int) or max_records < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"MemoryStore.max_records is {max_records!r}: expected a whole number of records, 1 or more."
            )
        self._clock = clock
        self._max_records = max_records
        self._records: dict[str, _Record] = {}
        self._expiries = _Queue()
        self._keeps = _Queue()
        self._back_offs = _Queue()
        self._ends = _Queue()
        self._dropped_early = False
        self._guard = threading.Lock()  # held for microseconds, so it may be taken in an event loop

    async def get(self, key: str) -> bytes | None:
        """The record's bytes as last set, or None where there is none or it has expired."""
        with self._guard:
            return self._current(key, now=self._clock())

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        """Set ``value`` for ``ttl`` seconds if the record is ``expected`` (None: absent). StoreError when full."""
        with self._guard:
            now = self._clock()
            if self._current(key, now=now) != expected:
                return False
            is_first_loss = expected is None and self._make_room(now=now)
            self._set(key, value, expires_at=now + ttl)
        if is_first_loss:
            _logger.warning(_FORGETS, self._max_records)
        return True

    async def delete(self, key: str) -> None:
        """Forget the record; absent is fine."""
        with self._guard:
            if key in self._records:
                self._drop(key)

    async def aclose(self) -> None:
        """Nothing to let go of. The records stay: a lifespan may start again."""

    def _current(self, key: str, *, now: float) -> bytes | None:
        record = self._records.get(key)
        if record is None:
            return None
        if record.expires_at <= now:
            self._drop(key)
            return None
        return record.value

    def _set(self, key: str, value: bytes, *, expires_at: float) -> None:
        if key in self._records:
            self._drop(key)
        rank, at = rank_of(value)
        queue = {"k": self._keeps, "b": self._back_offs, "e": self._ends}[rank]
        queue.add(key, at)
        self._expiries.add(key, expires_at)
        self._records[key] = _Record(bytes(value), expires_at, queue)

    def _drop(self, key: str) -> None:
        record = self._records.pop(key)
        record.rank.remove(key)
        self._expiries.remove(key)

    def _make_room(self, *, now: float) -> bool:
        """Make room for one record. True if for the first time a record had to go that had not expired."""
        for _ in range(_EXPIRED_PER_INSERTION):
            expired = self._expiries.earliest(until=now)
            if expired is not None:
                self._drop(expired)
        if len(self._records) < self._max_records:
            return False
        self._drop(self._least_needed(now=now))
        is_first_loss, self._dropped_early = not self._dropped_early, True
        return is_first_loss

    def _least_needed(self, *, now: float) -> str:
        ever = float("inf")
        for queue, until in ((self._keeps, now), (self._back_offs, ever), (self._ends, ever)):
            key = queue.earliest(until=until)
            if key is not None:
                return key
        raise StoreError(
            f"The memory store is full: each of its {self._max_records} records holds a refresh under way or tokens"
            " that have not reached their browser, and dropping one would lose them. Raise MemoryStore(max_records=…),"
            " or use a store outside the process."
        )
