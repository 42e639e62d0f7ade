"""The owner of a claim: it beats, asks the provider, and publishes what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from .._claims import copy_of
from .._log import logger, where
from ..errors import StoreError
from ..options import RefreshOptions
from ..providers.base import Failure, judge
from ..types import JWT, FailureKind, RefreshFunction, TokenSet
from . import record as records
from .ledger import Change, Entry, Ledger
from .policy import back_off, consequence
from .record import Claim, Record
from .sealing import session_name

PUBLISH_FOR = 5.0  # seconds in which a publication is tried again
BETWEEN_PUBLICATIONS = 0.25  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the outside world is to a refresh: passed in, so that tests can be exact."""

    clock: Callable[[], float]  # seconds since the epoch
    monotonic: Callable[[], float]  # seconds
    sleep: Callable[[float], Awaitable[None]]  # seconds
    random: Callable[[], float]  # in [0, 1)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a claim: the record that stands there now, and the kind of failure, if it failed."""

    record: Record | None
    kind: FailureKind | None = None
    rotated: JWT | None = field(default=None, repr=False)  # the token that this claim published
    retry_at: float | None = None
    sole: bool = False  # it could not be published


class Claimant:
    """Refreshes one token, once. Everything that it learns is published before anybody is answered."""

    def __init__(
        self,
        *,
        key: str,
        token: JWT,
        refresh: RefreshFunction,
        ledger: Ledger,
        options: RefreshOptions,
        tools: Tools,
        mark: str | None,
    ) -> None:
        self._key = key
        self._token = token
        self._refresh = refresh
        self._ledger = ledger
        self._options = options
        self._tools = tools
        self._mark = mark  # of this process, in the tokens that it rotates
        self._claim = Claim(owner=secrets.token_hex(8), lease=options.lease)
        self._entry: Entry | None = None
        self._failures = 0
        self._doubted = False

    async def claim(self, entry: Entry, *, presented: int) -> bool:
        """Write the claim, immediately before the provider is asked; False where somebody else was faster."""
        record = records.claimed(
            entry.record,
            self._token,
            self._claim,
            presented=presented,
            grace=self._options.grace,
            now=self._tools.clock(),
        )
        return await self._hold(entry, record)

    async def take_over(self, entry: Entry, record: Record) -> bool:
        """Take the claim of an owner that stopped beating; False where it moved after all."""
        return await self._hold(entry, records.taken_over(record, self._claim))

    async def _hold(self, entry: Entry, record: Record) -> bool:
        self._failures, self._doubted = record.failures, record.kind == "doubtful"
        self._entry = await self._ledger.replace(self._key, entry, record)
        return self._entry is not None

    async def refresh(self, *, attempts: int) -> Result:
        """Ask the provider and publish. ``attempts``: how often an ambiguous call may be made."""
        async with self._beating():
            answer = await self._call()
            if (
                isinstance(answer, Failure)
                and attempts > 1
                and self._consequence(answer, last_attempt=False) == "again"
            ):
                answer = await self._call()
            return await (self._publish(answer) if isinstance(answer, TokenSet) else self._publish_failure(answer))

    def _consequence(self, failure: Failure, *, last_attempt: bool) -> str:
        return consequence(failure, doubted_before=self._doubted, last_attempt=last_attempt)

    async def _call(self) -> TokenSet | Failure:
        try:
            # The time-out waits for the call to let go, so a second call never runs beside a slow one.
            async with asyncio.timeout(self._options.timeout):
                answer = self._refresh(copy_of(self._token))
                tokens = await answer if inspect.isawaitable(answer) else answer
            return _checked(tokens)
        except Exception as error:  # noqa: BLE001 whatever user code raises, a session must not pay for it
            failure = judge(error, now=self._tools.clock())
            level = logger.error if failure.unexpected or failure.kind == "misconfigured" else logger.warning
            level("session %s: the refresh failed (%s): %s", session_name(self._key), failure.kind, where(error))
            return failure

    async def _publish(self, tokens: TokenSet) -> Result:
        now = self._tools.clock()
        options = self._options
        sent = self._token if self._mark is None else self._token | {"rotated_by": self._mark}

        def transition(record: Record | None) -> Record | None:
            return records.refreshed(
                record, sent, tokens, grace=options.grace, undelivered=options.undelivered, now=now
            )

        change = await self._persistently(transition)
        if change is None:
            record = transition(None)
            assert record is not None  # noqa: S101 a session without a record takes any success
            logger.error(
                "session %s: the rotation could not be published; the cookie is its only holder",
                session_name(self._key),
            )
            self._ledger.learn(self._key, record)
            return Result(record, rotated=record.token, sole=True)
        if not change.made:
            logger.warning(
                "session %s: a rotation was dropped, the session moved on or ended meanwhile", session_name(self._key)
            )
            return Result(change.record)
        return Result(change.record, rotated=change.record.token if change.record else None)

    async def _publish_failure(self, failure: Failure) -> Result:
        now = self._tools.clock()
        if self._consequence(failure, last_attempt=True) == "refuse":
            change = await self._persistently(lambda record: records.refused(record, self._claim.owner, now=now))
            # A refusal that could not be read again may be the loser's of two workers, of which the winner lives.
            return Result(None, "store") if change is None else Result(change.record, "refused")
        retry_at = now + back_off(self._failures + 1, jitter=self._tools.random(), retry_after=failure.retry_after)
        kind: FailureKind = failure.kind if failure.kind in ("throttled", "misconfigured") else "unavailable"
        noted = "doubtful" if failure.doubtful else kind
        change = await self._persistently(
            lambda record: records.failed(record, self._claim.owner, kind=noted, retry_at=retry_at, now=now)
        )
        return Result(change.record if change else None, kind, retry_at=retry_at)

    async def _persistently(self, transition: Callable[[Record | None], Record | None]) -> Change | None:
        """Make the change, for ``PUBLISH_FOR`` seconds if need be; None where the store did not come back."""
        deadline = self._tools.monotonic() + PUBLISH_FOR
        while True:
            try:
                return await self._ledger.change(self._key, transition, entry=self._entry)
            except StoreError as error:
                self._entry = None  # the write may have arrived all the same
                if self._tools.monotonic() >= deadline:
                    logger.error(
                        "session %s: the store did not take the outcome: %s", session_name(self._key), where(error)
                    )
                    return None
            await self._tools.sleep(BETWEEN_PUBLICATIONS)

    @contextlib.asynccontextmanager
    async def _beating(self) -> AsyncIterator[None]:
        beats = asyncio.get_running_loop().create_task(self._beat())
        try:
            yield
        finally:
            beats.cancel()
            await asyncio.wait({beats})

    async def _beat(self) -> None:
        while True:
            await self._tools.sleep(self._options.lease / 3)
            try:
                change = await self._ledger.change(
                    self._key, lambda record: records.beaten(record, self._claim.owner), entry=self._entry
                )
            except StoreError:
                self._entry = None
                continue
            if not change.made:
                return  # taken over, or ended: the outcome will be judged when it comes
            self._entry = None


def _checked(answer: object) -> TokenSet:
    if not isinstance(answer, TokenSet):
        raise TypeError(f"refresh answered a {type(answer).__name__}: expected a TokenSet.")
    return answer
