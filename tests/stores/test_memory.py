from __future__ import annotations

import asyncio
import logging
import random
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asgi_token_rotation.errors import ConfigurationError, StoreError
from asgi_token_rotation.stores import MemoryStore, Store, store_from_url
from asgi_token_rotation.testing import Clock
from stores.contract import CONTRACT, ttl_ends

DAY = 86_400


async def put(store: Store, key: str, value: bytes, *, ttl: float = DAY) -> None:
    assert await store.compare_and_set(key, None, value, ttl)


async def kept(store: Store, *keys: str) -> list[str]:
    return [key for key in keys if await store.get(key) is not None]


def at(rank: str, seconds: float) -> bytes:
    return f"{rank}{seconds:.0f}:sealed".encode()


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
async def test_contract(check: Callable[[Store], Awaitable[None]], clock: Clock) -> None:
    """The memory store does what every store must do."""
    await check(MemoryStore(clock=clock))


async def test_ttl(clock: Clock) -> None:
    """The memory store forgets by the clock that it was given."""

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    await ttl_ends(MemoryStore(clock=clock), advance=advance)


async def test_default_clock() -> None:
    """Without a clock the time of day counts."""
    store = MemoryStore()
    await put(store, "key", b"k1:value", ttl=60)
    await put(store, "gone", b"k1:value", ttl=0)

    assert await kept(store, "key", "gone") == ["key"]


async def test_close_keeps_the_records(clock: Clock) -> None:
    """A lifespan may start again: closing the memory store loses nothing."""
    store = MemoryStore(clock=clock)
    await put(store, "key", b"k1:value")
    await store.aclose()

    assert await store.get("key") == b"k1:value"


