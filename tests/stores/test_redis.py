from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from asgi_token_rotation.errors import ConfigurationError
from asgi_token_rotation.stores import Store
from asgi_token_rotation.stores.redis import RedisStore
from stores.contract import CONTRACT, ttl_ends
from stores.redis_servers import HOST, Server, free_port, proxy_to, running

PROCESS = Path(__file__).with_name("redis_process.py")


@asynccontextmanager
async def closed(store: RedisStore) -> AsyncIterator[RedisStore]:
    try:
        yield store
    finally:
        await store.aclose()


def at(url: str, prefix: str = "", **options: Any) -> Any:
    return closed(RedisStore.from_url(url, prefix=prefix, **options))


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
async def test_contract_over_tcp(check: Callable[[Store], Awaitable[None]], redis_server: Server, prefix: str) -> None:
    """A store at a redis:// URL does what every store must do."""
    async with at(redis_server.url, prefix) as store:
        await check(store)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
async def test_contract_on_a_unix_socket(
    check: Callable[[Store], Awaitable[None]], redis_server: Server, prefix: str
) -> None:
    """A store at a unix:// URL does what every store must do."""
    async with at(redis_server.unix_url, prefix) as store:
        await check(store)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
async def test_contract_by_sentinel(check: Callable[[Store], Awaitable[None]], sentinel: Server, prefix: str) -> None:
    """A client that Sentinel made does what every store must do."""
    watchers = Sentinel([(HOST, sentinel.port)], socket_timeout=2.0)
    async with watchers.master_for("main") as client, closed(RedisStore(client, prefix=prefix)) as store:
        await check(store)
    for watcher in watchers.sentinels:
        await watcher.aclose()


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
async def test_contract_on_a_cluster(
    check: Callable[[Store], Awaitable[None]], redis_cluster: Server, prefix: str
) -> None:
    """A client of a Cluster does what every store must do."""
    async with (
        RedisCluster(host=HOST, port=redis_cluster.port) as client,
        closed(RedisStore(client, prefix=prefix)) as s,
    ):
        await check(s)


async def test_ttl(redis_server: Server, prefix: str) -> None:
    """Redis forgets a record when its ttl is over, by its own clock."""

    async def advance(seconds: float) -> None:
        await asyncio.sleep(seconds + 0.05)

    async with at(redis_server.url, prefix) as store:
        await ttl_ends(store, advance=advance)


async def test_keys_and_ttl_in_redis(redis_server: Server, prefix: str) -> None:
    """Each key begins with the prefix, and each record expires: not before its ttl, however short, and not for ever."""
    async with at(redis_server.url, prefix) as store:
        for key, ttl in (("a", 60), ("b", 0.0001), ("c", 41 * 86400.0)):
            assert await store.compare_and_set(key, None, b"k1:value", ttl)

    assert redis_server.ask("PTTL", prefix + "a") > 59_000  # type: ignore[operator]
    assert redis_server.ask("PTTL", prefix + "c") > 40 * 86_400_000  # type: ignore[operator]
    assert redis_server.ask("EXISTS", prefix + "a", prefix + "c", "a", "c") == 2


async def test_four_processes(redis_server: Server, prefix: str) -> None:
    """Of 4 processes that count up one record with compare-and-set none loses a step."""
    command = [sys.executable, str(PROCESS), "count", redis_server.url, prefix, "200"]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [await asyncio.to_thread(process.wait, 60) for process in processes] == [0] * 4

    async with at(redis_server.url, prefix) as store:
        assert await store.get("number") == b"800"


async def test_one_round_trip(redis_server: Server, prefix: str) -> None:
    """A read, a compare-and-set and a deletion are one request each, once the server knows the scripts."""
    async with proxy_to(redis_server) as proxy, at(proxy.url, prefix) as store:

        async def all_three() -> None:
            assert await store.get("key") is None
            assert await store.compare_and_set("key", None, b"k1:value", 60)
            await store.delete("key")

        await all_three()
        proxy.requests.clear()
        await all_three()

        assert [request.split(b"\r\n")[2] for request in proxy.requests] == [b"GET", b"EVALSHA", b"EVALSHA"]


async def test_script_cache_lost(redis_server: Server, prefix: str) -> None:
    """A server that has forgotten the scripts gets them again, within the same call."""
    async with at(redis_server.url, prefix) as store:
        for number in range(3):
            redis_server.ask("SCRIPT", "FLUSH")
            assert await store.compare_and_set("key", b"%d" % (number - 1) if number else None, b"%d" % number, 60)
        redis_server.ask("SCRIPT", "FLUSH")
        await store.delete("key")
        assert await store.get("key") is None


async def test_restart_in_the_middle(own_server: Server) -> None:
    """After a restart, which cuts all pooled connections and empties the script cache, no operation fails."""
    async with at(own_server.url) as store:
        await asyncio.gather(*(store.compare_and_set(str(number), None, b"k1:", 60) for number in range(20)))
        own_server.restart()
        done = await asyncio.gather(*(store.compare_and_set(str(number), None, b"k1:", 60) for number in range(20)))

        assert done == [True] * 20


