"""The store goes away for a minute, and comes back."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from workers.browser import Answer, Browser
from workers.fleet import ADA, Fleet, Meeting, fleet, until

OUTAGE = float(os.environ.get("OUTAGE", "60"))  # seconds; over 20, so that all access tokens have expired by then
LIFETIME = 10.0  # seconds of an access token
BROWSERS = 8
SLOW, UNHEARD = 16.0, 9.0  # seconds of a call, and of an outage in it that is longer than the lease
UNAVAILABLE = "RefreshUnavailable"


class Load:
    """Browsers that send three requests at a time to any workers, and do not wait for each answer."""

    def __init__(self, workers: Fleet, browsers: list[Browser], *, seed: int) -> None:
        self._workers = workers
        self._browsers = browsers
        self._random = random.Random(seed)
        self.answers: list[tuple[float, Answer]] = []  # with when it arrived
        self.newest: dict[str, float] = {}  # when each family had an access token without an error

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for browser in self._browsers:
                group.create_task(self._browse(browser))

    async def _browse(self, browser: Browser) -> None:
        while True:
            await asyncio.gather(*(self._request(browser) for _ in range(3)))
            await asyncio.sleep(self._random.uniform(0.2, 0.8))

    async def _request(self, browser: Browser) -> None:
        port = self._random.choice(self._workers.ports)
        leaves = self._random.expovariate(5) if self._random.random() < 0.15 else None
        try:
            async with asyncio.timeout(leaves):
                answer = await browser.get(port)
        except TimeoutError:
            return
        self.answers.append((time.monotonic(), answer))
        if answer.status == 200 and answer.content["error"] is None:
            self.newest[browser.family] = time.monotonic()

    def fresh_since(self, moment: float) -> bool:
        """Whether every family has had a good answer since then."""
        return all(self.newest.get(browser.family, 0) > moment for browser in self._browsers)


async def test_nobody_is_signed_out_while_the_store_is_down(
    frail_store: Meeting, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """O1: a store that is down for a minute under load costs no session, no 5xx and no second send; then all refresh."""
    async with fleet(frail_store, tmp_path, *[{}] * 3) as workers:
        await workers.steer(latency=0.4, access_token_lifetime=LIFETIME)
        browsers = [await workers.signed_in(valid_for=LIFETIME * n / BROWSERS) for n in range(BROWSERS)]
        load = Load(workers, browsers, seed=3)
        running = asyncio.ensure_future(load.run())
        try:
            await asyncio.sleep(LIFETIME * 0.8)
            before = (await workers.steer())["rotations"]
            with frail_store.down():
                gone = time.monotonic()
                await asyncio.sleep(OUTAGE)
                asked = (await workers.steer())["rotations"]
                back = time.monotonic()
            # All access tokens had expired by then, so each one that is good is of a new refresh.
            recovery = await until(lambda: running.done() or load.fresh_since(back), seconds=60)
        finally:
            running.cancel()
            await asyncio.wait({running})
        assert Counter(answer.status for _, answer in load.answers) == {200: len(load.answers)}
        assert {answer.standing for _, answer in load.answers} == {(ADA, None), (ADA, UNAVAILABLE)}
        assert load.fresh_since(back)
        state = await workers.steer()
        assert set(state["sent"].values()) == {1}
        assert state["reuses"] == 0
        during = [answer for moment, answer in load.answers if gone < moment < back]
        errors = sum(answer.content["error"] is not None for answer in during)
        longest = max(answer.waited for _, answer in load.answers)
        measured(
            f"down {OUTAGE:g} s: {len(during)} answers, {errors} RefreshUnavailable, 0 other; longest wait {longest:.1f} s;"
            f" {BROWSERS} sessions with {before}+{asked - before}+{state['rotations'] - asked} rotations before, during, after;"
            f" all fresh {recovery:.1f} s after"
        )


async def test_what_only_its_worker_holds_is_brought_back_before_anybody_asks_again(
    frail_store: Meeting, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """L7: a rotation that met a store that was down is served to the old cookie at another worker, which asks nobody."""
    down_for = min(OUTAGE, 25.0)
    async with fleet(frail_store, tmp_path, {}, {}) as workers:
        await workers.steer(latency=1.5)
        browser = await workers.signed_in()
        assert not await browser.leave_after(0.7, workers.ports[0])
        assert await workers.sends(browser) == [1]
        seen = Counter[tuple[int | None, str | None]]()

        async def served() -> bool:
            answer = await browser.copy().get(workers.ports[1])
            assert answer.standing in ((ADA, None), (ADA, UNAVAILABLE))
            seen[answer.generation, answer.content["error"]] += 1
            return answer.generation == 1

        with frail_store.down():
            began = time.monotonic()
            while time.monotonic() < began + down_for:
                assert not await served()
                await asyncio.sleep(0.3)
        took = await until(served, seconds=45, every=0.3)
        assert await workers.sends(browser) == [1]
        measured(
            f"served {took:.1f} s after the store was back, 1 send, {seen[0, UNAVAILABLE]} RefreshUnavailable before"
        )


async def test_an_owner_that_could_not_beat_is_not_replaced(
    frail_store: Meeting, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """R7: an owner whose beats met a store that was down for longer than the lease has not stopped: one send."""
    async with fleet(frail_store, tmp_path, *[{"wait": 29}] * 2) as workers:
        await workers.steer(latency=SLOW)
        browser = await workers.signed_in()
        owner = asyncio.ensure_future(browser.copy().get(workers.ports[0]))
        await asyncio.sleep(0.5)
        assert await workers.sends(browser) == [1]
        waiter = asyncio.ensure_future(browser.copy().get(workers.ports[1]))
        await asyncio.sleep(2)
        with frail_store.down():
            await asyncio.sleep(UNHEARD)
        assert (await browser.copy().get(workers.ports[1])).standing == (ADA, None)
        answers = [await owner, await waiter]
        assert answers[0].generation == 1
        assert await workers.sends(browser) == [1]
        measured(
            f"down {UNHEARD:g} s in a call of {SLOW:g} s: 1 send, the owner's and the other's request took {[round(a.waited, 1) for a in answers]} s"
        )


async def test_alone_while_the_store_is_down(
    frail_store: Meeting, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """L7: with store_failure="degrade" one worker refreshes on without the store, which has the rotation when it is back."""
    async with fleet(frail_store, tmp_path, {"store_failure": "degrade"}, {}) as workers:
        alone, other = workers.ports
        old = await workers.signed_in(valid_for=-1.0)
        with frail_store.down():
            began = time.monotonic()
            browser = old.copy()
            answers = await asyncio.gather(*(one.get(alone) for one in [old.copy() for _ in range(20)] + [browser]))
            assert {(answer.generation, *answer.standing, answer.wrote) for answer in answers} == {(1, ADA, None, True)}
            assert (await browser.get(alone)).generation == 1
            took = time.monotonic() - began
            counts = await workers.counts(0)
            assert (counts["refreshes_alone"], counts["rotations_unpublished"]) == (1, 1)

        async def recorded() -> bool:
            answer = await old.copy().get(other)
            assert answer.standing in ((ADA, None), (ADA, UNAVAILABLE))
            return answer.generation == 1

        await asyncio.sleep(3)  # the pauses between two attempts grow to 2 s
        back = await until(recorded, seconds=10)
        assert await workers.sends(browser) == [1]
        measured(f"21 requests refreshed alone in {took:.1f} s, 1 send; the record has it {3 + back:.1f} s after")
