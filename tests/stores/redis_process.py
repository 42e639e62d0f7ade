"""Another process on the store: ``python redis_process.py count|touch URL PREFIX TIMES``."""

from __future__ import annotations

import asyncio
import sys
import time

from asgi_token_rotation.stores.redis import RedisStore


def say(word: object) -> None:
    """Tell the test."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def count(store: RedisStore, times: int) -> None:
    """Add one to the record, so many times."""
    for _ in range(times):
        while True:
            before = await store.get("number")
            if await store.compare_and_set("number", before, b"%d" % (int(before or b"0") + 1), 60):
                break


async def touch(store: RedisStore, times: int) -> None:
    """Change the record whenever a line arrives, and say when that was, by the clock that all processes share."""
    assert await store.get("touched") is None
    say("ready")
    before: bytes | None = None
    for number in range(times):
        await asyncio.to_thread(sys.stdin.readline)
        following = b"%d" % number
        now = time.monotonic()
        assert await store.compare_and_set("touched", before, following, 60)
        before = following
        say(now)


async def main(work: str, url: str, prefix: str, times: str) -> None:
    """Do the work, and close the store."""
    store = RedisStore.from_url(url, prefix=prefix)
    await {"count": count, "touch": touch}[work](store, int(times))
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
