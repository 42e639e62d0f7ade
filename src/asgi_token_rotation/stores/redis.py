"""The store for several hosts: Redis 5 or newer, or Valkey, through redis-py's asyncio client (extra ``redis``).

The server's user needs ``~prefix* &prefix* +get +del +set +evalsha +eval +publish +subscribe +unsubscribe +ping``, where
``prefix`` is the store's own and then ``asgi-token-rotation:``. The server must not evict: ``maxmemory-policy
noeviction``, or a record goes that promises something.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import math
import secrets
from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError

from .._loops import PerLoop, closed_with_loop
from ..errors import ConfigurationError
from ._redis_news import News

SCHEMES = ("redis://", "rediss://", "unix://")
CLUSTER_LOOK = 0.2  # seconds between two looks of who waits, where a Cluster keeps the records
WRITE_LENGTH = 8  # bytes

# A value in Redis ends with random bytes, the name of the write. So a write that redis-py sent twice, since the answer
# to the first was lost with its connection, is known again and answered True: as a failure it would look like another
# worker's claim. PUBLISH may be forbidden, which costs only speed: hence pcall.
_COMPARE_AND_SET = f"""
local current = redis.call('GET', KEYS[1])
if current == ARGV[1] then return 1 end
local held = current and string.sub(current, 1, -{WRITE_LENGTH + 1}) or nil
if held ~= ARGV[4] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if ARGV[3] == '1' then redis.pcall('PUBLISH', KEYS[1], '') end
return 1
"""
_DELETE = """
redis.call('DEL', KEYS[1])
if ARGV[1] == '1' then redis.pcall('PUBLISH', KEYS[1], '') end
"""


class RedisClient(Protocol):
    """What is used of a client: ``redis.asyncio.Redis``, however it was made, or ``redis.asyncio.RedisCluster``."""

    async def execute_command(self, *args: Any) -> Any:
        """Send one command and answer what the server said."""
        ...

    def get_encoder(self) -> Any:
        """How it makes bytes of arguments, and whether it makes text of answers."""
        ...


class _Script:
    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: RedisClient, key: str, *arguments: bytes | int) -> Any:
        """One round trip; two where the server has not seen the script since it started."""
        try:
            return await client.execute_command("EVALSHA", self._digest, 1, key, *arguments)
        except NoScriptError:
            return await client.execute_command("EVAL", self._text, 1, key, *arguments)


class _InTurn:
    """A client whose commands wait for a free connection.

    redis-py's BlockingConnectionPool waits by an asyncio.Condition, which before Python 3.13 lost a wake-up when the
    woken task was cancelled at that moment (CPython gh-112202): a disconnected browser then left another request waiting
    until its time was over, with connections free.
    """

    def __init__(self, client: RedisClient, connections: int) -> None:
        self._client = client
        self._turns = asyncio.Semaphore(connections)

    async def execute_command(self, *args: Any) -> Any:
        async with self._turns:
            return await self._client.execute_command(*args)

    def get_encoder(self) -> Any:
        return self._client.get_encoder()


class _Link:
    """What one event loop has of the store."""

    def __init__(self, client: RedisClient, news: News | None, close: Callable[[], Any] | None) -> None:
        self.client = client
        self.news = news
        self._close = close
        self._guard: AsyncGenerator[None] = closed_with_loop(self._closed)

    async def aclose(self) -> None:
        """Close what was made for this loop."""
        await self._guard.aclose()

    async def _closed(self) -> None:
        if self.news is not None:
            await self.news.aclose()
        if self._close is not None:
            await self._close()


class RedisStore:
    """Records in Redis, for any number of workers on any number of hosts that reach it.

    A read is one GET; a compare-and-set one script, which also publishes that the record changed; waiting needs one
    more connection per process, while anybody waits. Every failure is an exception, after ``timeout`` at the latest.

    ``client``: of ``redis.asyncio``, made by hand, by Sentinel's ``master_for``, or a ``RedisCluster``. It answers
    bytes and reads from the master only, is used in the one event loop that it belongs to, and stays open when the store
    closes. ``RedisStore.from_url`` serves any number of loops. ``prefix`` is put in front of each key; ``timeout``:
    seconds for one operation, whatever the client itself would allow. ConfigurationError where the client won't do.

    With a Cluster nothing is published, for each node would hear it: who waits looks five times a second instead.
    """

    def __init__(self, client: RedisClient, *, prefix: str = "", timeout: float = 2.0) -> None:
        _check_client(client)
        self._set_up(lambda: _lent(client), prefix=prefix, timeout=timeout)

    @classmethod
    def from_url(cls, url: str, *, prefix: str = "", timeout: float = 2.0, max_connections: int = 50) -> RedisStore:
        """A store with clients of its own for ``redis://``, ``rediss://`` or ``unix://``. No I/O, and no loop needed.

        ``max_connections`` of each process and event loop, for commands; who finds none free waits for ``timeout``
        seconds. The URL may carry redis-py's options (``?db=1&ssl_ca_certs=…``). One that can't be used raises a
        ConfigurationError that shows nothing of it, for it may hold a password.
        """
        _check_number("max_connections", max_connections, whole=True)
        _check_number("timeout", timeout)
        _check_url(url)
        store = cls.__new__(cls)
        store._set_up(lambda: _own(url, timeout, max_connections), prefix=prefix, timeout=timeout)  # noqa: SLF001 its own
        return store

    def _set_up(self, link: Callable[[], _Link], *, prefix: str, timeout: float) -> None:
        _check_number("timeout", timeout)
        if not isinstance(prefix, str) or not prefix.isascii():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f'RedisStore.prefix is {prefix!r}: expected ASCII text, such as "shop:", to stand before each key.'
            )
        self._prefix = prefix
        self._timeout = timeout
        self._links = PerLoop(link)

    async def get(self, key: str) -> bytes | None:
        """The record's bytes as last set, or None where there is none."""
        async with asyncio.timeout(self._timeout):
            stored = await self._links.get().client.execute_command("GET", self._prefix + key)
        return None if stored is None else bytes(stored[:-WRITE_LENGTH])

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        """Set ``value`` for ``ttl`` seconds if the record is ``expected`` (None: absent), and tell who waits for it."""
        link = self._links.get()
        stored = bytes(value) + secrets.token_bytes(WRITE_LENGTH)
        held = () if expected is None else (bytes(expected),)
        milliseconds = max(math.ceil(ttl * 1000), 1)
        async with asyncio.timeout(self._timeout):
            done = await _COMPARE_AND_SET_SCRIPT.run(
                link.client, self._prefix + key, stored, milliseconds, _published(link), *held
            )
        return bool(done)

    async def delete(self, key: str) -> None:
        """Forget the record, and tell who waits for it; absent is fine."""
        link = self._links.get()
        async with asyncio.timeout(self._timeout):
            await _DELETE_SCRIPT.run(link.client, self._prefix + key, _published(link))

    async def wait(self, key: str, timeout: float) -> None:  # noqa: ASYNC109 the protocol's: no failure, an end
        """Return when the record has changed, or after ``timeout`` seconds; earlier where no news can be heard.

        The first wait for a record costs a subscription, the following ones nothing. (``stores.base.WaitableStore``)
        """
        news = self._links.get().news
        if news is None:
            await asyncio.sleep(min(timeout, CLUSTER_LOOK))
        else:
            await news.wait((self._prefix + key).encode(), timeout)

    async def aclose(self) -> None:
        """Close what the store opened in this event loop, never a client that was handed in. It may be used again."""
        link = self._links.drop()
        if link is not None:
            await link.aclose()


