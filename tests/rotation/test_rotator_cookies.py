from __future__ import annotations

import asyncio

from asgi_token_rotation._rotation.rotator import Standing
from rotation.kit import (
    DUE,
    EPOCH,
    EXPIRED,
    KEY,
    LIFETIME,
    Provider,
    Worker,
    at,
    claims_of,
    signed_in,
    store,
    two_workers,
)
from rotation.virtual import idle, timed


@timed
async def test_two_lost_answers() -> None:
    """L1: A client that vanished in two refreshes and comes back with its first cookie goes on where it was."""
    provider, one, other, token = await two_workers()
    await at(EXPIRED + 10)
    await one.ensure(token)
    await asyncio.sleep(3600)
    assert claims_of(await other.ensure(token))["generation"] == 2
    await asyncio.sleep(3600)

    assert claims_of(await one.ensure(token))["generation"] == 3
    assert max(provider.sent.values()) == 1
    assert provider.alive()


@timed
async def test_five_rotations_old() -> None:
    """A replayed cookie five rotations old is never served, and never reaches the provider."""
    provider, worker, token = await signed_in()
    cookie = token
    for _ in range(5):
        cookie = claims_of(await worker.ensure(cookie))
        await asyncio.sleep(LIFETIME)
    calls = len(provider.calls)
    for who in (worker, Worker(worker.reach.store, provider.refresh)):
        standing = await who.ensure(token)
        assert (standing.token, standing.stale) == (None, True)

    assert len(provider.calls) == calls == 5
    assert provider.alive()


@timed
async def test_grace() -> None:
    """R6: The previous cookie gets the newest tokens until ``grace`` after the new one was seen, then it is stale."""
    provider, worker, token = await signed_in()
    cookie = claims_of(await worker.ensure(token))
    await asyncio.sleep(31)
    worker.rotator.glance(cookie)
    await asyncio.sleep(29.9)
    assert claims_of(await worker.ensure(token)) == cookie
    await asyncio.sleep(0.2)

    for who in (worker, Worker(worker.reach.store, provider.refresh)):
        assert await who.ensure(token) == Standing(None, stale=True, looked=True)
    assert claims_of(await worker.ensure(cookie)) == cookie
    assert len(provider.calls) == 1


@timed
async def test_a_delivery_is_noted_once() -> None:
    """I9: The note that a generation was delivered is written in the background, once for a process and generation."""
    provider, worker, token = await signed_in()
    cookie = claims_of(await worker.ensure(token))
    worker.reach.operations.clear()
    await asyncio.sleep(29)
    assert worker.rotator.glance(cookie) == Standing(cookie)
    await idle()
    assert worker.reach.operations == []
    await asyncio.sleep(1)
    for _ in range(50):
        assert worker.rotator.glance(cookie) == Standing(cookie)
    assert worker.reach.operations == []
    await idle()
    assert worker.reach.operations == ["get", "set"]
    other = Worker(worker.reach.store, provider.refresh)
    for _ in range(50):
        other.rotator.glance(cookie)
        other.rotator.glance(token)
        await idle()

    assert other.reach.operations == ["get"]
    record = await worker.record()
    assert record is not None
    assert record.delivered == EPOCH + EXPIRED + 30


@timed
async def test_a_delivery_that_is_known_is_not_noted_again() -> None:
    """I9: A worker that has read of the delivery does not write it once more."""
    provider, worker, token = await signed_in()
    cookie = claims_of(await worker.ensure(token))
    await asyncio.sleep(31)
    worker.rotator.glance(cookie)
    await idle()
    other = Worker(worker.reach.store, provider.refresh)
    await other.rotator.look(cookie)
    other.reach.operations.clear()
    other.rotator.glance(cookie)
    await idle()

    assert other.reach.operations == []


@timed
async def test_a_first_generation_needs_no_note() -> None:
    """A sign-in needs no record, so nothing is noted of it."""
    _, worker, token = await signed_in(100)
    worker.rotator.glance(token)
    await idle()

    assert worker.reach.operations == []


@timed
async def test_a_note_that_came_too_early() -> None:
    """A worker that can't know when an update was published tries again later, and the note is not lost."""
    provider, worker, token = await signed_in(100)
    own = await worker.rotator.update(token, token | {"role": "admin"})
    other = Worker(worker.reach.store, provider.refresh)
    other.rotator.glance(own)
    await idle()
    assert other.reach.operations == ["get"]
    other.rotator.glance(own)
    await idle()
    assert other.reach.operations == ["get"]
    await asyncio.sleep(31)
    other.rotator.glance(own)
    await idle()

    assert other.reach.operations == ["get", "get", "set"]


