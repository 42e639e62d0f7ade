"""One page load over many workers: who reads the record, who meets a claim. Decided by the package's own pure rules."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from asgi_token_rotation import RefreshOptions, TokenSet
from asgi_token_rotation._rotation import record as records
from asgi_token_rotation._rotation.ledger import PATIENCE
from asgi_token_rotation._rotation.record import Claim, Record
from asgi_token_rotation._rotation.settling import FIRST_LOOK, LONGEST_LOOK
from asgi_token_rotation._rotation.steps import Demand, next_step

OPTIONS = RefreshOptions()
DEMAND = Demand(options=OPTIONS)
ROUND_TRIP = 0.0005  # seconds, the median
PROVIDER = 0.15  # seconds, the median
SPREAD = 0.1  # seconds in which the requests of a page arrive
TOKEN = {
    "session_id": "simulated", "generation": 1, "access_token": "a1", "refresh_token": "r1", "issued_at": 0.0, "expires_at": 900.0,
}  # fmt: skip


@dataclass
class Page:
    """One page load: the events under way, the record in the store, and what was counted."""

    chance: random.Random
    record: Record | None = None
    events: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    waiting: list[Flight] = field(default_factory=list)
    trips: int = 0
    lost: int = 0  # compare-and-sets that another worker was faster with
    calls: int = 0  # to the provider
    met: int = 0  # workers that found a claim

    def at(self, moment: float, event: Callable[[float], None]) -> None:
        """Have something happen."""
        heapq.heappush(self.events, (moment, next(self.numbers), event))

    def trip(self, now: float, serve: Callable[[float], Callable[[float], None]]) -> None:
        """One round trip: half of it there, half of it back."""
        self.trips += 1
        half = ROUND_TRIP * self.chance.lognormvariate(0, 0.4) / 2

        def served(then: float) -> None:
            self.at(then + half, serve(then))

        self.at(now + half, served)

    def run(self) -> None:
        """Until nothing is left to happen."""
        while self.events:
            moment, _, event = heapq.heappop(self.events)
            event(moment)


class Flight:
    """What one worker does for the session, for however many of its requests."""

    def __init__(self, page: Page, name: str) -> None:
        self.page, self.name = page, name
        self.look, self.turn, self.has_met = FIRST_LOOK, 0, False

    def read(self, now: float) -> None:
        """GET, and what the record says."""
        self.page.trip(now, lambda _: lambda then, seen=self.page.record: self.decide(then, seen))  # type: ignore[misc]

    def decide(self, now: float, seen: Record | None) -> None:
        """As ``settling.py`` does."""
        step = next_step(seen, TOKEN, DEMAND, now=now)
        if step.action == "ask":
            claim = Claim(owner=self.name, lease=OPTIONS.lease)
            wanted = records.claimed(seen, TOKEN, claim, presented=1, grace=OPTIONS.grace, now=now)
            self.page.trip(now, lambda _: self.answered(self.set(seen, wanted), wanted))
        elif step.action == "watch":
            self.page.met += not self.has_met
            self.has_met = True
            self.watch(now)

    def set(self, expected: Record | None, wanted: Record | None) -> bool:
        """The store's compare-and-set; it wakes who waits."""
        page = self.page
        if page.record is not expected:
            page.lost += 1
            return False
        page.record = wanted
        return True

    def answered(self, won: bool, claimed: Record | None) -> Callable[[float], None]:
        """After the claim: the provider, or another look."""
        if not won:
            return self.read
        return lambda now: self.ask(now, claimed)

    def ask(self, now: float, claimed: Record | None) -> None:
        """The call, and its publication."""
        self.page.calls += 1
        self.page.at(
            now + PROVIDER * self.page.chance.lognormvariate(0, 0.5),
            lambda then: self.page.trip(then, lambda there: self.published(there, claimed)),
        )

    def published(self, now: float, claimed: Record | None) -> Callable[[float], None]:
        """The new tokens are there: whoever listens hears of it."""
        tokens = TokenSet("a2", "r2", now + 900)
        done = records.refreshed(claimed, TOKEN, tokens, grace=30, undelivered=259_200, now=now)
        self.set(claimed, done)
        for flight in self.page.waiting:
            flight.turn += 1
            self.page.at(now + ROUND_TRIP / 2, flight.read)
        self.page.waiting.clear()
        return lambda _: None

    def watch(self, now: float) -> None:
        """Wait for news, or for the next look."""
        page, turn = self.page, self.turn
        page.waiting.append(self)

        def looks(then: float) -> None:
            if self.turn == turn:
                self.turn += 1
                page.waiting.remove(self)
                self.read(then)

        page.at(now + self.look * PATIENCE, looks)
        self.look = min(self.look * 1.5, LONGEST_LOOK)


@dataclass
class Meeting:
    """The means of many page loads, each with a refresh that is due."""

    workers: float  # that were reached
    trips: float
    meeting: float  # share of page loads in which a worker found another's claim
    lost: float  # compare-and-sets
    calls: float  # to the provider


def page_loads(*, workers: int, requests: int, pages: int, seed: int) -> Meeting:
    """``requests`` of one page, spread over the workers at random, with an access token that is in its margin."""
    reached = trips = meeting = lost = calls = 0
    for number in range(pages):
        chance = random.Random(f"{seed} {workers} {requests} {number}")
        page = Page(chance)
        flights: set[int] = set()
        for _ in range(requests):
            worker = chance.randrange(workers)
            if worker not in flights:
                flights.add(worker)
                page.at(850 + chance.uniform(0, SPREAD), Flight(page, str(worker)).read)
        page.run()
        reached, trips, lost = reached + len(flights), trips + page.trips, lost + page.lost
        meeting, calls = meeting + (page.met > 0), calls + page.calls
    return Meeting(reached / pages, trips / pages, meeting / pages, lost / pages, calls / pages)