async def test_order_of_dropping(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """When full, expired records go first, then marks, then back-off states, then ends, the oldest of each first."""
    now = clock()
    store = MemoryStore(clock=clock, max_records=8)
    await put(store, "end, new", at("e", now - 10))
    await put(store, "end, old", at("e", now - 20))
    await put(store, "back-off, new", at("b", now + 40))
    await put(store, "back-off, old", at("b", now + 30))
    await put(store, "mark, new", at("k", now - 1))
    await put(store, "mark, old", at("k", now - 2))
    await put(store, "undelivered", at("k", now + 1))
    await put(store, "expired", at("k", now + 100), ttl=0)
    order = ["expired", "mark, old", "mark, new", "back-off, old", "back-off, new", "end, old", "end, new"]
    held = [*order, "undelivered"]

    for dropped in order:
        assert caplog.messages == [] if dropped in order[:2] else len(caplog.messages) == 1
        await put(store, f"in place of {dropped}", at("k", now + 100))
        held.remove(dropped)
        assert await kept(store, *order, "undelivered") == held

    with pytest.raises(StoreError, match="Raise MemoryStore"):
        await put(store, "no room", at("k", now + 100))
    assert held == ["undelivered"]


async def test_never_drops_what_is_undelivered(clock: Clock) -> None:
    """A full store refuses a new record rather than lose tokens or a claim, and takes it once their time has passed."""
    store = MemoryStore(clock=clock, max_records=2)
    await put(store, "a", at("k", clock() + 10))
    await put(store, "b", at("k", clock() + 20))

    with pytest.raises(StoreError):
        await store.compare_and_set("c", None, at("e", clock()), DAY)
    assert await kept(store, "a", "b", "c") == ["a", "b"]

    clock.advance(10)
    await put(store, "c", at("e", clock()))
    assert await kept(store, "a", "b", "c") == ["b", "c"]


async def test_without_a_rank_is_kept(clock: Clock) -> None:
    """What does not begin with a rank is never dropped before it expires."""
    odd = [
        b"",
        b"k:",
        b"k1",
        b"x1:",
        b"k-1:",
        b"K1:",
        b"knan:",
        b"kinf:",
        b"k 1:",
        b" k1:",
        b"e1e1:",
        b"k9999999999999999:",
    ]
    store = MemoryStore(clock=clock, max_records=len(odd))
    for number, value in enumerate(odd):
        await put(store, str(number), value)

    with pytest.raises(StoreError):
        await store.compare_and_set("new", None, b"k1:", DAY)


async def test_fractions_of_a_second(clock: Clock) -> None:
    """A rank's time may have a fraction."""
    store = MemoryStore(clock=clock, max_records=1)
    await put(store, "a", b"k%.3f:sealed" % (clock() + 0.5))
    with pytest.raises(StoreError):
        await store.compare_and_set("b", None, b"k1:", DAY)

    clock.advance(0.6)
    await put(store, "b", b"k1:sealed")


async def test_a_change_needs_no_room(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A full store still lets records change, and judges each by its present rank."""
    store = MemoryStore(clock=clock, max_records=2)
    await put(store, "a", at("k", clock() + 10))
    await put(store, "b", at("k", clock() + 10))
    assert await store.compare_and_set("a", at("k", clock() + 10), at("e", clock()), DAY)
    assert not await store.compare_and_set("absent", b"k1:", at("e", clock()), DAY)
    assert caplog.messages == []

    await put(store, "c", at("k", clock() + 10))
    assert await kept(store, "a", "b", "c") == ["b", "c"]


async def test_a_deleted_record_makes_room(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Room that a deletion made is used before anything is dropped."""
    store = MemoryStore(clock=clock, max_records=2)
    await put(store, "a", at("e", clock()))
    await put(store, "b", at("e", clock()))
    await store.delete("b")
    await put(store, "c", at("e", clock()))

    assert await kept(store, "a", "b", "c") == ["a", "c"]
    assert caplog.messages == []


async def test_says_once_that_the_promise_ends(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The first record that goes before its time is told once per store, with what it means and what to do."""
    stores = [MemoryStore(clock=clock, max_records=2) for _ in range(2)]
    for store in stores:
        for number in range(6):
            await put(store, f"secret key {number}", at("e", clock()))

    assert len(caplog.messages) == 2
    name, level, message = caplog.record_tuples[0]
    assert (name, level) == ("asgi_token_rotation", logging.WARNING)
    for words in (
        "max_records=2",
        "a session that has ended may come back",
        "Raise MemoryStore",
        "sqlite:///",
        "redis://",
    ):
        assert words in message
    assert "secret key" not in caplog.text


async def test_expiry_alone_is_no_broken_promise(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Dropping expired records is silent, however often the store fills."""
    store = MemoryStore(clock=clock, max_records=10)
    for number in range(100):
        await put(store, str(number), at("k", clock() + 100), ttl=10)
        clock.advance(1)

    assert caplog.messages == []


@pytest.mark.parametrize("seed", range(20))
async def test_as_the_plain_rule_says(seed: int, clock: Clock) -> None:
    """Whatever is written, changed, deleted and forgotten: the store holds what the rule, written down naively, says."""
    chance = random.Random(seed)
    store = MemoryStore(clock=clock, max_records=12)
    model: dict[str, tuple[float, str, float, bytes]] = {}  # expiry, rank, the rank's time, value

    def least_needed() -> str | None:
        now = clock()
        marks = sorted((at, key) for key, (_, rank, at, _) in model.items() if rank == "k" and at <= now)
        back_offs = sorted((at, key) for key, (_, rank, at, _) in model.items() if rank == "b")
        ends = sorted((at, key) for key, (_, rank, at, _) in model.items() if rank == "e")
        return next((key for _, key in [*marks, *back_offs, *ends]), None)

    for number in range(600):
        clock.advance(chance.random())
        model = {key: record for key, record in model.items() if record[0] > clock()}
        key = f"key {chance.randrange(30)}"
        if chance.random() < 0.1:
            await store.delete(key)
            model.pop(key, None)
            continue
        rank, at, ttl = chance.choice("kkkbe"), 1.8e9 + number + chance.randrange(-40, 40) / 97, chance.randrange(1, 40)
        value = f"{rank}{at:.6f}:{number}".encode()
        expected = model[key][3] if key in model else None
        if expected is None and len(model) == 12:
            dropped = least_needed()
            if dropped is None:
                with pytest.raises(StoreError):
                    await store.compare_and_set(key, None, value, ttl)
                continue
            del model[dropped]
        assert await store.compare_and_set(key, expected, value, ttl)
        model[key] = (clock() + ttl, rank, float(f"{at:.6f}"), value)
        if chance.random() < 0.2:  # not each time, for reading forgets what has expired
            found = {key: await store.get(key) for key in map("key {}".format, range(30))}
            assert {key: value for key, value in found.items() if value is not None} == {
                key: record[3] for key, record in model.items()
            }


async def seconds_for(
    store: MemoryStore, operation: Callable[[MemoryStore, int], Awaitable[Any]], *, times: int
) -> float:
    """The best of three, so that a busy machine does not decide."""
    best = float("inf")
    for attempt in range(3):
        started = time.perf_counter()
        for number in range(times):
            await operation(store, attempt * times + number)
        best = min(best, time.perf_counter() - started)
    return best


async def refused(store: MemoryStore, number: int) -> None:
    with pytest.raises(StoreError):
        await store.compare_and_set(f"new {number}", None, b"e1:", DAY)


async def evicting(store: MemoryStore, number: int) -> None:
    await put(store, f"new {number}", b"e1:")


@pytest.mark.parametrize(
    ("value", "operation"),
    [(b"", refused), (b"b1:", evicting), (b"k1:", evicting)],
    ids=["keeps", "back-offs", "marks"],
)
async def test_a_full_store_is_not_slow(
    value: bytes, operation: Callable[[MemoryStore, int], Awaitable[None]], clock: Clock
) -> None:
    """I10: an insertion into a full store costs about the same with 100 records and with 30 000, whatever they are."""
    times = {}
    for size in (100, 30_000):
        store = MemoryStore(clock=clock, max_records=size)
        for number in range(size):
            await put(store, str(number), value)
        times[size] = await seconds_for(store, operation, times=1000)

    assert times[30_000] < 20 * times[100]


async def test_beats_do_not_pile_up(clock: Clock) -> None:
    """I10: a record that is written over and over again holds no memory for its past."""
    store = MemoryStore(clock=clock)
    value: bytes | None = None

    async def write(times: int) -> int:
        nonlocal value
        for _ in range(times):
            clock.advance(2)
            following = at("k", clock())
            assert await store.compare_and_set("key", value, following, DAY)
            value = following
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first = await write(1000)
        assert await write(5000) - first < 50_000
    finally:
        tracemalloc.stop()


async def test_expired_records_go_while_it_is_used(clock: Clock) -> None:
    """A store that once held much and is still used gives the memory back, without ever being full."""
    tracemalloc.start()
    try:
        store = MemoryStore(clock=clock)
        for number in range(2000):
            await put(store, str(number), bytes(1000), ttl=10)
        full = tracemalloc.get_traced_memory()[0]
        clock.advance(20)
        for number in range(1000):
            await put(store, f"new {number}", b"", ttl=10)
            await store.delete(f"new {number}")
        assert tracemalloc.get_traced_memory()[0] < full / 4
    finally:
        tracemalloc.stop()


def test_several_loops_in_several_threads(clock: Clock) -> None:
    """One store serves event loops in several threads: of 8 that count up one record, none loses a step."""
    store = MemoryStore(clock=clock)

    async def count() -> None:
        for _ in range(200):
            while True:
                before = await store.get("key")
                if await store.compare_and_set("key", before, b"%d" % (int(before or b"0") + 1), DAY):
                    break

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(asyncio.run, count()) for _ in range(8)]:
            done.result()

    assert asyncio.run(store.get("key")) == b"1600"


@pytest.mark.parametrize("max_records", [0, -1, True, 1.5, "1", None])
def test_max_records_is_checked(max_records: Any) -> None:
    """A store that could hold nothing is refused with a sentence."""
    with pytest.raises(ConfigurationError, match=r"MemoryStore.max_records is .*: expected a whole number"):
        MemoryStore(max_records=max_records)


async def test_from_url(clock: Clock) -> None:
    """The URL memory:// names a memory store that goes by the given clock."""
    store = store_from_url("memory://", clock=clock)
    await put(store, "key", b"k1:", ttl=10)
    clock.advance(10)

    assert isinstance(store, MemoryStore)
    assert await store.get("key") is None