async def test_a_lost_answer(redis_server: Server, prefix: str) -> None:
    """A write whose answer was lost with its connection is asked for again, and not mistaken for another worker's."""
    async with proxy_to(redis_server) as proxy, at(proxy.url, prefix) as store:
        assert await store.compare_and_set("key", None, b"k1:first", 60)
        proxy.loses = b"EVALSHA"
        assert await store.compare_and_set("key", b"k1:first", b"k1:second", 60)

        assert proxy.loses is None
        assert await store.get("key") == b"k1:second"
        assert not await store.compare_and_set("key", b"k1:first", b"k1:second", 60)


async def test_a_lost_answer_of_a_client_that_was_handed_in(redis_server: Server, prefix: str) -> None:
    """What redis-py sends again by itself counts once, too."""
    async with (
        proxy_to(redis_server) as proxy,
        Redis(host=HOST, port=proxy.port, retry_on_error=[redis.ConnectionError]) as client,
        closed(RedisStore(client, prefix=prefix)) as store,
    ):
        assert await store.compare_and_set("key", None, b"k1:first", 60)
        proxy.loses = b"EVALSHA"
        assert await store.compare_and_set("key", b"k1:first", b"k1:second", 60)


async def test_a_master_that_became_a_replica(redis_server: Server, prefix: str) -> None:
    """A connection that leads to a replica since a failover is opened anew, to where the master is now."""
    with running("--replicaof", HOST, str(free_port())) as replica:
        async with proxy_to(redis_server) as proxy, at(proxy.url, prefix) as store:
            proxy.target = replica.port
            assert await store.get("key") is None
            proxy.target = redis_server.port
            assert await store.compare_and_set("key", None, b"k1:", 60)


async def slowest_step(until: asyncio.Future[Any]) -> float:
    """How long the loop was away from other work, at most, in seconds."""
    slowest, before = 0.0, time.perf_counter()
    while not until.done():
        await asyncio.sleep(0.01)
        now = time.perf_counter()
        slowest, before = max(slowest, now - before), now
    return slowest


@pytest.mark.parametrize("operation", ["get", "compare_and_set", "delete"])
async def test_a_server_that_does_not_answer(operation: str, own_server: Server) -> None:
    """An operation on a stalled server fails after the time-out, and the loop goes on meanwhile."""
    arguments = {"get": ("key",), "compare_and_set": ("key", None, b"k1:", 60), "delete": ("key",)}[operation]
    async with at(own_server.url, timeout=0.4) as store:
        assert await store.get("key") is None
        with own_server.paused():
            began = time.perf_counter()
            task = asyncio.ensure_future(getattr(store, operation)(*arguments))
            assert await slowest_step(task) < 0.2
            assert isinstance(task.exception(), TimeoutError | redis.TimeoutError)
            assert 0.3 < time.perf_counter() - began < 0.8

        assert await store.compare_and_set("other", None, b"k1:", 60)


async def test_a_client_that_would_try_for_ever(own_server: Server) -> None:
    """A client that was handed in, without any time-out of its own, holds nobody up for longer than the store's."""
    async with (
        Redis(host=HOST, port=own_server.port, socket_timeout=None) as client,
        closed(RedisStore(client, timeout=0.3)) as store,
    ):
        assert await store.get("key") is None
        with own_server.paused():
            began = time.perf_counter()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(store.get("key"), 5)
            assert time.perf_counter() - began < 0.6
        assert await store.get("key") is None


async def test_a_server_that_is_not_there(own_server: Server) -> None:
    """Where nobody listens an operation fails at once, and works again as soon as somebody does."""
    async with at(own_server.url) as store:
        assert await store.get("key") is None
        own_server.stop()
        began = time.perf_counter()
        with pytest.raises(RedisError):
            await store.get("key")
        with pytest.raises(RedisError):
            await store.compare_and_set("key", None, b"k1:", 60)
        assert time.perf_counter() - began < 0.5

        own_server.start()
        assert await store.compare_and_set("key", None, b"k1:", 60)


async def test_more_operations_than_connections(redis_server: Server, prefix: str) -> None:
    """Who finds all connections in use waits for one; nobody gets "too many connections"."""
    async with at(redis_server.url, prefix, max_connections=2) as store:
        done = await asyncio.gather(*(store.compare_and_set(str(n), None, b"k1:", 60) for n in range(200)))
        clients = str(redis_server.ask("CLIENT", "LIST")).count("cmd=evalsha")

    assert done == [True] * 200
    assert clients <= 2


