from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from asgi_token_rotation._rotation.ledger import TRIES, Bounded, Entry, Ledger, UnreadableRecordError
from asgi_token_rotation._rotation.record import Claim, Record
from asgi_token_rotation._rotation.sealing import RecordSeal
from asgi_token_rotation.errors import StoreError
from asgi_token_rotation.stores import MemoryStore, Store
from rotation.kit import SECRET, Reach, store
from rotation.virtual import timed

OTHER_SECRET = "another secret of the tests, just as long"


def ledger(place: Store, secret: str = SECRET) -> Ledger:
    return Ledger(store=place, seal=RecordSeal([secret]), ttl=1000)


def next_one(record: Record | None) -> Record:
    return replace(record, generation=record.generation + 1) if record else Record(generation=1)


@timed
async def test_nothing_there() -> None:
    """A session without a record reads as none."""
    assert await ledger(store()).read("key") == Entry(None, None)


@timed
async def test_changes_reach_other_workers() -> None:
    """What one worker wrote another reads, and either knows it then."""
    shared = store()
    one, other = ledger(shared), ledger(shared)
    change = await one.change("key", next_one)

    assert (change.made, change.record) == (True, Record(generation=1))
    assert one.known("key") == Record(generation=1)
    assert other.known("key") is None
    assert (await other.read("key")).record == Record(generation=1)
    assert other.known("key") == Record(generation=1)


@timed
async def test_nothing_to_change() -> None:
    """A transition that answers None writes nothing, and says what is there."""
    reach = Reach(store())
    book = ledger(reach)
    await book.change("key", next_one)
    change = await book.change("key", lambda _: None)

    assert (change.made, change.record) == (False, Record(generation=1))
    assert reach.operations == ["get", "set", "get"]


@timed
async def test_judged_again_on_a_conflict() -> None:
    """A change that lost a race is judged again on what is there now, so no change is lost."""
    shared = store()
    books = [ledger(Reach(shared, latency=0.1)) for _ in range(5)]
    await asyncio.gather(*(book.change("key", next_one) for book in books))

    assert (await books[0].read("key")).record == Record(generation=5)


@timed
async def test_a_conflict_may_end_a_change() -> None:
    """Where the other's change makes this one wrong, it is not made."""
    shared = store()
    one, other = ledger(Reach(shared, latency=0.1)), ledger(shared)

    def once(record: Record | None) -> Record | None:
        return Record(generation=7) if record is None else None

    slow = asyncio.create_task(one.change("key", once))
    await asyncio.sleep(0.15)
    await other.change("key", next_one)
    change = await slow

    assert (change.made, change.record) == (False, Record(generation=1))


@timed
async def test_changes_of_one_session_queue() -> None:
    """Within a process changes of one session queue: none of them loses a race."""
    reach = Reach(store(), latency=0.1)
    book = ledger(reach)
    await asyncio.gather(*(book.change("key", next_one) for _ in range(20)))

    assert reach.operations == ["get", "set"] * 20


@timed
async def test_an_entry_saves_a_read() -> None:
    """Who has just written the record need not read it; where it moved all the same, it is read."""
    reach = Reach(store())
    book = ledger(reach)
    entry = await book.replace("key", Entry(None, None), Record(generation=1))
    assert entry is not None
    await book.change("key", next_one, entry=entry)
    assert reach.operations == ["set", "set"]
    change = await book.change("key", next_one, entry=entry)

    assert change.record == Record(generation=3)
    assert reach.operations == ["set", "set", "set", "get", "set"]


@timed
async def test_a_replacement_names_the_bytes() -> None:
    """A replacement is made only over the very bytes that were read."""
    book = ledger(store())
    entry = await book.replace("key", Entry(None, None), Record(generation=1))
    assert entry is not None
    await book.change("key", lambda record: record)

    assert await book.replace("key", entry, Record(generation=2)) is None
    assert book.known("key") == Record(generation=1)


def test_known_never_goes_backwards() -> None:
    """What is known is never replaced by something older, and nothing follows an end."""
    book = ledger(MemoryStore())
    book.learn("key", Record(generation=2))
    book.learn("key", Record(generation=1))
    assert book.known("key") == Record(generation=2)
    book.learn("key", Record(generation=2, kind="refused"))
    assert book.known("key") == Record(generation=2, kind="refused")
    book.learn("key", Record(state="ended", generation=1))
    book.learn("key", Record(generation=9))

    assert book.known("key") == Record(state="ended", generation=1)


