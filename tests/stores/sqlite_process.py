"""What the SQLite store's tests run in processes of their own: ``python sqlite_process.py NAME PATH [ARGUMENT]``."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from pathlib import Path

from asgi_token_rotation.errors import ConfigurationError, StoreError
from asgi_token_rotation.stores import SQLiteStore, Store
from stores.contract import CONTRACT

DAY = 86_400
INCREMENTS = 40
CLAIMS = 60


class Prefixed:
    """A store whose keys are apart from those of other processes, while the file is the same."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def _key(self, key: str) -> str:
        return (self._prefix + key)[:100]

    async def get(self, key: str) -> bytes | None:
        return await self._store.get(self._key(key))

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        return await self._store.compare_and_set(self._key(key), expected, value, ttl)

    async def delete(self, key: str) -> None:
        await self._store.delete(self._key(key))

    async def aclose(self) -> None:
        await self._store.aclose()


def say(*words: object) -> None:
    """One line for the test, at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def increment(store: Store, key: str) -> int:
    """Add one by compare-and-set, as often as it takes."""
    while True:
        raw = await store.get(key)
        number = 1 if raw is None else int(raw) + 1
        if await store.compare_and_set(key, raw, b"%d" % number, DAY):
            return number


def together(path: str) -> None:
    """Wait until the test lets all processes go."""
    say("ready")
    while not Path(f"{path}.go").exists():
        time.sleep(0.001)


async def contending(path: str, argument: str) -> None:
    """Run the contract on keys of this process's own; increment one key, and claim keys, with all others."""
    store = SQLiteStore(path)
    for check in CONTRACT:
        await check(Prefixed(store, f"{argument} {check.__name__} "))
    for _ in range(INCREMENTS):
        await increment(store, "counter")
    for number in range(CLAIMS):
        if await store.compare_and_set(f"claim {number}", None, b"k1:%d" % os.getpid(), DAY):
            say(number)
    await store.aclose()


async def endless(path: str, argument: str) -> None:
    """Increment four keys until somebody kills this; print each number once it is in the store."""
    store = SQLiteStore(path, busy_timeout=20)

    async def one(key: str) -> None:
        while True:
            say(key, await increment(store, key))

    await asyncio.gather(*(one(f"{argument}{number}") for number in range(4)))


async def unwritable(path: str, _: str) -> None:
    """Without a superuser's rights: a folder and a file that may not be written, at start-up and later."""
    if os.getuid() == 0:
        os.setuid(65534)
    folder = Path(path)
    for name in ("closed/sessions.db", "open/closed.db", "open/folder.db"):
        try:
            SQLiteStore(folder / name)
            sentence = "none"
        except ConfigurationError as error:
            sentence = str(error)
        assert "this process's user may" in sentence, (name, sentence)
    store = SQLiteStore(folder / "open" / "sessions.db")
    assert await store.compare_and_set("key", None, b"k1:", DAY)
    await store.aclose()
    (folder / "open" / "sessions.db").chmod(0o400)
    await refused(store, "can't be opened for writing")
    (folder / "open" / "sessions.db").chmod(0o600)
    assert await store.get("key") == b"k1:"
    say("done")


async def refused(store: Store, words: str) -> None:
    try:
        await store.compare_and_set("refused", None, b"k1:", DAY)
        sentence = "none"
    except StoreError as error:
        sentence = str(error)
    assert words in sentence, sentence


async def full(path: str, _: str) -> None:
    """A file that can't grow, as on a full disk, and then can."""
    store = SQLiteStore(path)
    assert await store.compare_and_set("key", None, b"k1:first", DAY)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{path}-wal").stat().st_size, limits[1]))
    await refused(store, "look at the disk")
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert await store.get("refused") is None
    assert await store.compare_and_set("key", b"k1:first", b"k1:second", DAY)
    await store.aclose()
    say("done")


def fork(path: str) -> None:
    """Fork while the file is open; the parent closes it between two writes of the child; then look at what is there."""
    store = SQLiteStore(path)
    asyncio.run(put(store, "before"))
    opened, closed = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        asyncio.run(put(store, "child"))
        os.write(opened[1], b"1")
        os.read(closed[0], 1)
        asyncio.run(put(store, "child, parent closed"))
        os._exit(0)
    os.read(opened[0], 1)
    asyncio.run(put(store, "parent"))
    asyncio.run(store.aclose())
    os.write(closed[1], b"1")
    os.waitpid(child, 0)
    say(asyncio.run(found(store)))


async def put(store: Store, key: str) -> None:
    assert await store.compare_and_set(key, None, b"k1:", DAY)


async def found(store: Store) -> list[str]:
    keys = ("before", "parent", "child", "child, parent closed")
    return [key for key in keys if await store.get(key) is not None]


if __name__ == "__main__":
    name, path, argument = (*sys.argv[1:], "")[:3]
    if name == "fork":
        fork(path)
    else:
        if name == "contending":
            together(path)
        asked = {"contending": contending, "endless": endless, "unwritable": unwritable, "full": full}
        asyncio.run(asked[name](path, argument))
