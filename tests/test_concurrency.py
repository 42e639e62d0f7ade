"""Many requests with one cookie, against a token server that revokes the family when a refresh token comes twice."""

from __future__ import annotations

import asyncio
import random

import httpx
import pytest

from rig import Rig, user_of, written

REQUESTS = 200


async def burst(rig: Rig, browser: httpx.AsyncClient, *, seed: int) -> list[httpx.Response]:
    """So many requests at once with one cookie; each arrives a little later than the one before, in a seeded order."""
    dice = random.Random(seed)
    cookies = dict(browser.cookies)

    async def one(delay: float) -> httpx.Response:
        await asyncio.sleep(delay)
        async with rig.browser(**cookies) as client:
            response = await client.get("/me")
        if written(response):  # the jar of a browser that keeps the last cookie that arrives
            for name, value in client.cookies.items():
                browser.cookies.set(name, value, domain="testserver.local")
        return response

    return await asyncio.gather(*(one(dice.random() * 0.05) for _ in range(REQUESTS)))


async def lives(rig: Rig, seed: int, where: str) -> None:
    """One burst, and what must hold of it."""
    rig.server.latency = 0.02
    browser = await rig.signed_in()
    rig.into_margin() if where == "margin" else rig.past_expiry()
    answers = await burst(rig, browser, seed=seed)

    assert {answer.status_code for answer in answers} == {200}
    assert {user_of(answer) for answer in answers} == {"ada@example.com"}
    assert {answer.json()["refused"] for answer in answers} == {None}
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)
    for rotation in (2, 3):
        rig.past_expiry()
        assert user_of(await browser.get("/me")) == "ada@example.com"
        assert (rig.server.refresh_calls, rig.server.reuses) == (rotation, 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("where", ["margin", "expired"])
async def test_one_refresh_for_all(seed: int, where: str) -> None:
    """200 parallel requests with one cookie cause one refresh call, 200 right answers, and a jar that still works."""
    await lives(Rig(), seed, where)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100))
@pytest.mark.parametrize("where", ["margin", "expired"])
async def test_one_refresh_for_all_again_and_again(seed: int, where: str) -> None:
    """A hundred seeds of the same burst show the same."""
    await lives(Rig(), seed, where)


async def test_all_others_go_on_at_once_inside_the_margin() -> None:
    """Inside the margin one request waits for the refresh, and all others are answered meanwhile."""
    rig = Rig()
    browser = await rig.signed_in()
    rig.into_margin()
    rig.server.hold("before")
    first = asyncio.create_task(browser.get("/me"))
    await rig.server.arrived()

    others = await asyncio.wait_for(asyncio.gather(*(browser.get("/me") for _ in range(50))), 5)

    assert not first.done()
    assert {user_of(answer) for answer in others} == {"ada@example.com"}
    rig.server.release()
    assert written(await first)


async def test_a_slow_provider_makes_no_5xx() -> None:
    """After wait seconds a request with an expired token goes on with RefreshUnavailable, and the next one is fresh."""
    from asgi_token_rotation import RefreshOptions

    rig = Rig(refresh_options=RefreshOptions(wait=0.05, lease=0.04))
    browser = await rig.signed_in()
    rig.past_expiry()
    rig.server.hold("before")
    answers = await asyncio.gather(*(browser.get("/me") for _ in range(20)))

    assert {answer.json()["refused"] for answer in answers} == {"RefreshUnavailable"}
    assert not any(written(answer) for answer in answers)
    rig.server.release()
    await asyncio.sleep(0.02)
    assert (await browser.get("/me")).json()["refused"] is None
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


async def test_everything_at_once() -> None:
    """A storm of requests, disconnects, updates, late cookies and a sign-out loses nothing and brings nothing back."""
    rig = Rig()
    rig.server.latency = 0.01
    dice = random.Random(7)
    browser = await rig.signed_in()
    for _ in range(6):
        rig.past_expiry()
        late = await rig.copy(browser)
        tasks = [
            asyncio.create_task(dice.choice([browser, late]).get(dice.choice(["/me", "/raise", "/update?x=1"])))
            for _ in range(30)
        ]
        for task in dice.sample(tasks, 10):
            await asyncio.sleep(0.001)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert user_of(await browser.get("/me")) == "ada@example.com"
    assert rig.server.reuses == 0

    old = await rig.copy(browser)
    rig.into_margin()
    rig.server.hold("after")
    flying = asyncio.create_task(old.get("/me"))
    await rig.server.arrived()
    await browser.get("/logout")
    rig.server.release()

    assert not written(await flying)
    assert user_of(await old.get("/me")) is None
    assert rig.server.reuses == 0
