"""Stores as somebody else would write them, from the docstrings of ``stores/base.py`` alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from asgi_token_rotation import ConfigurationError, Credentials, RefreshOptions, TokenRotation, TokenRotationMiddleware
from asgi_token_rotation.stores import Store, WaitableStore
from asgi_token_rotation.testing import Clock, TokenServer, session_cookie
from stores.contract import CONTRACT, ttl_ends

SECRET = "a secret of thirty-two characters or more"


class DictStore:
    """A dictionary and a lock: the least that the protocol asks for. It has no ``wait``, so waiters look again and again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._rows: dict[str, tuple[bytes, float]] = {}
        self.asked: list[str] = []

    async def get(self, key: str) -> bytes | None:
        self.asked.append("get")
        with self._guard:
            return self._current(key)

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        self.asked.append("set")
        with self._guard:
            if self._current(key) != expected:
                return False
            self._rows[key] = (value, self._clock() + ttl)
            return True

    async def delete(self, key: str) -> None:
        with self._guard:
            self._rows.pop(key, None)

    async def aclose(self) -> None:
        pass

    def _current(self, key: str) -> bytes | None:
        value, expires_at = self._rows.get(key, (None, 0.0))
        return value if expires_at > self._clock() else None


class WakingStore:
    """The same with ``wait``: around another store, with one condition for all keys. It wakes too often, which is allowed."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self._changed = asyncio.Condition()
        self.waits = 0

    async def get(self, key: str) -> bytes | None:
        return await self._inner.get(key)

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        made = await self._inner.compare_and_set(key, expected, value, ttl)
        async with self._changed:
            self._changed.notify_all()
        return made

    async def delete(self, key: str) -> None:
        await self._inner.delete(key)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def wait(self, key: str, timeout: float) -> None:
        self.waits += 1
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait()
        except TimeoutError:
            pass


def store_of(kind: str, clock: Clock) -> Any:
    return DictStore(clock) if kind == "without wait" else WakingStore(DictStore(clock))


KINDS = pytest.mark.parametrize("kind", ["without wait", "with wait"])


async def page(scope: Any, receive: Any, send: Any) -> None:
    session = scope["state"]["session"]
    await send({"type": "http.response.start", "status": 200 if session and not session.error else 401, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def worker(store: Store, server: TokenServer, clock: Clock) -> httpx.AsyncClient:
    """One of several processes, as far as the package can tell: a runtime of its own on the common store."""
    provider = Credentials(authorize=server.authorize, refresh=server.refresh)
    rotation = TokenRotation(
        secret=SECRET, providers=[provider], store=store, clock=clock, refresh_options=RefreshOptions(wait=20)
    )
    transport = httpx.ASGITransport(TokenRotationMiddleware(page, rotation=rotation))
    return httpx.AsyncClient(transport=transport, base_url="http://testserver")


@KINDS
@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
async def test_contract(check: Callable[[Store], Awaitable[None]], kind: str, clock: Clock) -> None:
    """A store written from the docstrings does what every store must do."""
    await check(store_of(kind, clock))


@KINDS
async def test_ttl(kind: str, clock: Clock) -> None:
    """It forgets when its ttl is over."""

    async def advance(seconds: float) -> None:
        clock.advance(seconds)

    await ttl_ends(store_of(kind, clock), advance=advance)


def test_the_protocols_fit(clock: Clock) -> None:
    """For type checkers, one is a Store and the other a WaitableStore, with no base class of ours."""
    plain: Store = DictStore(clock)
    waking: WaitableStore = WakingStore(plain)

    assert DictStore.__bases__ == WakingStore.__bases__ == (object,)
    assert hasattr(waking, "wait")
    assert not hasattr(plain, "wait")


@KINDS
async def test_workers_meet_in_it(kind: str, clock: Clock) -> None:
    """R7: four workers with 80 requests and an expired token make one call, on a store that we have never seen."""
    server, store = TokenServer(clock=clock, access_token_lifetime=300), store_of(kind, clock)
    server.latency = 0.2
    signed_in = await server.authorize({"username": "ada", "password": "lovelace"})
    cookies = session_cookie(secret=SECRET, user=signed_in.user, tokens=signed_in.tokens, clock=clock)
    clock.advance(301)
    workers = [worker(store, server, clock) for _ in range(4)]
    for browser in workers:
        browser.cookies.update(cookies)
    answers = await asyncio.gather(*(workers[number % 4].get("/") for number in range(80)))

    assert {answer.status_code for answer in answers} == {200}
    assert (server.refresh_calls, server.rotations, server.reuses) == (1, 1, 0)
    assert kind == "without wait" or store.waits > 0
    for browser in workers:
        await browser.aclose()


async def test_a_lone_worker_asks_it_three_times(clock: Clock) -> None:
    """docs/scaling.md: a refresh is a read and two writes, a request outside the margin nothing."""
    server, store = TokenServer(clock=clock, access_token_lifetime=300), DictStore(clock)
    signed_in = await server.authorize({"username": "ada", "password": "lovelace"})
    async with worker(store, server, clock) as browser:
        browser.cookies.update(session_cookie(secret=SECRET, user=signed_in.user, tokens=signed_in.tokens, clock=clock))
        assert (await browser.get("/")).status_code == 200
        assert store.asked == []
        clock.advance(301)
        assert (await browser.get("/")).status_code == 200
        assert store.asked == ["get", "set", "set"]


@pytest.mark.parametrize("missing", ["get", "compare_and_set", "delete", "aclose"])
def test_a_method_is_missing(missing: str, clock: Clock) -> None:
    """An object that lacks one of the four is refused at start-up, not at the first refresh."""
    store: Any = DictStore(clock)
    setattr(store, missing, None)

    with pytest.raises(ConfigurationError, match="expected a URL such as"):
        TokenRotation(secret=SECRET, store=store)
