"""Called directly: CPU time of requests in interleaved rounds."""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .subject import Message, Scope, Subject, claims_of, kept, receive, scope_for

BARE = "bare application"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one subject's middleware takes, over the bare application. ``low`` and ``high``: half of all rounds."""

    microseconds: float
    ratio: float  # to the base subject's
    low: float
    high: float

    def cell(self) -> str:
        """As it stands in a table."""
        return f"{self.ratio:.2f} ({self.low:.2f}-{self.high:.2f})"


class _Browsers:
    """The browsers of one subject; each sends one request a round."""

    def __init__(self, subject: Subject, *, size: int, count: int, rounds: int) -> None:
        self.subject = subject
        self._count = count
        many = count * (rounds + 1) if subject.cookies == "fresh" else count if subject.cookies == "kept" else 1
        self._cookies = [subject.cookie(claims_of(size, session=number, due=subject.due)) for number in range(many)]
        self._messages: list[Message] = []

    async def begin(self) -> None:
        """What has to happen before the first round."""
        if self.subject.begin is not None:
            await self.subject.begin(scope_for(self._cookies[0]))

    async def round(self) -> float:
        """Nanoseconds of CPU time for one request."""
        app, scopes, messages = self.subject.app, self._scopes(), self._messages
        messages.clear()

        async def send(message: Message) -> None:
            messages.append(message)

        began = time.process_time_ns()
        for scope in scopes:
            await app(scope, receive, send)
        taken = time.process_time_ns() - began
        self._hear()
        return taken / len(scopes)

    def _scopes(self) -> list[Scope]:
        if self.subject.cookies == "fresh":
            self._cookies, cookies = self._cookies[self._count :], self._cookies[: self._count]
        else:
            cookies = self._cookies * (self._count // len(self._cookies))
        return [scope_for(cookie) for cookie in cookies]

    def _hear(self) -> None:
        starts = [message for message in self._messages if message["type"] == "http.response.start"]
        bodies = b"".join(message.get("body", b"") for message in self._messages)
        writes = [any(name.lower() == b"set-cookie" for name, _ in start["headers"]) for start in starts]
        if bodies != self.subject.expects() * self._count or writes != [self.subject.writes] * self._count:
            raise RuntimeError(f"{self.subject.name}: the answers are not the ones that were to be measured.")
        if self.subject.cookies == "kept":
            self._cookies = [kept(cookie, start) for cookie, start in zip(self._cookies, starts, strict=True)]


def measured(
    subjects: Sequence[Subject], *, base: str, size: int, rounds: int, batch: int
) -> tuple[dict[str, Cost], float]:
    """The cost of each subject as a ratio to ``base``, and the microseconds of the bare application."""
    taken = asyncio.run(_rounds(subjects, size=size, rounds=rounds, batch=batch))
    nothing, unit = taken[BARE], taken[base]
    costs = {}
    for name, times in taken.items():
        each = [(time - zero) / (one - zero) for time, zero, one in zip(times, nothing, unit, strict=True)]
        overhead = _tenth(times) - _tenth(nothing)
        low, _, high = statistics.quantiles(each, n=4)
        costs[name] = Cost(overhead / 1000, overhead / (_tenth(unit) - _tenth(nothing)), low, high)
    del costs[BARE]
    return costs, _tenth(nothing) / 1000


def _tenth(times: list[float]) -> float:
    """The 10th percentile: what it takes when nothing else disturbs."""
    return statistics.quantiles(times, n=10)[0]


async def _rounds(subjects: Sequence[Subject], *, size: int, rounds: int, batch: int) -> dict[str, list[float]]:
    browsers = [_Browsers(subject, size=size, count=batch, rounds=rounds) for subject in subjects]
    taken: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    for each in browsers:
        await each.begin()
        await each.round()
    gc.collect()
    gc.freeze()  # what the benchmark itself holds is not to be walked at every collection
    try:
        order = random.Random(rounds)
        for _ in range(rounds):
            for each in order.sample(browsers, k=len(browsers)):
                taken[each.subject.name].append(await each.round())
            await asyncio.sleep(0)
    finally:
        gc.unfreeze()
        for subject in subjects:
            if subject.close is not None:
                await subject.close()
    return taken
