"""The task behind a flight: it reads the record and does what it says, until the session stands somewhere."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import TypeAlias

from .._claims import copy_of
from .._log import logger, where
from ..errors import StoreError
from ..options import RefreshOptions
from ..types import JWT, Event, RefreshFunction
from .alone import Alone
from .claimant import Claimant, Result, Tools
from .keeper import Keeper
from .ledger import TRIES, Bounded, Entry, Ledger, UnreadableRecordError
from .record import Record
from .sealing import session_name
from .single_flight import Flight, PerLoop
from .steps import Demand, Standing, Step, judged, newest_for, next_step, standing_of

FIRST_LOOK = 0.05  # seconds between two looks at another's claim, at first
LONGEST_LOOK = 0.5  # seconds
WATCHED_SESSIONS = 10_000

Books: TypeAlias = Ledger | Alone


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One refresh that is to be settled. ``presented``: the generation that the browser sent."""

    key: str  # the session's
    token: JWT = dataclasses.field(repr=False)
    demand: Demand
    presented: int


@dataclasses.dataclass(frozen=True, slots=True)
class Watched:
    """A beat that this process has seen ``since`` then, on its own monotonic clock.

    ``proven``: the store took a write of ours meanwhile, so the owner could have beaten as well.
    """

    owner: str
    beat: int
    since: float
    proven: bool = False


