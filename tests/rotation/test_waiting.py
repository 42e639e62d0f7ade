from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from asgi_token_rotation import JWT, RefreshOptions, TokenSet
from asgi_token_rotation._rotation.claimant import Tools
from asgi_token_rotation._rotation.ledger import BRIEF, Ledger
from asgi_token_rotation._rotation.rotator import Rotator
from asgi_token_rotation._rotation.sealing import RecordSeal
from asgi_token_rotation._rotation.single_flight import PerLoop, Tasks
from asgi_token_rotation.stores import Store
from rotation.kit import SECRET, Provider, claims_of, now, store
from rotation.virtual import timed


@dataclass
class News:
    """A store that wakes who waits; or fails to, or never wakes, or always does."""

    store: Store
    manner: str = "wakes"
    reads: list[float] = field(default_factory=list)  # when
    waits: list[float] = field(default_factory=list)  # for how long
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def get(self, key: str) -> bytes | None:
        self.reads.append(asyncio.get_running_loop().time())
        return await self.store.get(key)

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        self.changed.set()
        return await self.store.compare_and_set(key, expected, value, ttl)

    async def delete(self, key: str) -> None:
        await self.store.delete(key)

    async def aclose(self) -> None:
        await self.store.aclose()

    async def wait(self, key: str, timeout: float) -> None:
        self.waits.append(timeout)
        if self.manner == "fails":
            raise OSError("out of reach")
        if self.manner == "ends at once":
            assert len(self.waits) < 1000  # else the test would never end
            return
        if self.manner == "is deaf":
            await asyncio.sleep(timeout)
            return
        self.changed.clear()
        await asyncio.wait({task := asyncio.ensure_future(self.changed.wait())}, timeout=timeout)
        task.cancel()


def worker(place: Store, provider: Provider) -> Rotator:
    async def refresh(token: JWT) -> TokenSet:
        return await provider.refresh(token)

    return Rotator(
        ledger=Ledger(store=place, seal=RecordSeal([SECRET]), ttl=1000),
        options=RefreshOptions(),
        refresh_for=lambda _: refresh,
        emit=lambda _: None,
        tools=Tools(clock=now, monotonic=asyncio.get_running_loop().time, sleep=asyncio.sleep, random=lambda: 0.5),
        tasks=PerLoop(Tasks),
    )


async def follow(news: News, *, latency: float) -> float:
    """One worker refreshes; another waits for it at a store with news. How much later than the first it is done."""
    provider = Provider()
    provider.way_there = latency
    token = provider.sign_in()
    await asyncio.sleep(provider.lifetime + 1)
    first = asyncio.ensure_future(worker(Beside(news), provider).ensure(token))
    await asyncio.sleep(0.01)
    second = asyncio.ensure_future(worker(news, provider).ensure(token))
    await first
    began = asyncio.get_running_loop().time()
    standing = await second
    assert claims_of(standing)["generation"] == 1
    assert len(provider.calls) == 1
    return asyncio.get_running_loop().time() - began


@dataclass
class Beside:
    """The owner's way to the same records: its reads are not counted, its changes are news."""

    news: News

    async def get(self, key: str) -> bytes | None:
        return await self.news.store.get(key)

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        return await self.news.compare_and_set(key, expected, value, ttl)

    async def delete(self, key: str) -> None:
        await self.news.delete(key)

    async def aclose(self) -> None:
        await self.news.aclose()


@timed
async def test_two_reads() -> None:
    """With a store that wakes who waits, a waiter reads twice, and is done in the moment of the publication."""
    news = News(store())
    assert await follow(news, latency=0.2) < 0.001
    assert len(news.reads) == 2
    assert news.waits[0] <= 0.25  # a change just before it may have been missed


@timed
async def test_a_beat_is_one_read() -> None:
    """While the owner beats, every other second, the waiter reads at a beat and seldom in between."""
    news = News(store())
    assert await follow(news, latency=9) < 0.001
    assert len(news.reads) <= 14
    assert max(news.waits) <= 2.5


@timed
async def test_lost_news_costs_time_only() -> None:
    """A waiter whose news is lost finds out by itself: within a quarter of a second at first, within 2.5 s later on."""
    assert await follow(News(store(), "is deaf"), latency=0.2) < 0.25
    assert await follow(News(store(), "is deaf"), latency=7) < 2.5


@timed
async def test_a_wait_that_fails() -> None:
    """Where the store can't wait, the waiter looks as often as with any store: 0.05 s, half as long again each time, up to 0.5 s."""
    news = News(store(), "fails")
    assert await follow(news, latency=5) <= 0.5
    pauses = [after - before for before, after in pairwise(news.reads)]
    assert pauses[:3] == [pytest.approx(0.05), pytest.approx(0.075), pytest.approx(0.1125)]
    assert max(pauses) == pytest.approx(0.5)


@timed
async def test_a_wait_that_ends_at_once() -> None:
    """A store whose waits never wait keeps neither the loop nor the store busy without a pause."""
    news = News(store(), "ends at once")
    assert await follow(news, latency=1) <= BRIEF
    assert len(news.reads) <= 1 / BRIEF + 2
