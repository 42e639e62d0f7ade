from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Awaitable
from pathlib import Path

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel

from asgi_token_rotation.stores.redis import RedisStore
from stores.redis_servers import HOST, Server

PROCESS = Path(__file__).with_name("redis_process.py")
AT_ONCE = 0.05  # seconds


async def seconds(work: Awaitable[object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def listening(store: RedisStore, key: str, *, timeout: float = 5.0) -> asyncio.Task[float]:
    """A wait that is under way, and that the server knows of; its result is how long it took."""
    await store.wait(key, 0.1)
    task = asyncio.ensure_future(seconds(store.wait(key, timeout)))
    await asyncio.sleep(0.02)
    assert not task.done()
    return task


def subscribers(server: Server, channel: str) -> int:
    answer = server.ask("PUBSUB", "NUMSUB", channel)
    assert isinstance(answer, list)
    return int(answer[1])


def listeners(server: Server) -> int:
    """How many connections have subscriptions."""
    return str(server.ask("CLIENT", "LIST", "TYPE", "PUBSUB")).count(" sub=")


async def change(store: RedisStore, key: str, before: bytes | None, after: bytes) -> None:
    assert await store.compare_and_set(key, before, after, 60)


async def test_wakes_at_another_processs_change(redis_server: Server, prefix: str) -> None:
    """A wait ends within 50 ms of a change that another process made."""
    command = [sys.executable, str(PROCESS), "touch", redis_server.url, prefix, "5"]
    store = RedisStore.from_url(redis_server.url, prefix=prefix)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
        late = []
        for _ in range(5):
            task = await listening(store, "touched")
            process.stdin.write("\n")
            process.stdin.flush()
            await task
            woken = time.monotonic()
            late.append(woken - float(await asyncio.to_thread(process.stdout.readline)))

    assert sorted(late)[2] < AT_ONCE
    await store.aclose()


async def test_without_news_it_ends_in_time(redis_server: Server, prefix: str) -> None:
    """A wait for a record that nobody changes ends after the time-out, whatever happens to other records."""
    store = RedisStore.from_url(redis_server.url, prefix=prefix)
    task = await listening(store, "key", timeout=0.3)
    await change(store, "other", None, b"1")
    await change(store, "key2", None, b"1")
    assert not await store.compare_and_set("key", b"never there", b"1", 60)

    assert 0.25 < await task < 0.6
    await store.aclose()


@pytest.mark.parametrize("operation", ["insert", "change", "delete"])
async def test_every_change_is_news(operation: str, redis_server: Server, prefix: str) -> None:
    """Whoever waits for a record is woken when it is made, changed or deleted, all of them."""
    store = RedisStore.from_url(redis_server.url, prefix=prefix)
    if operation != "insert":
        await change(store, "key", None, b"1")
    tasks = [await listening(store, "key"), await listening(store, "key")]
    other = await listening(store, "other", timeout=0.3)
    if operation == "delete":
        await store.delete("key")
    else:
        await change(store, "key", None if operation == "insert" else b"1", b"2")

    assert max(await asyncio.gather(*tasks)) < 2  # they would have waited for 5
    assert await other > 0.25
    await store.aclose()


async def test_news_between_two_waits(redis_server: Server, prefix: str) -> None:
    """Who reads between two waits misses nothing: the second ends at once, and the third waits again."""
    store = RedisStore.from_url(redis_server.url, prefix=prefix)
    await store.wait("key", 0.1)
    await change(store, "key", None, b"1")
    await asyncio.sleep(0.05)

    assert await seconds(store.wait("key", 5)) < AT_ONCE
    assert await seconds(store.wait("key", 0.2)) > 0.15
    await store.aclose()


async def test_one_connection_while_somebody_waits(redis_server: Server, prefix: str) -> None:
    """All waits of a loop share one connection; it goes, with its subscriptions, when nobody has waited for a while."""
    before = listeners(redis_server)  # Sentinel may be one
    store = RedisStore.from_url(redis_server.url, prefix=prefix)
    tasks = [await listening(store, f"key {number}", timeout=1.5) for number in range(3)]
    assert listeners(redis_server) == before + 1
    assert [subscribers(redis_server, f"{prefix}key {number}") for number in range(3)] == [1, 1, 1]

    tasks[0].cancel()
    await asyncio.sleep(1.3)
    assert [subscribers(redis_server, f"{prefix}key {number}") for number in range(3)] == [0, 1, 1]

    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(1.3)
    assert listeners(redis_server) == before
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await store.aclose()


async def test_waiting_takes_no_connection_from_commands(redis_server: Server, prefix: str) -> None:
    """Even with one connection for commands somebody may wait while others read and write."""
    store = RedisStore.from_url(redis_server.url, prefix=prefix, max_connections=1)
    task = await listening(store, "key")
    await change(store, "key", None, b"1")

    assert await task < 0.3
    await store.aclose()


async def test_survives_a_restart(own_server: Server) -> None:
    """A server that goes wakes who waits, since news may be lost; when it is back, news is heard again."""
    store = RedisStore.from_url(own_server.url)
    task = await listening(store, "key")
    own_server.stop()
    assert await task < 0.5
    assert await seconds(store.wait("key", 5)) < 1

    own_server.start()
    await asyncio.sleep(0.5)
    task = await listening(store, "key")
    await change(store, "key", None, b"1")
    assert await task < 0.3
    await store.aclose()


async def test_a_connection_that_the_server_cuts(redis_server: Server, prefix: str) -> None:
    """Who waits is woken when the server cuts the connection, and is subscribed again at once."""
    store = RedisStore.from_url(redis_server.url, prefix=prefix)
    task = await listening(store, "key")
    redis_server.ask("CLIENT", "KILL", "TYPE", "PUBSUB")
    assert await task < 0.5

    task = await listening(store, "key")
    await change(store, "key", None, b"1")
    assert await task < 0.3
    await store.aclose()


async def test_where_publishing_is_forbidden(
    redis_server: Server, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A user that may not use the channels reads and writes; waits are short then, and the log says so once."""
    redis_server.ask("ACL", "SETUSER", "plain", "on", ">word", "~*", "resetchannels", "+@all")
    store = RedisStore.from_url(f"redis://plain:word@{HOST}:{redis_server.port}", prefix=prefix)
    with caplog.at_level(logging.WARNING, "asgi_token_rotation"):
        for number in range(6):
            await change(store, "key", b"%d" % (number - 1) if number else None, b"%d" % number)
            assert 0.0 < await seconds(store.wait("key", 5)) < 0.8

    assert [message[:34] for message in caplog.messages] == ["The Redis store hears no news, so "]
    assert "word" not in caplog.text
    await store.aclose()


async def test_closing_wakes_who_waits(redis_server: Server, prefix: str) -> None:
    """Nobody goes on waiting at a store that was closed, and a later wait hears news again."""
    store = RedisStore.from_url(redis_server.url, prefix=prefix)
    task = await listening(store, "key")
    await store.aclose()
    assert await task < 0.3

    task = await listening(store, "key")
    await change(store, "key", None, b"1")
    assert await task < 0.3
    await store.aclose()


async def test_clients_that_were_handed_in(redis_server: Server, sentinel: Server, prefix: str) -> None:
    """A client made by hand and one made by Sentinel hear each other's news."""
    watchers = Sentinel([(HOST, sentinel.port)], socket_timeout=2.0)
    async with Redis(host=HOST, port=redis_server.port) as plain, watchers.master_for("main") as watched:
        stores = [RedisStore(client, prefix=prefix) for client in (plain, watched)]
        tasks = [await listening(store, "key") for store in stores]
        await change(stores[0], "key", None, b"1")
        assert max(await asyncio.gather(*tasks)) < 2  # they would have waited for 5
        for store in stores:
            await store.aclose()
    for watcher in watchers.sentinels:
        await watcher.aclose()


async def test_on_a_cluster(redis_cluster: Server, prefix: str) -> None:
    """On a Cluster a wait is a short sleep, and nothing is published."""
    async with RedisCluster(host=HOST, port=redis_cluster.port) as client:
        store = RedisStore(client, prefix=prefix)
        assert 0.15 < await seconds(store.wait("key", 5)) < 0.4
        assert await seconds(store.wait("key", 0.02)) < 0.1
        await change(store, "key", None, b"1")
        assert "cmdstat_publish" not in str(redis_cluster.ask("INFO", "COMMANDSTATS"))
        await store.aclose()
