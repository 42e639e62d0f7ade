"""Refreshes sessions: every access to a session's record goes through here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from .._claims import TOKEN_SET, copy_of, rebased, token_set_changed
from .._log import logger, where
from ..errors import NotSignedInError, StoreError
from ..options import RefreshOptions
from ..types import JWT, Event, FailureKind, RefreshFunction
from . import record as records
from .claimant import Claimant, Result, Tools
from .ledger import Bounded, Entry, Ledger, UnreadableRecordError
from .policy import Due, expired, moment
from .record import Record
from .sealing import key_of, session_name
from .single_flight import Flight, PerLoop, SingleFlight, Tasks
from .steps import Demand, Step, newest_for, next_step

FIRST_LOOK = 0.05  # seconds between two looks at another's claim, at first
LONGEST_LOOK = 0.5  # seconds
NOTED_SESSIONS = 100_000
WATCHED_SESSIONS = 10_000


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a session stands for the cookie that was presented. ``token`` is the newest that it may have."""

    token: JWT | None = field(repr=False)  # None: the session ended, or the cookie is stale
    kind: FailureKind | None = None  # why the access token is not fresh
    stale: bool = False
    looked: bool = False  # the record was read or written for it
    sole: bool = False  # the rotation could not be published: the cookie is its only holder


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
        self._noted: Bounded[int] = Bounded(NOTED_SESSIONS)  # generations whose delivery was noted
        self._beats: Bounded[tuple[str, int, float]] = Bounded(WATCHED_SESSIONS)  # owner, beat, first seen when

    def glance(self, token: JWT) -> Standing:
        """Where the session stands as far as this process knows, without any wait."""
        now = self._tools.clock()
        key = key_of(token["session_id"])
        standing = _standing(newest_for(self._ledger.known(key), token, now=now))
        if token["generation"] > 0 and self._noted.get(key) != token["generation"]:
            self._note_delivery(key, token, now=now)
        return standing

    def due(self, token: JWT, demand: Demand | None = None) -> Due:
        """Whether the token is to be refreshed; never where nobody could."""
        level = (demand or self._demand).of(token, now=self._tools.clock())
        return "no" if level == "no" or self._refresh_for(token) is None else level

    async def ensure(self, token: JWT, *, min_valid_for: float = 0, rejected: str | None = None) -> Standing:
        """The newest token for a cookie, refreshed if it is due.

        Inside the margin one caller waits for the refresh, at most ``wait`` seconds, and all others go on at once with
        the valid token; where it can't be served any more, all wait. The refresh goes on whoever goes away.
        """
        demand = Demand(options=self._options, min_valid_for=min_valid_for, rejected=rejected)
        standing = self.glance(token)
        if standing.token is None:
            return standing
        level = self.due(standing.token, demand)
        if level == "no":
            return self._judged(standing)
        flight, started = self._join(token, demand)
        if level == "soon" and not started:
            return standing
        result = await flight.wait(self._options.wait, or_parked=level == "soon")
        if result is None:
            return Standing(standing.token, "unavailable")
        if (
            not started
            and result.kind is None
            and result.token is not None
            and self.due(result.token, demand) == "expired"
        ):
            # It had flown for less than what is asked here: an access token that an API refused, say.
            result = await self._join(token, demand)[0].wait(self._options.wait)
        return result or Standing(standing.token, "unavailable")

    async def look(self, token: JWT) -> Standing:
        """The newest token for a cookie by the record, which is read. StoreError where it can't be."""
        key = key_of(token["session_id"])
        entry = await self._ledger.read(key)
        known = newest_for(self._ledger.known(key), token, now=self._tools.clock())
        step = newest_for(entry.record, token, now=self._tools.clock())
        # A rotation that could not be published is known to this process only.
        newer = known.action != "serve" or known.token["generation"] > step.token["generation"]
        return _standing(known if newer else step, looked=True)

    async def update(self, base: JWT, own: JWT) -> JWT:
        """Publish the claims that changed between the two, on top of the newest token, and answer the result.

        NotSignedInError where the session has ended or the cookie is stale; StoreError where it could not be published.
        """
        key = key_of(base["session_id"])
        now = self._tools.clock()

        def transition(record: Record | None) -> Record | None:
            step = newest_for(record, base, now=now)
            if step.action != "serve":
                return None
            token = own if step.token is base else _on_top(step.token, base=base, own=own)
            return records.updated(
                record, base, token, grace=self._options.grace, undelivered=self._options.undelivered, now=now
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
            change = await self._ledger.change(
                key, lambda record: records.ended(record, token["generation"], reason=reason, now=now)
            )
            made = change.made
        except UnreadableRecordError as unreadable:
            made = await self._end_unreadable(key, token, unreadable, reason=reason)
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

    async def _end_unreadable(self, key: str, token: JWT, unreadable: UnreadableRecordError, *, reason: str) -> bool:
        tombstone = records.ended(None, token["generation"], reason=reason, now=self._tools.clock())
        assert tombstone is not None  # noqa: S101 nothing precedes it
        try:
            return await self._ledger.overwrite(key, tombstone, unreadable.raw)
        except StoreError as error:
            logger.error("session %s: its end could not be stored: %s", session_name(key), where(error))
            return True

    def _judged(self, standing: Standing) -> Standing:
        """A token that is never due and has expired counts as refused: nobody could refresh it."""
        token = standing.token
        if token is None or not expired(token, now=self._tools.clock()) or self._recoverable(token):
            return standing
        return Standing(token, "refused")

    def _recoverable(self, token: JWT) -> bool:
        return bool(token.get("refresh_token")) and self._refresh_for(token) is not None

    def _join(self, token: JWT, demand: Demand) -> tuple[Flight[Standing], bool]:
        key = key_of(token["session_id"])
        return self._flights.join((key, token["generation"]), lambda flight: self._settle(flight, key, token, demand))

    async def _settle(self, flight: Flight[Standing], key: str, token: JWT, demand: Demand) -> Standing:
        """Read the record and do what it says, until the session stands somewhere."""
        look = FIRST_LOOK
        while True:
            try:
                entry = await self._ledger.read(key)
                step = next_step(entry.record, token, demand, now=self._tools.clock())
                if step.action == "ask":
                    standing = await self._ask(key, entry, step.token, presented=token["generation"])
                elif step.action == "watch" and entry.record is not None:
                    flight.park()
                    standing = await self._watch(key, entry, entry.record, step.token, look=look)
                    look = min(look * 1.5, LONGEST_LOOK)
                else:
                    return _standing(step, looked=True)
            except StoreError as error:
                logger.error("session %s: not refreshed, the store failed: %s", session_name(key), where(error))
                return Standing(self.glance(token).token, "store", looked=True)
            if standing is not None:
                return standing

    async def _ask(self, key: str, entry: Entry, token: JWT, *, presented: int) -> Standing | None:
        async with self._calls.get():
            claimant = self._claimant(key, token)
            if not await claimant.claim(entry, presented=presented):
                return None
            return await self._concluded(key, token, await claimant.refresh(attempts=2))

    async def _watch(self, key: str, entry: Entry, record: Record, token: JWT, *, look: float) -> Standing | None:
        """Wait a little for the claim's owner, or take over where its beat stood still for the whole lease."""
        claim, now = record.claim, self._tools.monotonic()
        assert claim is not None  # noqa: S101 the state is claimed
        seen = self._beats.get(key)
        if seen is None or seen[:2] != (claim.owner, claim.beat):
            seen = (claim.owner, claim.beat, now)
            self._beats.put(key, seen)
        left = seen[2] + claim.lease - now
        if left > 0:
            await self._tools.sleep(min(look, left))
            return None
        async with self._calls.get():
            claimant = self._claimant(key, token)
            if not await claimant.take_over(entry, record):
                return None
            logger.warning("session %s: took over the refresh of an owner that stopped", session_name(key))
            return await self._concluded(key, token, await claimant.refresh(attempts=1))

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

    async def _concluded(self, key: str, asked: JWT, result: Result) -> Standing:
        step = newest_for(result.record, asked, now=self._tools.clock())
        name = session_name(key)
        if result.rotated is not None:
            logger.info("session %s: refreshed, generation %d", name, result.rotated["generation"])
            self._emit(Event(name="refreshed", session=name, token=copy_of(result.rotated)))
        elif result.kind is not None and step.token is asked:
            self._emit(
                Event(
                    name="refresh_failed",
                    session=name,
                    token=copy_of(asked),
                    kind=result.kind,
                    retry_at=result.retry_at,
                )
            )
            if result.kind == "refused" and self._options.on_refused == "end":
                await self.end(asked, reason="refused")
                return Standing(None, looked=True)
        kind = result.kind if step.token is asked else None
        return _standing(Step(step.action, step.token, kind), looked=True, sole=result.sole)

    def _note_delivery(self, key: str, token: JWT, *, now: float) -> None:
        """In the background, once for each generation: the browser has it, so its predecessor's days are counted."""
        issued = moment(token, "issued_at")
        known = self._ledger.known(key)
        published = known.published if known is not None and known.generation == token["generation"] else issued
        if published is not None and now < published + self._options.grace:
            return
        generation = token["generation"]
        self._noted.put(key, generation)

        async def note() -> None:
            try:
                change = await self._ledger.change(
                    key, lambda record: records.noted(record, generation, grace=self._options.grace, now=now)
                )
            except StoreError:
                self._noted.drop(key)  # the next request notes it
                return
            record = change.record
            if not change.made and record is not None and record.generation == generation and record.delivered is None:
                self._noted.drop(key)  # published less than grace ago: too early

        self._tasks.get().spawn(note())


def _standing(step: Step, *, looked: bool = False, sole: bool = False) -> Standing:
    if step.action in ("stale", "ended"):
        return Standing(None, stale=step.action == "stale", looked=looked)
    return Standing(step.token, step.kind, looked=looked, sole=sole)


def _on_top(newest: JWT, *, base: JWT, own: JWT) -> JWT:
    token = rebased(newest, base=base, own=own)
    if token_set_changed(own, base) and newest.get("refresh_token") == base.get("refresh_token"):
        token |= {claim: own[claim] for claim in TOKEN_SET if claim in own}
    return token