@timed
async def test_what_the_store_lost() -> None:
    """A rotation that the store never took, or lost, is still what this process decides by, and is written again."""
    shared = store()
    book = ledger(shared)
    await book.change("key", next_one)
    book.learn("key", Record(generation=5, reason="kept"))
    assert (await book.read("key")).record == Record(generation=5, reason="kept")
    await shared.delete("key")
    assert (await book.read("key")).record == Record(generation=5, reason="kept")
    await book.change("key", lambda record: record)

    assert (await ledger(shared).read("key")).record == Record(generation=5, reason="kept")


@timed
async def test_what_the_store_knows_better() -> None:
    """At the same generation, and at an end, the store's word counts."""
    shared = store()
    book, other = ledger(shared), ledger(shared)
    claimed = Record(state="claimed", generation=1, claim=Claim(owner="o", lease=6))
    await book.change("key", lambda _: claimed)
    await other.change("key", lambda _: Record(generation=1))
    assert (await book.read("key")).record == Record(generation=1)
    book.learn("key", Record(generation=9))
    await other.change("key", lambda _: Record(state="ended", generation=1))

    assert (await book.read("key")).record == Record(state="ended", generation=1)


@timed
async def test_an_end_that_the_store_does_not_have() -> None:
    """An end that could not be stored is known, but hides no record: it can still be written."""
    book = ledger(store())
    await book.change("key", next_one)
    book.learn("key", Record(state="ended", generation=1))

    assert (await book.read("key")).record == Record(generation=1)
    assert book.known("key") == Record(state="ended", generation=1)


@timed
async def test_unreadable() -> None:
    """A record that was written with a newer secret is an error of the store, and carries the bytes that are there."""
    shared = store()
    await ledger(shared, OTHER_SECRET).change("key", next_one)
    book = ledger(shared)
    with pytest.raises(UnreadableRecordError) as caught:
        await book.read("key")

    assert isinstance(caught.value, StoreError)
    assert caught.value.raw == await shared.get("key")
    assert await book.overwrite("key", Record(state="ended"), caught.value.raw)
    assert (await book.read("key")).record == Record(state="ended")
    assert not await book.overwrite("key", Record(), caught.value.raw)


@timed
async def test_every_failure_is_a_store_error() -> None:
    """Whatever a store raises is a StoreError with its cause, and says nothing of what was to be stored."""
    reach = Reach(store())
    book = ledger(reach)
    for failing in ("get", "set"):
        reach.failing = {failing}
        with pytest.raises(StoreError) as caught:
            await book.change("key", next_one)
        assert isinstance(caught.value.__cause__, OSError)


@timed
async def test_a_broken_store() -> None:
    """A store that refuses every compare-and-set is an error, not an endless loop."""
    reach = Reach(store(), broken=True)
    with pytest.raises(StoreError, match=f"{TRIES} times"):
        await ledger(reach).change("key", next_one)

    assert reach.operations.count("set") == TRIES


def test_bounded() -> None:
    """A table holds so many rows, and forgets what was put longest ago."""
    table: Bounded[int] = Bounded(3)
    for number, key in enumerate("abca"):
        table.put(key, number)
    table.put("d", 9)

    assert len(table) == 3
    assert [table.get(key) for key in "abcd"] == [3, None, 2, 9]
    table.drop("a")
    table.drop("never there")
    assert table.get("a") is None


@timed
async def test_changes_under_an_own_claim_are_beats() -> None:
    """R7: Every change that a process makes under its own claim is a beat of it; under another's, or afterwards, it is not."""
    book = ledger(store())
    claim = Claim(owner="mine", lease=6)
    await book.change("key", lambda _: Record(state="claimed", claim=claim))

    async def beat_after_a_change() -> int:
        change = await book.change("key", lambda record: record)
        assert change.record is not None
        assert change.record.claim is not None
        assert book.known("key") == change.record
        return change.record.claim.beat

    assert await beat_after_a_change() == 0
    book.hold("key", "another")
    assert await beat_after_a_change() == 0
    book.hold("key", "mine")
    book.let_go("key", "another")
    assert [await beat_after_a_change() for _ in range(2)] == [1, 2]
    book.let_go("key", "mine")
    assert await beat_after_a_change() == 2
