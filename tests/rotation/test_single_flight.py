from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest

from asgi_token_rotation._rotation.single_flight import Flight, PerLoop, SingleFlight, Tasks, Turns
from rotation.virtual import VirtualLoop, idle, timed

Work = Callable[[Flight[str]], Awaitable[str]]


class Journey:
    """Work that takes its time, and counts how often it was begun."""

    def __init__(self, seconds: float = 1.0, *, parks: bool = False) -> None:
        self.begun = 0
        self.ended = 0
        self._seconds = seconds
        self._parks = parks

    async def __call__(self, flight: Flight[str]) -> str:
        self.begun += 1
        if self._parks:
            flight.park()
            flight.park()
        await asyncio.sleep(self._seconds)
        self.ended += 1
        return f"journey {self.begun}"


def flights() -> tuple[SingleFlight[str], Tasks]:
    tasks = PerLoop(Tasks)
    return SingleFlight(tasks), tasks.get()


@timed
async def test_one_flight_for_all() -> None:
    """R1: However many ask at the same time, the work is done once and all get its result."""
    single, _ = flights()
    journey = Journey()
    joined = [single.join("key", journey) for _ in range(200)]

    assert [started for _, started in joined].count(True) == 1
    assert set(await asyncio.gather(*(flight.wait(5) for flight, _ in joined))) == {"journey 1"}
    assert journey.begun == 1


@timed
async def test_another_key_another_flight() -> None:
    """R10: A flight is shared by its key only."""
    single, _ = flights()
    one, other = Journey(), Journey()
    single.join("one", one)
    single.join("other", other)
    await asyncio.sleep(2)

    assert (one.ended, other.ended) == (1, 1)


@timed
async def test_a_settled_flight_is_over() -> None:
    """Who comes after a flight has landed starts another; its result is not kept."""
    single, _ = flights()
    journey = Journey()
    assert await single.join("key", journey)[0].wait(5) == "journey 1"
    flight, started = single.join("key", journey)

    assert started
    assert await flight.wait(5) == "journey 2"


@timed
async def test_the_first_callers_cancellation() -> None:
    """R9: The first waiter's cancellation cancels nothing: the others get the result."""
    single, _ = flights()
    journey = Journey()
    first = asyncio.create_task(single.join("key", journey)[0].wait(5))
    await idle()
    second = asyncio.create_task(single.join("key", journey)[0].wait(5))
    await idle()
    first.cancel()

    assert await second == "journey 1"
    assert first.cancelled()
    assert journey.begun == 1


@timed
async def test_everybody_goes_away() -> None:
    """L1: The work is finished although nobody waits for it any more."""
    single, _ = flights()
    journey = Journey()
    waiters = [asyncio.create_task(single.join("key", journey)[0].wait(5)) for _ in range(3)]
    await idle()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.sleep(2)

    assert journey.ended == 1


@timed
async def test_a_wait_is_bounded() -> None:
    """Who has waited long enough goes on without a result, and the work goes on too."""
    single, _ = flights()
    journey = Journey(9)
    flight, _ = single.join("key", journey)

    assert await flight.wait(3) is None
    assert asyncio.get_running_loop().time() == pytest.approx(3)
    assert await flight.wait(30) == "journey 1"


@timed
async def test_parked() -> None:
    """Where the flight only watches another worker, those who need not wait go on, and the rest wait on."""
    single, _ = flights()
    flight, _ = single.join("key", Journey(2, parks=True))

    assert await flight.wait(9, or_parked=True) is None
    assert asyncio.get_running_loop().time() == 0
    assert await flight.wait(9) == "journey 1"
    assert await flight.wait(9, or_parked=True) == "journey 1"


@timed
async def test_not_parked() -> None:
    """A flight that works itself is waited for."""
    single, _ = flights()

    assert await single.join("key", Journey(2))[0].wait(9, or_parked=True) == "journey 1"


@timed
async def test_a_flight_that_fails() -> None:
    """An exception reaches all who wait, and the next one starts anew."""
    single, _ = flights()

    async def crash(_: Flight[str]) -> str:
        await asyncio.sleep(1)
        raise LookupError

    one, other = single.join("key", crash)[0], single.join("key", crash)[0]
    for outcome in await asyncio.gather(one.wait(5), other.wait(5), return_exceptions=True):
        assert isinstance(outcome, LookupError)
    assert single.join("key", Journey())[1]


