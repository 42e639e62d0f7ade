from __future__ import annotations

import asyncio

import pytest

from asgi_token_rotation._rotation.rotator import Standing
from rotation.kit import (
    EPOCH,
    EXPIRED,
    LIFETIME,
    SECRET,
    SESSION,
    Fault,
    Worker,
    at,
    claims_of,
    seconds,
    signed_in,
)
from rotation.virtual import timed


@timed
async def test_the_store_fails_at_the_read() -> None:
    """Where the record can't be read the provider is not asked, and the token is served as it is."""
    provider, worker, token = await signed_in()
    worker.reach.failing = {"get"}

    assert await worker.ensure(token) == Standing(token, "store")
    assert provider.calls == []
    worker.reach.failing = set()
    assert claims_of(await worker.ensure(token))["generation"] == 1


@timed
async def test_the_store_fails_at_the_claim() -> None:
    """Where the claim can't be written the provider is not asked."""
    provider, worker, token = await signed_in()
    worker.reach.failing = {"set"}

    assert await worker.ensure(token) == Standing(token, "store")
    assert provider.calls == []


@timed
async def test_a_claim_whose_answer_was_lost() -> None:
    """A claim that arrived although the store failed is in nobody's hands, so it is taken over after the lease."""
    provider, worker, token = await signed_in()
    worker.reach.forgets_answers = True
    assert (await worker.ensure(token)).kind == "store"
    worker.reach.forgets_answers = False
    assert claims_of(await worker.ensure(token))["generation"] == 1

    assert seconds() == pytest.approx(EXPIRED + 6)
    assert len(provider.calls) == 1


@timed
async def test_a_broken_store() -> None:
    """A store that refuses every claim is a failing store, not an endless loop."""
    provider, worker, token = await signed_in()
    worker.reach.broken = True

    assert (await worker.ensure(token)).kind == "store"
    assert provider.calls == []


@timed
async def test_the_store_fails_at_the_publication() -> None:
    """L7: A publication is tried for 5 s; then the request is answered, the cookie being the only holder."""
    provider, worker, token = await signed_in()
    provider.way_there = 1
    request = asyncio.create_task(worker.ensure(token))
    await at(EXPIRED + 0.5)
    worker.reach.failing = {"get", "set"}
    standing = await request

    assert (claims_of(standing)["generation"], standing.sole, standing.looked) == (1, True, False)
    assert seconds() == pytest.approx(EXPIRED + 6, abs=0.3)
    assert worker.named("refreshed")


@timed
async def test_the_store_comes_back_in_time() -> None:
    """A store that is away for less than 5 s loses nothing."""
    provider, worker, token = await signed_in()
    provider.way_there = 1
    request = asyncio.create_task(worker.ensure(token))
    await at(EXPIRED + 0.5)
    worker.reach.failing = {"set"}
    await at(EXPIRED + 4)
    worker.reach.failing = set()
    standing = await request

    assert (claims_of(standing)["generation"], standing.sole) == (1, False)
    assert claims_of(await Worker(worker.reach.store, provider.refresh).ensure(token))["generation"] == 1


@timed
async def test_a_publication_whose_answer_was_lost() -> None:
    """A publication that arrived although the store failed is this worker's own, and not published twice."""
    provider, worker, token = await signed_in()
    provider.way_there = 1
    request = asyncio.create_task(worker.ensure(token))
    await at(EXPIRED + 0.5)
    worker.reach.forgets_answers = True
    await at(EXPIRED + 1.1)
    worker.reach.forgets_answers = False
    standing = await request

    assert (claims_of(standing)["generation"], standing.sole) == (1, False)
    assert len(worker.named("refreshed")) == 1


@timed
async def test_the_only_holder_comes_back() -> None:
    """A rotation that could not be published is found by its own process, and its predecessor is never sent again."""
    provider, worker, token = await signed_in()
    provider.way_there = 1
    request = asyncio.create_task(worker.ensure(token))
    await at(EXPIRED + 0.5)
    worker.reach.failing = {"get", "set"}
    cookie = claims_of(await request)
    worker.reach.failing = set()

    assert (await worker.rotator.look(token)).token == cookie
    await at(EXPIRED + 2 * LIFETIME)
    assert claims_of(await worker.ensure(token))["generation"] == 2
    assert max(provider.sent.values()) == 1
    other = Worker(worker.reach.store, provider.refresh)
    assert claims_of(await other.ensure(token))["generation"] == 2


