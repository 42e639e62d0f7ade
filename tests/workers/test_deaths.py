"""Workers that are killed, and workers that are told to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.browser import Browser
from workers.fleet import ADA, Fleet, Meeting, fleet, until

LEASE = 2.0  # seconds
OPTIONS = {"lease": LEASE, "wait": 8}


async def asking(workers: Fleet, browser: Browser) -> None:
    """Wait until the token server has the browser's refresh token."""

    async def received() -> bool:
        return await workers.sends(browser) == [1]

    await until(received, seconds=5, every=0.02)


@pytest.mark.parametrize("stage", ["before", "after"])
async def test_a_killed_owner_is_replaced(
    store: Meeting, tmp_path: Path, measured: Callable[[str], None], stage: str
) -> None:
    """I4: SIGKILL between sending and publishing: another worker takes over after the lease; two sends, and never a third."""
    async with fleet(store, tmp_path, *[OPTIONS] * 3) as workers:
        browser = await workers.signed_in()
        await workers.steer(hold=stage)
        first = asyncio.ensure_future(browser.copy().get(workers.ports[0]))
        await asking(workers, browser)
        died = time.monotonic()
        workers.workers[0].kill()
        with pytest.raises((AssertionError, OSError)):
            await first
        if stage == "before":  # the provider never worked on it: its connection is cut
            await workers.steer(cut="before", fail_times=1)
        await workers.steer(hold=None)
        browsers = [browser.copy() for _ in range(20)]
        answers = await asyncio.gather(*(one.get(workers.ports[1 + n % 2]) for n, one in enumerate(browsers)))
        took = time.monotonic() - died
        assert LEASE <= took < LEASE + 4
        expected = (1, ADA, None) if stage == "before" else (0, ADA, "RefreshAccessTokenError")
        assert {(answer.generation, *answer.standing) for answer in answers} == {expected}
        for one in browsers:
            assert (await one.get(workers.ports[2])).standing == expected[1:]
        assert await workers.sends(browser) == [2]
        assert sum([(await workers.counts(number))["take_overs"] for number in (1, 2)]) == 1
        measured(f"killed {stage} the rotation: 2 sends, taken over {took:.1f} s after the death (lease {LEASE:g} s)")


async def test_a_worker_that_ends_finishes_its_refreshes(
    store: Meeting, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """I5: SIGTERM in the middle of a refresh: who waits is answered, who went away finds the rotation, one send each."""
    async with fleet(store, tmp_path, {}, {}) as workers:
        await workers.steer(latency=2.0)
        stays, leaves = await workers.signed_in(), await workers.signed_in()
        waiting = asyncio.ensure_future(stays.get(workers.ports[0]))
        assert not await leaves.leave_after(0.5, workers.ports[0])
        await asking(workers, stays)
        await asking(workers, leaves)
        workers.workers[0].terminate()
        answer = await waiting
        assert (answer.generation, *answer.standing) == (1, ADA, None)
        took = await until(workers.workers[0].ended, seconds=10)
        for browser in (stays, leaves):
            answer = await browser.get(workers.ports[1])
            assert (answer.generation, *answer.standing) == (1, ADA, None)
            assert await workers.sends(browser) == [1]
        measured(f"2 refreshes under way, both published, 1 send each; gone {took:.1f} s after the answer")