_COMPARE_AND_SET_SCRIPT = _Script(_COMPARE_AND_SET)
_DELETE_SCRIPT = _Script(_DELETE)


def _published(link: _Link) -> int:
    return int(link.news is not None)


def _own(url: str, timeout: float, max_connections: int) -> _Link:
    client: Any = Redis.from_pool(_pool(url, timeout, max_connections))
    in_turn = _InTurn(client, max_connections)
    listener: Any = Redis.from_pool(_pool(url, timeout, 1))  # of its own, so that it takes no connection from a command

    async def close() -> None:
        await client.aclose()
        await listener.aclose()

    return _Link(in_turn, News(listener.pubsub), close)


def _lent(client: Any) -> _Link:
    return _Link(client, None if _is_cluster(client) else News(client.pubsub), None)


def _pool(url: str, timeout: float, max_connections: int) -> Any:
    """A pool that tries for no longer than anybody waits.

    One more attempt, at once: connections that a restarted server has closed, or that lead to a master which has become
    a replica, must not fail a request each. RESP 2 saves the greeting, and serves Redis 5 too.
    """
    pool: Any = ConnectionPool  # redis-py's own types leave its keywords unknown
    return pool.from_url(
        url,
        max_connections=max_connections,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError, ReadOnlyError)),
        retry_on_error=[RedisConnectionError, ReadOnlyError],  # redis-py 5 asks for both
        protocol=2,
    )


def _is_cluster(client: Any) -> bool:
    return hasattr(client, "get_default_node")


def _check_client(client: Any) -> None:
    if not inspect.iscoroutinefunction(getattr(client, "execute_command", None)):
        raise ConfigurationError(
            f"RedisStore was given an object of type {type(client).__name__}: expected a client of redis.asyncio, such as"
            ' redis.asyncio.Redis or RedisCluster. For a URL use RedisStore.from_url("redis://…").'
        )
    if client.get_encoder().decode_responses:
        raise ConfigurationError(
            "RedisStore was given a client with decode_responses=True, which makes text of sealed bytes: hand in one"
            " with decode_responses=False."
        )
    pool = getattr(client, "connection_pool", None)
    balanced = getattr(client, "read_from_replicas", False) or getattr(client, "load_balancing_strategy", None)
    if balanced or not getattr(pool, "is_master", True):
        raise ConfigurationError(
            "RedisStore was given a client that reads from replicas, which may not have the newest record yet: hand in"
            " one that reads from the master (Sentinel.master_for, RedisCluster without load_balancing_strategy)."
        )


def _check_number(name: str, value: Any, *, whole: bool = False) -> None:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < math.inf:
        expected = "a whole number, 1 or more" if whole else "a number of seconds over 0"
        raise ConfigurationError(f"RedisStore.{name} is {value!r}: expected {expected}.")


def _check_url(url: Any) -> None:
    """Make a connection object, which opens nothing: that is where redis-py checks what the URL says."""
    problem = "" if isinstance(url, str) and url.startswith(SCHEMES) else "has another scheme"
    if not problem:
        try:
            pool = _pool(url, 1.0, 1)
            pool.make_connection()
        except (ValueError, TypeError, RedisError) as error:
            problem = f"can't be used by redis-py ({type(error).__name__})"
        else:
            problem = (
                "asks for decode_responses, but the records are bytes" if pool.get_encoder().decode_responses else ""
            )
    if problem:
        raise ConfigurationError(
            f'The URL of a RedisStore {problem}: expected "redis://[user:password@]host[:port][/db]", "rediss://…" with'
            ' TLS or "unix:///path.sock?db=0", percent-encoded, with no options but those of redis-py.'
        )