@timed
async def test_a_flight_that_is_cancelled() -> None:
    """When a shutdown cancels the work, who waits goes on without a result instead of being cancelled too."""
    single, tasks = flights()
    flight, _ = single.join("key", Journey())
    waiter = asyncio.create_task(flight.wait(5))
    await idle()
    for task in list(tasks._running):
        task.cancel()

    assert await waiter is None


@timed
async def test_a_context_of_its_own() -> None:
    """A detached task does not carry the context of the request that started it."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    variable.set("of the request")

    async def look() -> str:
        return variable.get()

    assert await Tasks().spawn(look()) == "none"


@timed
async def test_drain_waits_for_all() -> None:
    """I5: A shutdown waits for what is under way, and for what that begins in turn."""
    tasks = Tasks()
    ended: list[str] = []

    async def child() -> None:
        await asyncio.sleep(2)
        ended.append("child")

    async def parent() -> None:
        await asyncio.sleep(1)
        tasks.spawn(child())
        ended.append("parent")

    tasks.spawn(parent())

    assert await tasks.drain(10) == 0
    assert ended == ["parent", "child"]
    assert asyncio.get_running_loop().time() == pytest.approx(3)


@timed
async def test_drain_is_bounded() -> None:
    """A shutdown does not wait longer than it may, and says how many it leaves."""
    tasks = Tasks()
    tasks.spawn(asyncio.sleep(60))
    tasks.spawn(asyncio.sleep(1))

    assert await tasks.drain(5) == 1
    assert asyncio.get_running_loop().time() == pytest.approx(5)
    assert await tasks.drain(0) == 1


@timed
async def test_drain_of_nothing() -> None:
    """Where nothing is under way a shutdown does not wait."""
    assert await Tasks().drain(10) == 0
    assert asyncio.get_running_loop().time() == 0


def test_closed_loops_are_let_go() -> None:
    """What belonged to a loop that is closed is let go of when another loop comes."""
    per_loop = PerLoop(Tasks)

    async def use() -> weakref.ref[Tasks]:
        assert per_loop.get() is per_loop.get()
        return weakref.ref(per_loop.get())

    seen = []
    for _ in range(3):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            seen.append(runner.run(use()))
    gc.collect()

    assert [reference() is None for reference in seen] == [True, True, False]


def test_flights_of_two_loops() -> None:
    """No future of one event loop is awaited in another: each has flights of its own."""
    tasks = PerLoop(Tasks)
    single: SingleFlight[str] = SingleFlight(tasks)
    journey = Journey()

    async def use() -> str | None:
        return await single.join("key", journey)[0].wait(5)

    for expected in ("journey 1", "journey 2"):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            assert runner.run(use()) == expected


@timed
async def test_turns() -> None:
    """Work on one key goes one at a time, in order of arrival; work on another key does not wait."""
    turns = Turns()
    log: list[str] = []

    def work(name: str) -> Callable[[], Awaitable[str]]:
        async def run() -> str:
            log.append(f"{name} begins")
            await asyncio.sleep(1)
            log.append(f"{name} ends")
            return name

        return run

    answers = await asyncio.gather(*(turns.take(key, work(key + name)) for key, name in ("a1", "a2", "b1", "a3")))

    assert answers == ["a1", "a2", "b1", "a3"]
    assert [line for line in log if line.startswith("a")] == [
        "a1 begins", "a1 ends", "a2 begins", "a2 ends", "a3 begins", "a3 ends",
    ]  # fmt: skip
    assert log.index("b1 ends") < log.index("a2 ends")
    assert turns._turns.get() == {}


@timed
async def test_a_turn_that_fails_or_is_cancelled() -> None:
    """Neither an exception nor a cancellation keeps a key busy."""
    turns = Turns()

    async def crash() -> None:
        await asyncio.sleep(1)
        raise LookupError

    async def quick() -> str:
        return "done"

    crashing = asyncio.create_task(turns.take("key", crash))
    waiting = asyncio.create_task(turns.take("key", quick))
    last = asyncio.create_task(turns.take("key", quick))
    await idle()
    waiting.cancel()

    assert await last == "done"
    with pytest.raises(LookupError):
        await crashing
    assert turns._turns.get() == {}