@timed
async def test_an_update_during_a_failing_publication() -> None:
    """A rotation that could not be published is laid on top of the update that came between."""
    provider, worker, token = await signed_in()
    provider.way_there = 2
    request = asyncio.create_task(worker.ensure(token))
    await at(EXPIRED + 1)
    await worker.rotator.update(token, token | {"role": "admin"})
    worker.reach.failing = {"get", "set"}
    cookie = claims_of(await request)

    assert (cookie["role"], cookie["refresh_token"], cookie["generation"]) == ("admin", f"r {SESSION} 1", 2)


@timed
async def test_the_end_came_before_a_failing_publication() -> None:
    """I6: A rotation that could not be published does not bring a session back that this process knows has ended."""
    provider, worker, token = await signed_in()
    provider.way_there = 2
    request = asyncio.create_task(worker.ensure(token))
    await at(EXPIRED + 1)
    worker.reach.failing = {"get", "set"}
    await worker.rotator.end(token, reason="sign_out")

    assert (await request).token is None


@pytest.mark.parametrize(("fault", "kind"), [("unavailable", "unavailable"), ("refused", "store")])
@timed
async def test_a_failure_that_can_not_be_published(fault: Fault, kind: str) -> None:
    """A failure that the store does not take ends no session: nobody can know whether another worker rotated."""
    provider, worker, token = await signed_in()
    provider.way_there = 1
    provider.faults = [fault]
    request = asyncio.create_task(worker.ensure(token))
    await at(EXPIRED + 0.5)
    worker.reach.failing = {"get", "set"}

    assert await request == Standing(token, kind)  # type: ignore[arg-type]


@timed
async def test_no_second_call_without_the_store() -> None:
    """Whether the claim is still its own a worker must know before it sends the token once more."""
    provider, worker, token = await signed_in()
    provider.way_there = 1
    provider.faults = ["cut"]
    request = asyncio.create_task(worker.ensure(token))
    await at(EXPIRED + 0.5)
    worker.reach.failing = {"get", "set"}

    assert (await request).kind == "store"
    assert len(provider.calls) == 1
    worker.reach.failing = set()
    assert claims_of(await worker.ensure(token))["generation"] == 1


@timed
async def test_an_unreadable_record() -> None:
    """C7: A record of a newer secret is not judged: the provider is not asked, and the token is served as it is."""
    provider, worker, token = await signed_in()
    newer = Worker(worker.reach.store, provider.refresh, secrets=("a newer secret, which not everybody has yet",))
    await newer.ensure(token)

    assert await worker.ensure(token) == Standing(token, "store")
    assert len(provider.calls) == 1


@timed
async def test_ending_an_unreadable_record() -> None:
    """A sign-out overwrites a record that can't be opened."""
    provider, worker, token = await signed_in()
    newer = Worker(
        worker.reach.store, provider.refresh, secrets=("a newer secret, which not everybody has yet", SECRET)
    )
    await newer.ensure(token)
    await worker.rotator.end(token, reason="sign_out")

    assert (await newer.rotator.look(token)).token is None
    assert [event.reason for event in worker.named("session_ended")] == ["sign_out"]


@timed
async def test_an_end_that_can_not_be_stored() -> None:
    """Where the store can't take the end, this process knows of it all the same."""
    provider, worker, token = await signed_in(10)
    worker.reach.failing = {"get"}
    await worker.rotator.end(token, reason="sign_out")
    assert worker.rotator.ended_at(token) == EPOCH + 10
    assert len(worker.named("session_ended")) == 1
    worker.reach.failing = set()

    assert (await worker.ensure(token)).token is None
    assert (await worker.rotator.look(token)).token is None
    assert provider.calls == []


@timed
async def test_an_end_against_a_broken_store() -> None:
    """An end over unreadable bytes that a broken store never lets go is given up, and known here."""
    provider, worker, token = await signed_in()
    await Worker(worker.reach.store, provider.refresh, secrets=("a newer secret, long enough for everybody",)).ensure(
        token
    )
    worker.reach.broken = True
    await worker.rotator.end(token, reason="sign_out")

    assert (await worker.ensure(token)).token is None