async def test_a_cancelled_operation_harms_no_other(redis_server: Server, prefix: str) -> None:
    """An answer never reaches another operation than its own, however many are cancelled on the way."""
    async with at(redis_server.url, prefix, max_connections=2) as store:
        for number in range(50):
            assert await store.compare_and_set(str(number), None, b"%d" % number, 60)
        tasks = [asyncio.ensure_future(store.get(str(number))) for number in range(50)]
        for turn in range(0, 50, 3):
            await asyncio.sleep(0.0002)
            tasks[turn].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)

        assert all(answer in (b"%d" % number, None) or number % 3 == 0 for number, answer in enumerate(answers))
        assert await store.get("7") == b"7"


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts file descriptors as Linux shows them")
def test_many_loops_one_after_the_other(redis_server: Server, prefix: str) -> None:
    """R22: a store is used from one event loop after the other, never closed, and leaves no connection behind."""
    store = RedisStore.from_url(redis_server.url, prefix=prefix)

    async def use() -> None:
        assert await store.get("key") is None
        await store.wait("key", 0.05)

    asyncio.run(use())
    before = descriptors()
    for _ in range(10):
        asyncio.run(use())

    assert descriptors() == before


def test_several_loops_at_once(redis_server: Server, prefix: str) -> None:
    """R21: event loops in several threads share a store."""
    store = RedisStore.from_url(redis_server.url, prefix=prefix)

    async def count() -> None:
        for _ in range(50):
            while True:
                before = await store.get("key")
                if await store.compare_and_set("key", before, b"%d" % (int(before or b"0") + 1), 60):
                    break

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(asyncio.run, count()) for _ in range(4)]:
            done.result()

    assert asyncio.run(store.get("key")) == b"200"


async def test_used_after_closing(redis_server: Server, prefix: str) -> None:
    """A store that was closed may be used again, and keeps what it had; a lifespan may start twice."""
    async with at(redis_server.url, prefix) as store:
        assert await store.compare_and_set("key", None, b"k1:", 60)
        await store.aclose()
        assert await store.get("key") == b"k1:"


async def test_what_was_handed_in_stays_open(redis_server: Server, prefix: str) -> None:
    """Closing the store closes no client that somebody else made."""
    async with Redis(host=HOST, port=redis_server.port, single_connection_client=True) as client:
        store = RedisStore(client, prefix=prefix)
        before = await client.client_id()
        await store.wait("key", 0.02)
        await store.aclose()
        await store.aclose()

        assert await client.client_id() == before


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: redis.Redis(), "an object of type Redis: expected a client of redis.asyncio"),
        (lambda: "redis://:hunter2@localhost", "an object of type str: expected a client"),
        (lambda: Redis(decode_responses=True), "decode_responses=True, which makes text"),
        (lambda: Sentinel([(HOST, 1)]).slave_for("main"), "reads from replicas"),
    ],
)
async def test_clients_that_will_not_do(make: Callable[[], Any], sentence: str) -> None:
    """A client that would block, answer text or read old records is refused with a sentence."""
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        RedisStore(make())
    assert "hunter2" not in str(caught.value)


async def test_a_cluster_that_reads_from_replicas() -> None:
    """A Cluster's client that reads from replicas is refused with a sentence."""
    client = RedisCluster(host=HOST, port=1)
    client.read_from_replicas = True
    with pytest.raises(ConfigurationError, match="reads from replicas"):
        RedisStore(client)


@pytest.mark.parametrize(
    "url",
    [
        "http://:hunter2@localhost",
        "redis:hunter2",
        "hunter2",
        b"redis://hunter2",
        "redis://user:hun/ter2@localhost:hunter2",
        "redis://:hunter2@localhost:99999",
        "redis://:hunter2@localhost?db=hunter2",
        "redis://:hunter2@localhost?hunter2=1",
        "redis://:hunter2@localhost?decode_responses=True",
        "rediss://:hunter2@localhost?ssl_cert_reqs=hunter2",
        "redis://:hunter2@[localhost",
    ],
)
def test_urls_that_will_not_do(url: Any) -> None:
    """I7: a URL that can't be used is refused at once, with a sentence and a traceback that show nothing of it."""
    with pytest.raises(ConfigurationError, match=r"The URL of a RedisStore .*: expected") as caught:
        RedisStore.from_url(url)
    assert "hunter2" not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)  # what a traceback would show too


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": "2"},
        {"timeout": True},
        {"max_connections": 0},
        {"max_connections": 1.5},
        {"prefix": "ä"},
        {"prefix": b"a"},
    ],
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    """An option that makes no sense is refused with a sentence that names it."""
    with pytest.raises(ConfigurationError, match=f"RedisStore.{next(iter(options))} is .*: expected"):
        RedisStore.from_url("redis://localhost", **options)


async def test_no_password_in_words(redis_server: Server) -> None:
    """I7: neither the store's repr nor what it raises shows the password."""
    for address in (f"redis://somebody:hunter2@{HOST}:{redis_server.port}", f"redis://:hunter2@{HOST}:{free_port()}"):
        async with at(address) as store:
            with pytest.raises(RedisError) as caught:
                await store.get("key")
            assert "hunter2" not in repr(store) + str(caught.value) + repr(caught.value)
