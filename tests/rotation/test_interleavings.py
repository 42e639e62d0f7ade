"""Several workers, browsers and a strict provider, in every order that Hypothesis can think of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rotation.kit import EPOCH, Fault
from rotation.virtual import VirtualLoop, idle
from rotation.world import Browser, World

PLACES = st.integers(0, 9)
SKEWS = st.sampled_from([-10.0, -3.0, 0.0, 10.0])
LATENCIES = st.sampled_from([None, 0.05, 0.4])
ANSWERS = st.sampled_from([None, 0.0, 0.0, 0.1, 5.0])
PAUSES = st.sampled_from([0.0, 0.05, 0.5, 2.0, 7.0, 35.0, 100.0, 245.0, 320.0, 4000.0])
FAULTS: st.SearchStrategy[Fault] = st.sampled_from(
    ["unavailable", "throttled", "cut", "cut after rotation", "client", "garbage", "hang"]
)


class Interleavings(RuleBasedStateMachine):
    """Each rule begins something; time passes in a rule of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.trouble: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.trouble.append(str(context.get("message"))))
        self.world = self.run(self._make())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run in the loop of this example."""
        return self.loop.run_until_complete(work)

    async def _make(self) -> World:
        return World()

    def _do(self, action: Any, *arguments: Any, **named: Any) -> None:
        async def act() -> None:
            action(*arguments, **named)
            await idle()

        self.run(act())

    def _browser(self, place: int) -> Browser:
        return self.world.browsers[place % len(self.world.browsers)]

    @initialize(skews=st.lists(SKEWS, min_size=2, max_size=3), latencies=st.tuples(LATENCIES, LATENCIES, LATENCIES))
    def begin(self, skews: list[float], latencies: tuple[float | None, ...]) -> None:
        for place, skew in enumerate(skews):
            self._do(self.world.add_worker, skew=skew, booted=1000.0 * place, latency=latencies[place])
        self._do(self.world.sign_in)

    @precondition(lambda self: len(self.world.browsers) < 3)
    @rule()
    def sign_in(self) -> None:
        self._do(self.world.sign_in)

    @rule(who=PLACES, where=PLACES, count=st.sampled_from([1, 1, 3]), answer_after=ANSWERS)
    def request(self, who: int, where: int, count: int, answer_after: float | None) -> None:
        browser, workers = self._browser(who), self.world.workers
        for place in range(count):
            if browser.jar is not None and workers:
                worker = workers[(where + place) % len(workers)]
                work = self.world.request(browser, worker, browser.jar, answer_after=answer_after)
                self._do(self.world.begin, work)

    @rule(who=PLACES, where=PLACES, which=PLACES, answer_after=ANSWERS)
    def request_with_an_earlier_cookie(self, who: int, where: int, which: int, answer_after: float | None) -> None:
        browser, workers = self._browser(who), self.world.workers
        # A newer cookie than the jar's was overtaken on its way: no browser has it.
        newest = browser.jar["generation"] if browser.jar else 1_000
        earlier = [cookie for cookie in browser.earlier if cookie["generation"] <= newest]
        if earlier and workers:
            cookie, worker = earlier[which % len(earlier)], workers[where % len(workers)]
            # A replay is not the browser: its answer's cookie reaches nobody.
            self._do(self.world.begin, self.world.request(browser, worker, cookie, answer_after=None))

    @rule(who=PLACES, where=PLACES, answer_after=ANSWERS)
    def update(self, who: int, where: int, answer_after: float | None) -> None:
        workers = self.world.workers
        if workers:
            work = self.world.update(self._browser(who), workers[where % len(workers)], answer_after=answer_after)
            self._do(self.world.begin, work)

    @rule(who=PLACES, where=PLACES)
    def sign_out(self, who: int, where: int) -> None:
        workers = self.world.workers
        if workers:
            self._do(self.world.begin, self.world.sign_out(self._browser(who), workers[where % len(workers)]))

    @rule(fault=FAULTS)
    def one_fault(self, fault: Fault) -> None:
        self.world.provider.faults.append(fault)

    @rule(fault=st.none() | FAULTS)
    def lasting_fault(self, fault: Fault | None) -> None:
        self.world.provider.fault = fault

    @rule(there=st.sampled_from([0.0, 0.5, 3.0, 12.0]), back=st.sampled_from([0.0, 0.5, 3.0, 12.0]))
    def slow_provider(self, there: float, back: float) -> None:
        self.world.provider.way_there, self.world.provider.way_back = there, back

    @rule(where=PLACES, skew=SKEWS, latency=LATENCIES)
    def die(self, where: int, skew: float, latency: float | None) -> None:
        workers = self.world.workers
        if workers:
            self._do(self.world.die, workers[where % len(workers)])
        self._do(self.world.add_worker, skew=skew, booted=7.0, latency=latency)

    @rule(
        where=PLACES, seconds=st.sampled_from([0.3, 1.0, 2.0, 12.0]), failing=st.sampled_from(["get", "set", "get set"])
    )
    def lose_store(self, where: int, seconds: float, failing: str) -> None:
        workers = self.world.workers
        if workers:
            worker = workers[where % len(workers)]
            self.run(self.world.lose_store(worker, seconds=seconds, failing=set(failing.split())))

    @rule(seconds=PAUSES)
    def time_passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(
        who=PLACES,
        left=st.sampled_from([30.0, 0.2, -1.0]),
        count=st.integers(1, 4),
        there=st.sampled_from([0.0, 3.0, 12.0]),
    )
    def fan_out_when_due(self, who: int, left: float, count: int, there: float) -> None:
        browser, workers = self._browser(who), self.world.workers
        if browser.jar is None or not workers:
            return
        self.world.provider.way_there = there
        pause = browser.jar["expires_at"] - left - EPOCH - self.loop.time()
        self.run(asyncio.sleep(max(pause, 0)))
        for place in range(count):
            if browser.jar is not None:
                worker = workers[place % len(workers)]
                self._do(self.world.begin, self.world.request(browser, worker, browser.jar, answer_after=0.1))

    @invariant()
    def nothing_is_wrong(self) -> None:
        self.world.check()
        assert not self.trouble, self.trouble

    def teardown(self) -> None:
        try:
            self.run(self.world.check_in_the_end())
        finally:
            self.run(self.world.close())
            self.loop.close()
        assert not self.trouble, self.trouble


@pytest.fixture
def quiet() -> Iterator[None]:
    """Thousands of failures on purpose are not worth their log lines."""
    logger = logging.getLogger("asgi_token_rotation")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)


def explore(examples: int, steps: int, *, derandomize: bool) -> None:
    class Machine(Interleavings):
        """A class of its own for each run: Hypothesis keeps settings there."""

    Machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=derandomize,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
        phases=[Phase.generate],  # shrinking takes minutes; a failure's seed is printed
    )
    Machine.TestCase().runTest()


@pytest.mark.usefixtures("quiet")
def test_interleavings() -> None:
    """I2, I4, I6: No order of events loses a session, sends a token twice without need, or brings an ended session back."""
    explore(300, 40, derandomize=True)


@pytest.mark.soak
@pytest.mark.usefixtures("quiet")
def test_interleavings_at_length() -> None:
    """The same, with many more orders."""
    explore(2000, 80, derandomize=True)