@timed
async def test_a_note_that_the_store_did_not_take() -> None:
    """A note that fails is written at the next request."""
    _, worker, token = await signed_in()
    cookie = claims_of(await worker.ensure(token))
    await asyncio.sleep(31)
    worker.reach.failing = {"set"}
    worker.rotator.glance(cookie)
    await idle()
    worker.reach.failing = set()
    worker.rotator.glance(cookie)
    await idle()
    record = await worker.record()

    assert record is not None
    assert record.delivered == EPOCH + EXPIRED + 31


@timed
async def test_what_a_request_got_itself_is_not_delivered() -> None:
    """L3: A token that a request refreshed after its cookie was sent is not in the browser, so its claim notes no delivery."""
    provider, worker, token = await signed_in()
    held = token
    for _ in range(4):  # a WebSocket, say
        held = claims_of(await worker.ensure(held, presented=0))
        await asyncio.sleep(LIFETIME)
        worker.rotator.glance(held, presented=False)

    assert claims_of(await worker.ensure(token))["generation"] == 5
    assert max(provider.sent.values()) == 1


@timed
async def test_undelivered() -> None:
    """A rotation that reached nobody is kept for ``undelivered`` from the expiry of what it replaced, and no longer."""
    provider, worker, token = await signed_in(DUE, undelivered=1000)
    await worker.ensure(token)
    other = Worker(worker.reach.store, provider.refresh)
    await at(LIFETIME + 999)
    assert (await other.rotator.look(token)).token is not None
    await at(LIFETIME + 1001)

    assert await worker.ensure(token) == Standing(None, stale=True, looked=True)
    assert (await other.rotator.look(token)).stale
    assert len(provider.calls) == 1


@timed
async def test_news_of_another_worker_about_an_old_cookie() -> None:
    """What one worker knows of an old cookie's end may be old news: the record of another that prolonged it counts."""
    provider, one, other, token = await two_workers(undelivered=1000)
    await at(EXPIRED + 10)
    await one.ensure(token)
    await at(EXPIRED + 900)
    assert claims_of(await other.ensure(token))["generation"] == 2
    await at(EXPIRED + 1500)
    assert one.rotator.glance(token).stale

    assert claims_of(await one.ensure(token))["generation"] == 3
    assert max(provider.sent.values()) == 1


@timed
async def test_a_replayed_cookie_that_is_not_due() -> None:
    """A stale cookie whose access token is still valid is refused by what this process knows."""
    _, worker, token = await signed_in(10)
    cookie = claims_of(await worker.ensure(token, rejected=token["access_token"]))
    await asyncio.sleep(31)
    worker.rotator.glance(cookie)
    await asyncio.sleep(31)
    worker.reach.operations.clear()

    assert await worker.ensure(token) == Standing(None, stale=True)
    assert worker.reach.operations == []


@timed
async def test_a_look() -> None:
    """A look reads the record, and tells of newer generations, ends and stale cookies."""
    _, one, other, token = await two_workers()
    assert await other.rotator.look(token) == Standing(token, looked=True)
    await at(EXPIRED + 10)
    cookie = claims_of(await one.ensure(token))

    assert await other.rotator.look(token) == Standing(cookie, looked=True)
    assert await other.rotator.look(cookie) == Standing(cookie, looked=True)
    await one.rotator.end(cookie, reason="sign_out")
    assert await other.rotator.look(cookie) == Standing(None, looked=True)


@timed
async def test_a_cookie_above_the_record() -> None:
    """A cookie whose generation the store lost is the only holder: it is refreshed, and the record goes on from it."""
    provider, one, other, token = await two_workers()
    await at(EXPIRED + 10)
    cookie = claims_of(await one.ensure(token))
    await one.reach.store.delete(KEY)
    await asyncio.sleep(LIFETIME + 20)

    assert claims_of(await other.ensure(cookie))["generation"] == 2
    assert max(provider.sent.values()) == 1


@timed
async def test_a_mark_of_the_process() -> None:
    """A token that was rotated here carries the mark of the process."""
    provider = Provider()
    worker = Worker(store(), provider.refresh, mark="here")
    token = provider.sign_in()
    await at(EXPIRED)

    assert claims_of(await worker.ensure(token))["rotated_by"] == "here"
