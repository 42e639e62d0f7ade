"""What every store must do: async functions that take an empty store. A store's own tests run them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from asgi_token_rotation.stores import Store


async def absent_is_none(store: Store) -> None:
    """A key that was never set is None, and differs from an empty value."""
    assert await store.get("absent") is None
    assert await store.compare_and_set("empty", None, b"", 60)
    assert await store.get("empty") == b""


async def only_if_absent(store: Store) -> None:
    """Expecting None sets the record only where there is none."""
    assert await store.compare_and_set("key", None, b"k1:first", 60)
    assert not await store.compare_and_set("key", None, b"k1:second", 60)
    assert await store.get("key") == b"k1:first"


async def only_if_expected(store: Store) -> None:
    """A record changes only for who knows its present bytes."""
    assert not await store.compare_and_set("key", b"k1:first", b"k1:second", 60)
    assert await store.get("key") is None
    assert await store.compare_and_set("key", None, b"k1:first", 60)
    assert not await store.compare_and_set("key", b"k1:other", b"k1:second", 60)
    assert await store.compare_and_set("key", b"k1:first", b"k1:second", 60)
    assert await store.get("key") == b"k1:second"


async def one_of_fifty_inserts(store: Store) -> None:
    """R1: of 50 concurrent claims on an absent record exactly one wins, and its bytes stand."""
    values = [b"k1:%d" % number for number in range(50)]
    won = await asyncio.gather(*(store.compare_and_set("key", None, value, 60) for value in values))
    assert won.count(True) == 1
    assert await store.get("key") == values[won.index(True)]


async def one_of_fifty_changes(store: Store) -> None:
    """R1: of 50 concurrent claims on the same bytes exactly one wins, and its bytes stand."""
    assert await store.compare_and_set("key", None, b"k1:first", 60)
    values = [b"k1:%d" % number for number in range(50)]
    won = await asyncio.gather(*(store.compare_and_set("key", b"k1:first", value, 60) for value in values))
    assert won.count(True) == 1
    assert await store.get("key") == values[won.index(True)]


async def keys_are_apart(store: Store) -> None:
    """A record does not touch its neighbours, however alike their keys are."""
    keys = ["session:a", "session:A", "session:a ", "session:", "s" * 100]
    for key in keys:
        assert await store.compare_and_set(key, None, key.encode(), 60)
    await store.delete("session:")
    assert [await store.get(key) for key in keys] == [None if key == "session:" else key.encode() for key in keys]


async def delete_forgets(store: Store) -> None:
    """A deleted record is absent and can be set anew; deleting an absent one is fine."""
    assert await store.compare_and_set("key", None, b"k1:first", 60)
    await store.delete("key")
    await store.delete("key")
    assert await store.get("key") is None
    assert await store.compare_and_set("key", None, b"k1:second", 60)


async def bytes_round_trip(store: Store) -> None:
    """Any bytes up to 64 KiB come back as they were set, and are compared as bytes."""
    values = [bytes(range(256)) * 256, b"\0", b"\xff\xfe", "é".encode()]
    expected: bytes | None = None
    for value in values:
        assert await store.compare_and_set("key", expected, value, 60)
        assert await store.get("key") == value
        expected = value


async def close_twice(store: Store) -> None:
    """Closing twice is fine."""
    await store.aclose()
    await store.aclose()


CONTRACT = (
    absent_is_none,
    only_if_absent,
    only_if_expected,
    one_of_fifty_inserts,
    one_of_fifty_changes,
    keys_are_apart,
    delete_forgets,
    bytes_round_trip,
    close_twice,
)
"""All of the above, for ``pytest.mark.parametrize``. Needs no clock."""


async def ttl_ends(store: Store, *, advance: Callable[[float], Awaitable[None]]) -> None:
    """A record is there until its ttl is over and absent after it; each write starts a ttl of its own.

    ``advance`` takes seconds and lets that time pass for the store, by its clock or by waiting.
    """
    assert await store.compare_and_set("short", None, b"k1:short", 2)
    assert await store.compare_and_set("renewed", None, b"k1:first", 2)
    await advance(1)
    assert await store.get("short") == b"k1:short"
    assert await store.compare_and_set("renewed", b"k1:first", b"k1:second", 4)
    await advance(2)
    assert await store.get("short") is None
    assert not await store.compare_and_set("short", b"k1:short", b"k1:late", 2)
    assert await store.compare_and_set("short", None, b"k1:anew", 2)
    assert await store.get("renewed") == b"k1:second"
