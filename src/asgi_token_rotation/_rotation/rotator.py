"""Refreshes sessions: every access to a session's record goes through here."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

from .._claims import copy_of, laid_on_top, token_set_changed
from .._log import logger, where
from ..errors import NotSignedInError, StoreError
from ..options import RefreshOptions
from ..types import JWT, Event, RefreshFunction
from . import record as records
from .claimant import Tools
from .delivery import Deliveries
from .keeper import Keeper
from .ledger import TRIES, Ledger, UnreadableRecordError
from .policy import Due, expired
from .record import Record, place
from .sealing import key_of, session_name
from .settling import Case, Settler
from .single_flight import Flight, PerLoop, SingleFlight, Tasks
from .steps import Demand, judged, newest_for, standing_of
from .steps import Standing as Standing


class Rotator:
    """The refresh of all sessions of one process.

    ``revoke`` takes the tokens that a refresh brought to a session that had ended, and the session's name for the log.
    """

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
        revocation_check: float | None = None,
        revoke: Callable[[JWT, str], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._options = options
        self._refresh_for = refresh_for
        self._revocation_check = revocation_check  # seconds
        self._emit = emit
        self._clock = tools.clock
        self._demand = Demand(options=options)
        self._flights: SingleFlight[Standing] = SingleFlight(tasks)
        self._deliveries = Deliveries(ledger=ledger, tasks=tasks, grace=options.grace, clock=tools.clock)
        self._keeper = Keeper(ledger=ledger, tasks=tasks, sleep=tools.sleep)
        self._settler = Settler(
            ledger=ledger,
            options=options,
            refresh_for=refresh_for,
            emit=emit,
            tools=tools,
            keeper=self._keeper,
            mark=mark,
            revoke=revoke,
        )

    def glance(self, token: JWT, *, presented: bool = True) -> Standing:
        """Where the session stands as far as this process knows, without any wait.

        ``presented``: the browser sent this very token; False for one that a request got here and now.
        """
        return self._glance(key_of(token["session_id"]), token, presented=presented)

    def is_current(self, token: JWT, key: str, due_at: float | None, now: float) -> bool:
        """Whether the presented token is served as it is, without any wait: what ``ensure`` would say, for a glance.

        Nothing newer is known, and the margin (from ``due_at`` on) has not begun, or another request is refreshing it.
        False where it takes more to know.
        """
        if self._revocation_check is not None:
            return False
        generation = token["generation"]
        due = due_at is not None and now >= due_at
        if due and (expired(token, now=now) or not self._flights.under_way((key, generation))):
            return False
        known = self._ledger.known(key)
        if known is not None and place(known, generation, now=now) != "current":
            return False
        if generation:
            self._deliveries.note(key, token)
        return True

    def due(self, token: JWT, demand: Demand | None = None) -> Due:
        """Whether the token is to be refreshed; never where nobody could."""
        level = (demand or self._demand).of(token, now=self._clock())
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
        generation = token["generation"] if presented is None else presented
        key = key_of(token["session_id"])
        await self._check_for_end(key)
        standing = await self._ensured(Case(key=key, token=token, demand=demand, presented=generation))
        if standing.kind == "refused" and standing.token is not None and self._options.on_refused == "end":
            await self.end(standing.token, reason="refused")
            return Standing(None, looked=True)
        return standing

    async def _ensured(self, case: Case) -> Standing:
        token = case.token
        standing = self._glance(case.key, token, presented=case.presented == token["generation"])
        if standing.token is None and not standing.stale:
            return standing
        # What this process knows of a stale cookie may be old news: another worker may have prolonged its days.
        level = self.due(standing.token or token, case.demand)
        if level == "no":
            newest = standing.token
            return judged(standing, recoverable=newest is None or self._settler.recoverable(newest), now=self._clock())
        flight, started = self._join(case)
        served_on = level == "soon" and standing.token is not None
        if served_on and not started:
            return standing
        time = asyncio.get_running_loop().time
        until = time() + self._options.wait
        result = await flight.wait(self._options.wait, or_parked=served_on)
        if not started and result is not None and self._falls_short(result, case.demand):
            # It had flown for less than what is asked here: an access token that an API refused, say.
            result = await self._join(case)[0].wait(max(until - time(), 0.0))
        if result is None and served_on and flight.parked:
            standing = self._glance(case.key, token, presented=False)
            if standing.token is None or self.due(standing.token, case.demand) != "expired":
                return standing
            # To find the claim took so long that the token has expired meanwhile: so this one waits, as all do then.
            result = await flight.wait(max(until - time(), 0.0))
        if result is not None:
            return result
        # What is known now may be more than before the wait, but is not what was asked for.
        return dataclasses.replace(self._glance(case.key, token, presented=False), kind="unavailable")

    def _falls_short(self, result: Standing, demand: Demand) -> bool:
        return result.kind is None and result.token is not None and self.due(result.token, demand) == "expired"

    def _glance(self, key: str, token: JWT, *, presented: bool) -> Standing:
        step = self._settler.known(key, token)
        if presented and step.token is token and step.action == "serve":
            self._deliveries.note(key, token)
        return standing_of(step)

    async def _check_for_end(self, key: str) -> None:
        """Look at the record where the last look is longer ago than ``revocation_check`` allows."""
        longest = self._revocation_check
        if longest is None or self._ledger.read_within(key, longest):
            return
        try:
            await self._ledger.read(key)
        except StoreError as error:
            logger.error("session %s: not checked for its end, the store failed: %s", session_name(key), where(error))

    async def look(self, token: JWT) -> Standing:
        """The newest token for a cookie by the record, which is read. StoreError where it can't be."""
        key = key_of(token["session_id"])
        entry = await self._ledger.read(key)
        record, now = self._ledger.known(key), self._clock()
        step = newest_for(entry.record, token, now=now)
        if record is not entry.record:  # a rotation that could not be published is known to this process only
            known = newest_for(record, token, now=now)
            if known.action != "serve" or known.token["generation"] > step.token["generation"]:
                step = known
        return standing_of(step, looked=True)

    async def update(self, base: JWT, own: JWT) -> JWT:
        """Publish the claims that changed between the two, on top of the newest token, and answer the result.

        NotSignedInError where the session has ended or the cookie is stale; StoreError where it could not be published.
        """
        key = key_of(base["session_id"])
        now = self._clock()
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
        now = self._clock()
        newest = _newest(self._ledger.known(key), token)
        tombstone = records.ended(self._ledger.known(key), token["generation"], reason=reason, now=now)
        if tombstone is not None:
            self._ledger.learn(key, tombstone)
        last: JWT | None = newest
        try:
            last = await self._end_in_store(key, newest, reason=reason, now=now)
        except StoreError as error:
            logger.error("session %s: its end could not be stored yet: %s", session_name(key), where(error))
            self._keeper.keep(key)
        if last is not None:
            logger.info("session %s: ended (%s)", session_name(key), reason)
            self._emit(Event(name="session_ended", session=session_name(key), token=copy_of(last), reason=reason))

    def ended_at(self, token: JWT) -> float | None:
        """When the session ended, as far as this process knows."""
        known = self._ledger.known(key_of(token["session_id"]))
        return known.at if known is not None and known.state == "ended" else None

    async def _end_in_store(self, key: str, token: JWT, *, reason: str, now: float) -> JWT | None:
        """The newest token of the session, which a cookie may not have got yet; None where it had ended before."""
        newest = token

        def transition(record: Record | None) -> Record | None:
            nonlocal newest
            newest = _newest(record, token)
            return records.ended(record, token["generation"], reason=reason, now=now)

        for _ in range(TRIES):
            try:
                return newest if (await self._ledger.change(key, transition)).made else None
            except UnreadableRecordError as unreadable:
                # Whatever it says, the session is over.
                tombstone = transition(None)
                if tombstone is not None and await self._ledger.overwrite(key, tombstone, unreadable.raw):
                    return token
        raise StoreError(f"The store refused a compare-and-set {TRIES} times in a row.")

    def _join(self, case: Case) -> tuple[Flight[Standing], bool]:
        def settle(flight: Flight[Standing]) -> Awaitable[Standing]:
            return self._settler.settle(flight, case)

        return self._flights.join((case.key, case.token["generation"]), settle)


def _newest(record: Record | None, token: JWT) -> JWT:
    """The record's token where that is a newer one."""
    if record is None or record.token is None or record.generation <= token["generation"]:
        return token
    return record.token
