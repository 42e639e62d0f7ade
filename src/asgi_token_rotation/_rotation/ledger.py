"""Records in the store, and what this process remembers of them."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

from ..errors import InvalidTokenError, StoreError
from ..stores.base import Store
from ..stores.memory import MemoryStore
from .record import Record, beaten
from .sealing import RecordSeal
from .single_flight import Turns

V = TypeVar("V")

KNOWN_SESSIONS = 20_000
TRIES = 100  # lost races in a row after which a store's compare-and-set is held to be broken
PATIENCE = 5  # times as long as without news: the first wait is short, since a store may miss what came just before it
LONGEST_ANSWER = 10.0  # seconds that a store may take
BRIEF = 0.005  # seconds: a store whose waits end at once must not keep the loop from everything else


class UnreadableRecordError(StoreError):
    """The record was written with a newer secret. ``raw`` is what stands in the store."""

    def __init__(self, raw: bytes) -> None:
        super().__init__("The session's record was sealed with a secret that this process does not have.")
        self.raw = raw


class Bounded(Generic[V]):
    """A table that forgets what was put longest ago."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[str, V] = OrderedDict()
        self.get: Callable[[str], V | None] = self._rows.get  # the row, if it is still remembered

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, key: str, row: V) -> None:
        """Remember the row as the newest."""
        self._rows[key] = row
        self._rows.move_to_end(key)
        if len(self._rows) > self._size:
            self._rows.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forget the row."""
        self._rows.pop(key, None)


class Entry(NamedTuple):
    """The record, and the bytes in the store that a compare-and-set must name.

    The record is the store's, unless this process knows of a newer generation that the store lost or never took: then
    every decision and the next write go by that one.
    """

    record: Record | None
    raw: bytes | None


@dataclass(frozen=True, slots=True)
class Change:
    """What came of a change: whether it was made, and what stands there now."""

    made: bool
    record: Record | None


class Ledger:
    """Reads and changes records. Every failure of the store is a StoreError."""

    def __init__(self, *, store: Store, seal: RecordSeal, ttl: float) -> None:
        self._store = store
        self._wait: Callable[[str, float], Awaitable[None]] | None = getattr(store, "wait", None)
        self._answers_at_once = type(store) is MemoryStore
        self._seal = seal
        self._ttl = ttl
        self._known: Bounded[Record] = Bounded(KNOWN_SESSIONS)
        self.known: Callable[[str], Record | None] = self._known.get  # by its key; None: not seen here
        self._turns = Turns()
        self._claims: dict[str, str] = {}  # of this process, under way: their owners
        self._read_at: Bounded[float] = Bounded(KNOWN_SESSIONS)  # by the event loop's clock
        self.counts: Counter[str] = Counter()  # of what went wrong

    def learn(self, key: str, record: Record) -> None:
        """Remember a record, unless something newer is known."""
        known = self._known.get(key)
        if known is None or (
            known.state != "ended" and (record.state == "ended" or record.generation >= known.generation)
        ):
            self._known.put(key, record)

    def hold(self, key: str, owner: str) -> None:
        """From now on every change that this process makes under this claim is a beat of it.

        Else a beat that queues behind slow changes of its own process, updates say, could come too late.
        """
        self._claims[key] = owner

    def let_go(self, key: str, owner: str) -> None:
        """The claim's owner is done."""
        if self._claims.get(key) == owner:
            del self._claims[key]

    def read_within(self, key: str, seconds: float) -> bool:
        """Whether the record was read or written so short a time ago."""
        read_at = self._read_at.get(key)
        return read_at is not None and asyncio.get_running_loop().time() - read_at < seconds

    async def read(self, key: str) -> Entry:
        """What stands in the store. UnreadableRecordError: it was written with a newer secret."""
        raw = await self._asked(self._store.get(key), "The store could not be read.")
        self._read_at.put(key, asyncio.get_running_loop().time())
        return self._opened(key, raw)

    async def restore(self, key: str) -> None:
        """Bring what this process knows to the store, if the store does not know it, or anything newer."""
        for _ in range(TRIES):
            known = self._known.get(key)
            raw = await self._asked(self._store.get(key), "The store could not be read.")
            owed = None if known is None else self._owed(key, raw, known)
            if owed is None or await self.replace(key, Entry(None, raw), owed) is not None:
                return
        raise StoreError(f"The store refused a compare-and-set {TRIES} times in a row.")

    async def wait(self, key: str, *, look: float, left: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Wait until it is worth reading the record again, ``left`` seconds at most.

        Where the store wakes its waiters the next look may be far off: ``look`` is the seconds where it does not.
        """
        if self._wait is None:
            await sleep(min(look, left))
            return
        time = asyncio.get_running_loop().time
        began = time()
        try:
            await self._wait(key, min(look * PATIENCE, left))
        except Exception:  # noqa: BLE001 no news; if the store is down, the read that follows says so
            await sleep(min(look, left))
        if time() - began < BRIEF:
            await sleep(BRIEF)

    async def replace(self, key: str, entry: Entry, record: Record) -> Entry | None:
        """The new entry if the old one still stood there, else None."""
        record = beaten(record, self._claims.get(key)) or record
        raw = self._seal.seal(key, record)
        setting = self._store.compare_and_set(key, entry.raw, raw, self._ttl)
        if not await self._asked(setting, "The store could not be written."):
            return None
        self._read_at.put(key, asyncio.get_running_loop().time())
        self.learn(key, record)
        return Entry(record, raw)

    async def change(
        self, key: str, transition: Callable[[Record | None], Record | None], *, entry: Entry | None = None
    ) -> Change:
        """Make a transition, judged again on what is there whenever somebody else was faster.

        ``entry`` saves the first read. A transition that answers None changes nothing.
        """

        async def work() -> Change:
            current = entry or await self.read(key)
            for _ in range(TRIES):
                record = transition(current.record)
                if record is None:
                    return Change(made=False, record=current.record)
                written = await self.replace(key, current, record)
                if written is not None:
                    return Change(made=True, record=written.record)
                current = await self.read(key)
            raise StoreError(f"The store refused a compare-and-set {TRIES} times in a row.")

        return await self._turns.take(key, work)

    async def overwrite(self, key: str, record: Record, raw: bytes) -> bool:
        """Set the record in place of bytes that this process can't open."""
        return await self.replace(key, Entry(None, raw), record) is not None

    def _owed(self, key: str, raw: bytes | None, known: Record) -> Record | None:
        """What the store is to have in place of these bytes, by what this process knows."""
        try:
            record = None if raw is None else self._seal.open(key, raw)
        except InvalidTokenError:
            return known if known.state == "ended" else None  # whatever a newer secret sealed there, an end is an end
        if not _behind(record, known):
            return None
        return known if record is None else replace(known, generation=max(known.generation, record.generation))

    async def _asked(self, answer: Awaitable[V], sentence: str) -> V:
        """The store's answer. It has a time limit of its own, since a store that hangs must hang no request."""
        try:
            if self._answers_at_once:
                return await answer
            async with asyncio.timeout(LONGEST_ANSWER):
                return await answer
        except Exception as error:
            self.counts["store_failures"] += 1
            raise StoreError(sentence) from error

    def _opened(self, key: str, raw: bytes | None) -> Entry:
        try:
            record = None if raw is None else self._seal.open(key, raw)
        except InvalidTokenError as error:
            raise UnreadableRecordError(raw or b"") from error
        known = self._known.get(key)
        if record is not None:
            self.learn(key, record)
        return Entry(known if _lost(known, record) else record, raw)


def _lost(known: Record | None, record: Record | None) -> bool:
    """Whether the store has lost, or never took, the newest generation that this process knows of."""
    # An end that the store does not have is for the keeper to bring: nothing else may be built on it.
    return known is not None and known.state != "ended" and _behind(record, known)


def _behind(record: Record | None, known: Record) -> bool:
    if record is None:
        return True
    return record.state != "ended" and (known.state == "ended" or record.generation < known.generation)