class Settler:
    """Settles refreshes: by the provider's answer, by another worker's, or by the failure that stands in the way."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        options: RefreshOptions,
        refresh_for: Callable[[JWT], RefreshFunction | None],
        emit: Callable[[Event], None],
        tools: Tools,
        keeper: Keeper,
        mark: str | None,
        revoke: Callable[[JWT, str], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._options = options
        self._refresh_for = refresh_for
        self._emit = emit
        self._tools = tools
        self._keeper = keeper
        self._mark = mark
        self._revoke = revoke
        self._calls = PerLoop(lambda: asyncio.Semaphore(int(options.concurrency)))
        self._watched: Bounded[Watched] = Bounded(WATCHED_SESSIONS)

    def recoverable(self, token: JWT) -> bool:
        """Whether anybody could refresh the token."""
        return bool(token.get("refresh_token")) and self._refresh_for(token) is not None

    def known(self, key: str, token: JWT) -> Step:
        """What a cookie gets of what this process knows."""
        return newest_for(self._ledger.known(key), token, now=self._tools.clock())

    async def settle(self, flight: Flight[Standing], case: Case) -> Standing:
        """Where the session stands. Where the store fails, by ``store_failure``: as before, or by this process alone."""
        try:
            return await self._settled(self._ledger, flight, case)
        except StoreError as error:
            # A store that fails us may have kept the owner from beating as well: its lease begins anew.
            self._watched.drop(case.key)
            name = session_name(case.key)
            if self._options.store_failure == "degrade" and not isinstance(error, UnreadableRecordError):
                logger.error("session %s: refreshed by this process alone, the store failed: %s", name, where(error))
                self._ledger.counts["refreshes_alone"] += 1
                return dataclasses.replace(await self._settled(Alone(self._ledger), flight, case), looked=False)
            logger.error("session %s: not refreshed, the store failed: %s", name, where(error))
            return dataclasses.replace(standing_of(self.known(case.key, case.token)), kind="store")

    async def _settled(self, books: Books, flight: Flight[Standing], case: Case) -> Standing:
        look, races = FIRST_LOOK, 0
        while races < TRIES:
            entry = await books.read(case.key)
            now = self._tools.clock()
            step = next_step(entry.record, case.token, case.demand, now=now)
            if step.action not in ("ask", "watch") or self._refresh_for(step.token) is None:
                standing = standing_of(step, looked=True)
                return judged(standing, recoverable=self.recoverable(step.token), now=now)
            if step.action == "ask" or entry.record is None:
                settled = await self._ask(books, entry, step.token, case)
                races += 1
            elif isinstance(books, Alone):
                return Standing(step.token, "store")  # somebody held the claim when the store was last seen
            else:
                flight.park()
                settled = await self._watch(books, entry, entry.record, step.token, case, look)
                look = min(look * 1.5, LONGEST_LOOK)
            if settled is not None:
                return settled
        raise StoreError(f"The store refused a claim {TRIES} times in a row.")

    async def _ask(self, books: Books, entry: Entry, token: JWT, case: Case) -> Standing | None:
        async with self._calls.get():
            claimant = self._claimant(books, case.key, token)
            if not await claimant.claim(entry, presented=case.presented):
                return None
            return self._concluded(books, case.key, token, await claimant.refresh(attempts=2))

    async def _watch(
        self, ledger: Ledger, entry: Entry, record: Record, token: JWT, case: Case, look: float
    ) -> Standing | None:
        """Wait a little for the claim's owner, or take over where its beat stood still for the whole lease.

        A store may be readable and take no writes, as SQLite does in another program's transaction. So the second half
        of the lease counts from a write that succeeded: an owner that lives beats within a third of it.
        """
        claim, now, key = record.claim, self._tools.monotonic(), case.key
        assert claim is not None  # noqa: S101 the state is claimed
        watched = self._watched.get(key)
        if watched is None or (watched.owner, watched.beat) != (claim.owner, claim.beat):
            watched = Watched(claim.owner, claim.beat, since=now)
            self._watched.put(key, watched)
        left = watched.since + claim.lease - now
        if not watched.proven:
            left -= claim.lease / 2
        if left > 0:
            await ledger.wait(key, look=look, left=left, sleep=self._tools.sleep)
            return None
        if not watched.proven:
            await self._prove(ledger, entry, record, watched, key=key, lease=claim.lease)
            return None
        async with self._calls.get():
            claimant = self._claimant(ledger, key, token)
            if not await claimant.take_over(entry, record, presented=case.presented):
                return None
            logger.warning("session %s: took over the refresh of an owner that stopped", session_name(key))
            ledger.counts["take_overs"] += 1
            return self._concluded(ledger, key, token, await claimant.refresh(attempts=1))

    async def _prove(
        self, ledger: Ledger, entry: Entry, record: Record, watched: Watched, *, key: str, lease: float
    ) -> None:
        """Write the record as it is; the take-over is half a lease away from that at least."""
        if await ledger.replace(key, entry, record) is not None:
            since = max(watched.since, self._tools.monotonic() - lease / 2)
            self._watched.put(key, dataclasses.replace(watched, since=since, proven=True))

    def _claimant(self, books: Books, key: str, token: JWT) -> Claimant:
        refresh = self._refresh_for(token)
        assert refresh is not None  # noqa: S101 else the token is never due
        return Claimant(
            key=key,
            token=token,
            refresh=refresh,
            ledger=books,
            options=self._options,
            tools=self._tools,
            mark=self._mark,
        )

    def _concluded(self, books: Books, key: str, asked: JWT, result: Result) -> Standing | None:
        """Where the session stands after a call; None where the record must say it, since the claim was another's."""
        if result.dropped:
            return None
        step = newest_for(result.record, asked, now=self._tools.clock())
        sole = result.sole or (isinstance(books, Alone) and result.rotated is not None)
        self._tell(key, asked, result)
        if result.orphan is not None and self._revoke is not None:
            self._revoke(result.orphan, session_name(key))
        if sole:
            self._ledger.counts["rotations_unpublished"] += 1
            # Others see a claim that beats no more, so this must be there before they take it over.
            self._keeper.keep(key, longest_pause=self._options.lease / 3)
        looked = result.record is not None and not sole
        return standing_of(Step(step.action, step.token, result.kind), looked=looked, sole=sole)

    def _tell(self, key: str, asked: JWT, result: Result) -> None:
        name = session_name(key)
        if result.rotated is not None:
            logger.info("session %s: refreshed, generation %d", name, result.rotated["generation"])
            self._emit(Event(name="refreshed", session=name, token=copy_of(result.rotated)))
        elif result.kind is not None:
            failed = Event(
                name="refresh_failed", session=name, token=copy_of(asked), kind=result.kind, retry_at=result.retry_at
            )
            self._emit(failed)
