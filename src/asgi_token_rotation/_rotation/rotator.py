"""Refreshes sessions: every access to a session's record goes through here."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

from .._claims import copy_of, laid_on_top, token_set_changed
from .._log import logger, where
from ..errors import NotSignedInError, StoreError
from ..options import RefreshOptions
from ..types import JWT, Event, FailureKind, RefreshFunction
from . import record as records
from .claimant import Claimant, Result, Tools
from .delivery import Deliveries
from .ledger import TRIES, Bounded, Entry, Ledger, UnreadableRecordError
from .policy import Due, expired
from .record import Record
from .sealing import key_of, session_name
from .single_flight import Flight, PerLoop, SingleFlight, Tasks
from .steps import Demand, Step, newest_for, next_step, standing_of
from .steps import Standing as Standing

FIRST_LOOK = 0.05  # seconds between two looks at another's claim, at first
LONGEST_LOOK = 0.5  # seconds
WATCHED_SESSIONS = 10_000


class Rotator:
    """The refresh of all sessions of one process."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        options: RefreshOptions,
        refresh_for: Callable[[JWT], RefreshFunction | None],
        emit: Callable[[Event], None],
        tools: Tools,
        tasks: PerLoop[Tasks],
        mark: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._options = options
        self._refresh_for = refresh_for
        self._emit = emit
        self._tools = tools
        self._tasks = tasks
        self._mark = mark
        self._demand = Demand(options=options)
        self._flights: SingleFlight[Standing] = SingleFlight(tasks)
        self._calls = PerLoop(lambda: asyncio.Semaphore(int(options.concurrency)))
        self._deliveries = Deliveries(ledger=ledger, tasks=tasks, grace=options.grace, clock=tools.clock)
        self._beats: Bounded[tuple[str, int, float]] = Bounded(WATCHED_SESSIONS)  # owner, beat, first seen when

    def glance(self, token: JWT, *, presented: bool = True) -> Standing:
        """Where the session stands as far as this process knows, without any wait.

        ``presented``: the browser sent this very token; False for one that a request got here and now.
        """
        key = key_of(token["session_id"])
        step = newest_for(self._ledger.known(key), token, now=self._tools.clock())
        if presented and step.token is token and step.action == "serve":
            self._deliveries.note(key, token)
        return standing_of(step)

    def due(self, token: JWT, demand: Demand | None = None) -> Due:
        """Whether the token is to be refreshed; never where nobody could."""
        level = (demand or self._demand).of(token, now=self._tools.clock())
        return "no" if level == "no" or self._refresh_for(token) is None else level

    async def ensure(
        self, token: JWT, *, min_valid_for: float = 0, rejected: str | None = None, presented: int | None = None
    ) -> Standing:
        """The newest token for a cookie, refreshed if it is due.

        Inside the margin one caller waits for the refresh, at most ``wait`` seconds, and all others go on at once with
        the valid token; where it can't be served any more, all wait. The refresh goes on whoever goes away.
        ``presented``: the generation of the cookie that the browser sent, where ``token`` is a newer one that it may
        not have got yet: that one must not count as delivered.
        """
        demand = Demand(options=self._options, min_valid_for=min_valid_for, rejected=rejected)
        standing = await self._ensured(token, demand, token["generation"] if presented is None else presented)
        if standing.kind == "refused" and standing.token is not None and self._options.on_refused == "end":
            await self.end(standing.token, reason="refused")
            return Standing(None, looked=True)
        return standing

    async def _ensured(self, token: JWT, demand: Demand, presented: int) -> Standing:
        standing = self.glance(token, presented=presented == token["generation"])
        if standing.token is None and not standing.stale:
            return standing
        # What this process knows of a stale cookie may be old news: another worker may have prolonged its days.
        level = self.due(standing.token or token, demand)
        if level == "no":
            return self._judged(standing)
        flight, started = self._join(token, demand, presented)
        served_on = level == "soon" and standing.token is not None
        if served_on and not started:
            return standing
        result = await flight.wait(self._options.wait, or_parked=served_on)
        if result is None:
            return self._overdue(token)
        if (
            not started
            and result.kind is None
            and result.token is not None
            and self.due(result.token, demand) == "expired"
        ):
            # It had flown for less than what is asked here: an access token that an API refused, say.
            result = await self._join(token, demand, presented)[0].wait(self._options.wait)
        return result or self._overdue(token)

    def _overdue(self, token: JWT, kind: FailureKind = "unavailable") -> Standing:
        """What is known now, which may be more than before the wait, but is not what was asked for."""
        return dataclasses.replace(self.glance(token, presented=False), kind=kind)

    async def look(self, token: JWT) -> Standing:
        """The newest token for a cookie by the record, which is read. StoreError where it can't be."""
        key = key_of(token["session_id"])
        entry = await self._ledger.read(key)
        known = newest_for(self._ledger.known(key), token, now=self._tools.clock())
        step = newest_for(entry.record, token, now=self._tools.clock())
        # A rotation that could not be published is known to this process only.
        newer = known.action != "serve" or known.token["generation"] > step.token["generation"]
        return standing_of(known if newer else step, looked=True)

    async def update(self, base: JWT, own: JWT) -> JWT:
        """Publish the claims that changed between the two, on top of the newest token, and answer the result.

        NotSignedInError where the session has ended or the cookie is stale; StoreError where it could not be published.
        """
        key = key_of(base["session_id"])
        now = self._tools.clock()
        rotation = token_set_changed(own, base)
        if rotation:
            own = {claim: value for claim, value in own.items() if claim != "error"}

        def transition(record: Record | None) -> Record | None:
            step = newest_for(record, base, now=now)
            if step.action != "serve":
                return None
            return records.updated(
                record,
                base,
                own if step.token is base else laid_on_top(step.token, base=base, own=own),
                rotation=rotation,
                grace=self._options.grace,
                undelivered=self._options.undelivered,
                now=now,
            )

        change = await self._ledger.change(key, transition)
        if not change.made or change.record is None or change.record.token is None:
            raise NotSignedInError("The session has ended, or its cookie is older than what is still served.")
        return copy_of(change.record.token)

    async def end(self, token: JWT, *, reason: str) -> None:
        """End the session for all workers. Where the store can't take it, this process alone knows (logged)."""
        key = key_of(token["session_id"])
        now = self._tools.clock()
        tombstone = records.ended(self._ledger.known(key), token["generation"], reason=reason, now=now)
        if tombstone is not None:
            self._ledger.learn(key, tombstone)
        try:
            made = await self._end_in_store(key, token["generation"], reason=reason, now=now)
        except StoreError as error:
            logger.error("session %s: its end could not be stored: %s", session_name(key), where(error))
            made = True
        if made:
            logger.info("session %s: ended (%s)", session_name(key), reason)
            self._emit(Event(name="session_ended", session=session_name(key), token=token, reason=reason))

    def ended_at(self, token: JWT) -> float | None:
        """When the session ended, as far as this process knows."""
        known = self._ledger.known(key_of(token["session_id"]))
        return known.at if known is not None and known.state == "ended" else None

    async def _end_in_store(self, key: str, generation: int, *, reason: str, now: float) -> bool:
        def transition(record: Record | None) -> Record | None:
            return records.ended(record, generation, reason=reason, now=now)

        for _ in range(TRIES):
            try:
                return (await self._ledger.change(key, transition)).made
            except UnreadableRecordError as unreadable:
                # Whatever it says, the session is over.
                tombstone = transition(None)
                if tombstone is not None and await self._ledger.overwrite(key, tombstone, unreadable.raw):
                    return True
        raise StoreError(f"The store refused a compare-and-set {TRIES} times in a row.")

    def _judged(self, standing: Standing) -> Standing:
        """A token that is never due and has expired counts as refused: nobody could refresh it."""
        token = standing.token
        if token is None or not expired(token, now=self._tools.clock()) or self._recoverable(token):
            return standing
        return Standing(token, "refused")

    def _recoverable(self, token: JWT) -> bool:
        return bool(token.get("refresh_token")) and self._refresh_for(token) is not None

    def _join(self, token: JWT, demand: Demand, presented: int) -> tuple[Flight[Standing], bool]:
        def settle(flight: Flight[Standing]) -> Awaitable[Standing]:
            return self._settle(flight, token, demand, presented)

        return self._flights.join((key_of(token["session_id"]), token["generation"]), settle)

    async def _settle(self, flight: Flight[Standing], token: JWT, demand: Demand, presented: int) -> Standing:
        try:
            return await self._settled(flight, token, demand, presented)
        except StoreError as error:
            name = session_name(key_of(token["session_id"]))
            logger.error("session %s: not refreshed, the store failed: %s", name, where(error))
            return self._overdue(token, "store")

    async def _settled(self, flight: Flight[Standing], token: JWT, demand: Demand, presented: int) -> Standing:
        """Read the record and do what it says, until the session stands somewhere."""
        key = key_of(token["session_id"])
        look, races = FIRST_LOOK, 0
        while races < TRIES:
            entry = await self._ledger.read(key)
            step = next_step(entry.record, token, demand, now=self._tools.clock())
            if step.action not in ("ask", "watch") or self._refresh_for(step.token) is None:
                return self._judged(standing_of(step, looked=True))
            if step.action == "ask" or entry.record is None:
                standing = await self._ask(key, entry, step.token, presented)
                races += 1
            else:
                flight.park()
                standing = await self._watch(key, entry, entry.record, step.token, presented, look)
                look = min(look * 1.5, LONGEST_LOOK)
            if standing is not None:
                return standing
        raise StoreError(f"The store refused a claim {TRIES} times in a row.")

    async def _ask(self, key: str, entry: Entry, token: JWT, presented: int) -> Standing | None:
        async with self._calls.get():
            claimant = self._claimant(key, token)
            if not await claimant.claim(entry, presented=presented):
                return None
            return self._concluded(key, token, await claimant.refresh(attempts=2))

    async def _watch(
        self, key: str, entry: Entry, record: Record, token: JWT, presented: int, look: float
    ) -> Standing | None:
        """Wait a little for the claim's owner, or take over where its beat stood still for the whole lease."""
        claim, now = record.claim, self._tools.monotonic()
        assert claim is not None  # noqa: S101 the state is claimed
        seen = self._beats.get(key)
        if seen is None or seen[:2] != (claim.owner, claim.beat):
            seen = (claim.owner, claim.beat, now)
            self._beats.put(key, seen)
        left = seen[2] + claim.lease - now
        if left > 0:
            await self._ledger.wait(key, look=look, left=left, sleep=self._tools.sleep)
            return None
        async with self._calls.get():
            claimant = self._claimant(key, token)
            if not await claimant.take_over(entry, record, presented=presented):
                return None
            logger.warning("session %s: took over the refresh of an owner that stopped", session_name(key))
            return self._concluded(key, token, await claimant.refresh(attempts=1))

    def _claimant(self, key: str, token: JWT) -> Claimant:
        refresh = self._refresh_for(token)
        assert refresh is not None  # noqa: S101 else the token is never due
        return Claimant(
            key=key,
            token=token,
            refresh=refresh,
            ledger=self._ledger,
            options=self._options,
            tools=self._tools,
            mark=self._mark,
        )

    def _concluded(self, key: str, asked: JWT, result: Result) -> Standing | None:
        """Where the session stands after a call; None where the record must say it, since the claim was another's."""
        if result.dropped:
            return None
        step = newest_for(result.record, asked, now=self._tools.clock())
        name = session_name(key)
        if result.rotated is not None:
            logger.info("session %s: refreshed, generation %d", name, result.rotated["generation"])
            self._emit(Event(name="refreshed", session=name, token=copy_of(result.rotated)))
        elif result.kind is not None:
            self._emit(
                Event(
                    name="refresh_failed",
                    session=name,
                    token=copy_of(asked),
                    kind=result.kind,
                    retry_at=result.retry_at,
                )
            )
        looked = result.record is not None and not result.sole
        return standing_of(Step(step.action, step.token, result.kind), looked=looked, sole=result.sole)
