"""Rotations that no cookie can carry any more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from workers.browser import Browser
from workers.fleet import ADA, Fleet, Meeting, fleet, until

VALID_FOR = 1.5  # seconds: the token expires while the answer is on its way
OPTIONS = {"margin": 0}
PATHS = [f"{path}?seconds={VALID_FOR}" for path in ("/stream", "/events", "/socket", "/background")]


async def after_its_headers(workers: Fleet, browser: Browser, path: str) -> int | None:
    """The generation that the rest of the first worker's answer was made with; None where it does not tell."""
    port = workers.ports[0]
    if not path.startswith("/socket"):
        answer = await browser.get(port, path)
        assert not answer.wrote
        return None if path.startswith("/background") else answer.generation
    cookie, origin = {"cookie": browser.jar.header}, f"http://127.0.0.1:{port}"
    async with connect(f"ws://127.0.0.1:{port}{path}", additional_headers=cookie, origin=origin, proxy=None) as socket:  # type: ignore[arg-type]
        assert socket.response is not None
        assert not browser.jar.take(socket.response.headers.get_all("set-cookie"))
        generation: int = json.loads(await socket.recv())["generation"]
        return generation


async def picked_up(workers: Fleet, path: str, *, leaves: bool) -> None:
    """One session: the answer at the first worker, and the next request at the other."""
    browser = await workers.signed_in(valid_for=VALID_FOR)
    answer = asyncio.ensure_future(after_its_headers(workers, browser, path))
    if leaves:
        await asyncio.sleep(VALID_FOR + 0.4)
        answer.cancel()
        await asyncio.wait({answer})
    else:
        assert await answer in (1, None)

    async def sent() -> bool:
        return await workers.sends(browser) == [1]

    await until(sent, seconds=5)
    following = await browser.get(workers.ports[1])
    assert (following.generation, *following.standing, following.wrote) == (1, ADA, None, True)
    assert await workers.sends(browser) == [1]


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
async def test_the_next_request_at_another_worker_has_it(
    store: Meeting, tmp_path: Path, measured: Callable[[str], None], leaves: bool
) -> None:
    """L3: a rotation in a stream, SSE, a WebSocket or a background task waits for the session's next request, wherever."""
    async with fleet(store, tmp_path, OPTIONS, OPTIONS) as workers:
        await workers.steer(latency=0.8)
        await asyncio.gather(*(picked_up(workers, path, leaves=leaves) for path in PATHS))
        measured("stream, SSE, WebSocket, background task: 1 call each, found by the next request at another worker")
