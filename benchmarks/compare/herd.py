"""Requests that all wait for one refresh: how often the provider is asked, and how long the last one waits."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from .ours import Copy
from .subject import SIZES, Claims, Message, claims_of, receive, scope_for

PROVIDER_TAKES = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Herd:
    """What came of one herd. ``slowest`` and ``median`` in seconds, from the moment when all were sent."""

    requests: int
    calls: int
    provider: float  # seconds that its call took
    median: float
    slowest: float

    @property
    def stretch(self) -> float:
        """The slowest wait over the provider's own time: 1.25 is a quarter longer."""
        return self.slowest / self.provider


def stampede(copy: Copy, *, requests: int, provider_takes: float = PROVIDER_TAKES) -> Herd:
    """That many requests at one moment, of one session whose access token has expired."""
    return asyncio.run(_stampede(copy, requests=requests, provider_takes=provider_takes))


async def _stampede(copy: Copy, *, requests: int, provider_takes: float) -> Herd:
    took, waits = list[float](), list[float]()

    async def refresh(token: Claims) -> Any:
        began = time.perf_counter()
        await asyncio.sleep(provider_takes)
        took.append(time.perf_counter() - began)
        return copy.root.TokenSet(token["access_token"][::-1], token["refresh_token"][::-1], time.time() + 2000)

    rotation = copy.rotation(refresh=refresh)
    app = copy.wrapped(rotation)
    cookie = copy.minter()(claims_of(SIZES["1.5 KB"], session=0) | {"expires_at": time.time() - 1})

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            if not any(name == b"set-cookie" for name, _ in message["headers"]):
                raise RuntimeError("A request of the herd went on without the rotated cookie.")
            waits.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(app(scope_for(cookie), receive, send) for _ in range(requests)))
    await rotation.aclose()
    waits.sort()
    return Herd(len(waits), len(took), took[0], waits[len(waits) // 2], waits[-1])
