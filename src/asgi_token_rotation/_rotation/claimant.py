"""The owner of a claim: it beats, asks the provider, and publishes what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from .._claims import apply_token_set, copy_of
from .._log import logger, where
from ..errors import StoreError
from ..options import RefreshOptions
from ..providers.base import Failure, judge
from ..types import JWT, FailureKind, RefreshFunction, TokenSet
from . import record as records
from .alone import Alone
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
    dropped: bool = False  # the claim was another's by then, so the outcome counts for nothing
    orphan: JWT | None = field(default=None, repr=False)  # new tokens of a session that ended meanwhile: to be revoked


class Claimant:
    """Refreshes one token, once. Everything that it learns is published before anybody is answered."""

    def __init__(
        self,
        *,
        key: str,
        token: JWT,
        refresh: RefreshFunction,
        ledger: Ledger | Alone,
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
        self._cut_before = False

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

    async def take_over(self, entry: Entry, record: Record, *, presented: int) -> bool:
        """Take the claim of an owner that stopped beating; False where it moved after all."""
        now = self._tools.clock()
        taken = records.taken_over(record, self._claim, presented=presented, grace=self._options.grace, now=now)
        return await self._hold(entry, taken)

    async def _hold(self, entry: Entry, record: Record | None) -> bool:
        if record is None:
            return False
        self._failures, self._doubted = record.failures, record.kind == "doubtful"
        self._cut_before = record.kind == "ambiguous"
        self._entry = await self._ledger.replace(self._key, entry, record)
        if self._entry is None:
            return False
        self._ledger.hold(self._key, self._claim.owner)
        return True

    async def refresh(self, *, attempts: int) -> Result:
        """Ask the provider and publish. ``attempts``: how often an ambiguous call may be made.

        A provider that cuts every connection gets one call a back-off window, like one that is down: after a second cut
        there is no attempt at once any more.
        """
        last = attempts < 2 or self._cut_before
        async with self._beating():
            answer = await self._call()
            if isinstance(answer, Failure) and self._consequence(answer, last_attempt=last) == "again":
                if not await self._beat():
                    return Result(None, dropped=True)  # a call of ours would run beside that of the claim's new owner
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
        except (Exception, asyncio.CancelledError) as error:
            # Whatever user code raises, a session must not pay for it.
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
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
            return self._only_held(transition, tokens)
        published = change.record.token if change.record else None
        # A write whose answer was lost has arrived all the same.
        arrived = published is not None and published.get("access_token") == tokens.access_token
        if not change.made and not arrived:
            logger.warning(
                "session %s: a rotation was dropped, the session moved on or ended meanwhile", session_name(self._key)
            )
            return Result(change.record, orphan=self._orphan(change.record, tokens))
        return Result(change.record, rotated=published)

    def _orphan(self, record: Record | None, tokens: TokenSet) -> JWT | None:
        # A session that was replaced may share its grant with the one that came after it.
        if record is None or record.state != "ended" or record.reason == "replaced":
            return None
        return apply_token_set(self._token, tokens, now=self._tools.clock())

    def _only_held(self, transition: Callable[[Record | None], Record | None], tokens: TokenSet) -> Result:
        """A rotation that the store did not take: this process and the cookie are its only holders."""
        known = self._ledger.known(self._key)
        record = transition(known)
        if record is None:
            return Result(known, orphan=self._orphan(known, tokens))
        logger.error(
            "session %s: the rotation could not be published; the cookie is its only holder", session_name(self._key)
        )
        self._ledger.learn(self._key, record)
        return Result(record, rotated=record.token, sole=True)

    async def _publish_failure(self, failure: Failure) -> Result:
        now = self._tools.clock()
        if self._consequence(failure, last_attempt=True) == "refuse":
            change = await self._persistently(lambda record: records.refused(record, self._claim.owner, now=now))
            # A refusal that could not be read again may be the loser's of two workers, of which the winner lives.
            return _outcome(change, "store" if change is None else "refused")
        retry_at = now + back_off(self._failures + 1, jitter=self._tools.random(), retry_after=failure.retry_after)
        kind: FailureKind = failure.kind if failure.kind in ("throttled", "misconfigured") else "unavailable"
        noted = "doubtful" if failure.doubtful else "ambiguous" if failure.kind == "ambiguous" else kind
        change = await self._persistently(
            lambda record: records.failed(record, self._claim.owner, kind=noted, retry_at=retry_at, now=now)
        )
        return _outcome(change, kind, retry_at=retry_at)

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
    async def _beating(self) -> AsyncGenerator[None]:
        beats = asyncio.get_running_loop().create_task(self._keep_beating())
        try:
            yield
        finally:
            self._ledger.let_go(self._key, self._claim.owner)
            beats.cancel()
            await asyncio.wait({beats})

    async def _keep_beating(self) -> None:
        while True:
            await self._tools.sleep(self._options.lease / 3)
            if await self._beat() is False:
                return  # taken over, or ended: the outcome will be judged when it comes

    async def _beat(self) -> bool | None:
        """One beat: whether the claim is still ours; None where the store does not say."""
        entry, self._entry = self._entry, None
        try:
            change = await self._ledger.change(
                self._key, lambda record: record if self._holds(record) else None, entry=entry
            )
        except StoreError:
            return None
        return change.made

    def _holds(self, record: Record | None) -> bool:
        return record is not None and record.claim is not None and record.claim.owner == self._claim.owner


def _outcome(change: Change | None, kind: FailureKind, *, retry_at: float | None = None) -> Result:
    if change is None:
        return Result(None, kind, retry_at=retry_at)
    return Result(change.record, kind, retry_at=retry_at, dropped=not change.made)


def _checked(answer: object) -> TokenSet:
    if not isinstance(answer, TokenSet):
        logger.error("refresh answered a %s: expected a TokenSet.", type(answer).__name__)
        raise TypeError("refresh answered no TokenSet")
    json.dumps([answer.refresh_token, answer.id_token, answer.scope])  # what can't be sealed fails here, as user code
    return answer
