"""What a request costs Redis, as Redis counts it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stores.redis_servers import running
from workers.commands import Commands, monitored
from workers.fleet import ADA, Fleet, RedisMeeting, at_once, fleet, until

PARALLEL = 50
GRACE = 1.0  # seconds
BEAT = 2.0  # seconds: a third of the lease
READS, WRITES, WAITS = ("GET",), ("EVALSHA", "EVAL"), ("SUBSCRIBE", "UNSUBSCRIBE", "PING")


@pytest.fixture
def redis() -> Iterator[RedisMeeting]:
    """A Redis of the test's own."""
    with running() as server:
        yield RedisMeeting(server)


async def warmed_up(workers: Fleet) -> None:
    """Each worker has refreshed, so that its connections are open and the server knows the scripts."""
    for port in workers.ports:
        assert (await (await workers.signed_in()).get(port)).generation == 1


async def spent(commands: Commands, worker: int) -> tuple[int, int, int]:
    """Reads, writes and commands of waiting."""
    asked = await commands.of(f"worker{worker}")
    assert set(asked) <= {*READS, *WRITES, *WAITS}
    reads, writes, waits = (sum(asked.get(name, 0) for name in names) for names in (READS, WRITES, WAITS))
    return reads, writes, waits


async def test_round_trips(redis: RedisMeeting, tmp_path: Path, measured: Callable[[str], None]) -> None:
    """I9: a request that is not due costs Redis nothing, a refresh three round trips, a waiter two and its wait."""
    async with monitored(redis.server) as commands, fleet(redis, tmp_path, *[{"grace": GRACE}] * 4) as workers:
        await warmed_up(workers)
        await not_due(workers, commands)
        measured(f"{4 * PARALLEL} requests outside the margin: 0 round trips")
        for seconds in (0.1, 3.0):
            await refresh_and_waiter(workers, commands, measured, seconds=seconds)
        await delivered(workers, commands, measured)


async def refresh_and_waiter(
    workers: Fleet, commands: Commands, measured: Callable[[str], None], *, seconds: float
) -> None:
    """Many requests at the worker that refreshes, and as many at one that waits for it, for about so long."""
    await commands.forget()
    await workers.steer(hold="before")
    browser = await workers.signed_in()
    browsers = [browser.copy() for _ in range(2 * PARALLEL)]
    began = time.monotonic()
    owners = asyncio.ensure_future(at_once(browsers[:PARALLEL], workers.ports[:1]))

    async def asked() -> bool:
        return await workers.sends(browser) == [1]

    await until(asked, seconds=10)
    waiters = asyncio.ensure_future(at_once(browsers[PARALLEL:], workers.ports[1:2]))
    await asyncio.sleep(seconds)
    await workers.steer(hold=None)
    answers = [*await owners, *await waiters]
    took = time.monotonic() - began
    assert {(answer.generation, *answer.standing) for answer in answers} == {(1, ADA, None)}
    assert await workers.sends(browser) == [1]

    reads, writes, waits = await spent(commands, 0)
    beats = writes - 2
    assert 0 <= beats <= took / BEAT
    assert (reads - beats, waits) == (1, 0)  # whoever has beaten reads anew before the next write
    measured(f"a refresh of {took:.1f} s, {PARALLEL} requests: 3 round trips, and 2 for each of {beats} beats")
    reads, writes, waits = await spent(commands, 1)
    looks = max(reads - 2, 0)
    assert (writes, looks <= 2 + 2 * took) == (0, True)
    assert waits <= 2
    measured(
        f"a waiter for {took:.1f} s, {PARALLEL} requests: {reads - looks} round trips, and for the wait {waits} of its"
        f" subscription and {looks} looks"
    )


async def not_due(workers: Fleet, commands: Commands) -> None:
    """Requests with an access token outside the margin."""
    browser = await workers.signed_in(valid_for=3000.0)
    await commands.forget()
    answers = await at_once([browser.copy() for _ in range(4 * PARALLEL)], workers.ports)
    assert {(answer.generation, *answer.standing, answer.wrote) for answer in answers} == {(0, ADA, None, False)}
    assert [await spent(commands, worker) for worker in range(4)] == [(0, 0, 0)] * 4


async def delivered(workers: Fleet, commands: Commands, measured: Callable[[str], None]) -> None:
    """The note that the browser has the new generation: once for each process, behind the answers."""
    await workers.steer(latency=0.0)
    browser = await workers.signed_in()
    assert (await browser.get(workers.ports[2])).generation == 1
    await asyncio.sleep(GRACE + 1.5)  # subscriptions of the waiters before are over as well
    await commands.forget()
    for _ in range(2):
        answers = await at_once([browser.copy() for _ in range(PARALLEL)], workers.ports[2:])
        assert {(answer.generation, answer.wrote) for answer in answers} == {(1, False)}
        await asyncio.sleep(0.5)
    costs = [await spent(commands, worker) for worker in (2, 3)]
    assert all(reads <= 2 and writes <= 2 and waits == 0 for reads, writes, waits in costs)
    assert all(writes >= 1 or reads >= 1 for reads, writes, _ in costs)
    measured(
        f"the delivered mark, in the background, {2 * PARALLEL} requests at 2 workers:"
        f" {' and '.join(f'{reads + writes}' for reads, writes, _ in costs)} round trips"
    )
