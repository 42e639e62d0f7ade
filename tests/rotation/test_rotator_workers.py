from __future__ import annotations

import asyncio

import pytest

from asgi_token_rotation import NotSignedInError
from asgi_token_rotation._rotation import record as records
from asgi_token_rotation._rotation.record import Record
from asgi_token_rotation._rotation.rotator import Standing
from rotation.kit import (
    DUE,
    EPOCH,
    EXPIRED,
    KEY,
    LIFETIME,
    SESSION,
    Worker,
    at,
    claims_of,
    seconds,
    signed_in,
    taken_over,
    two_workers,
)
from rotation.virtual import timed

# Several workers


@timed
async def test_the_claim_is_anothers() -> None:
    """R7: A worker that finds the claim taken waits for its owner however long it takes, and never asks too."""
    provider, one, other, token = await two_workers(wait=60)
    await at(EXPIRED + 10)
    provider.way_there = 25
    first = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(other.ensure(token))

    assert claims_of(await first)["generation"] == claims_of(await second)["generation"] == 1
    assert seconds() <= EXPIRED + 35 + 0.6
    assert len(provider.calls) == 1


@timed
async def test_the_claim_is_anothers_inside_the_margin() -> None:
    """While the token is valid a worker that finds the claim taken goes on at once."""
    provider, one, other, token = await two_workers()
    await at(DUE + 10)
    provider.way_there = 5
    first = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(0.1)
    assert await other.ensure(token) == Standing(token)

    assert seconds() == pytest.approx(DUE + 10.1)
    assert claims_of(await first)["generation"] == 1
    await asyncio.sleep(1)
    assert claims_of(await other.ensure(token))["generation"] == 1
    assert len(provider.calls) == 1


@timed
async def test_the_token_expires_while_the_claim_is_found() -> None:
    """A worker that is told of the claim only when the token has expired waits for its owner, as after the expiry."""
    provider, one, other, token = await two_workers()
    ends = LIFETIME - other.skew  # by that worker's clock
    await at(ends - 2)
    provider.way_there = 5
    first = asyncio.create_task(one.ensure(token))
    await at(ends - 0.005)
    other.reach.latency = 0.01

    assert claims_of(await other.ensure(token))["generation"] == 1
    assert claims_of(await first)["generation"] == 1
    assert len(provider.calls) == 1


@timed
async def test_waits_one_after_the_other_are_one_wait() -> None:
    """A request waits at most ``wait`` seconds in all: to find another's claim, and then for its owner."""
    provider, one, other, token = await two_workers(wait=10, lease=9)
    ends = LIFETIME - other.skew
    await at(ends - 8)
    provider.way_there = 60
    first = asyncio.create_task(one.ensure(token))
    await at(ends - 3)
    other.reach.latency = 3  # each way
    began = seconds()
    standing = await other.ensure(token)

    assert (standing.kind, seconds() - began) == ("unavailable", pytest.approx(10))
    await first


@timed
async def test_a_lost_race_for_the_claim() -> None:
    """R1: Of two workers that read the same record one claims it, and the other sees that."""
    provider, one, other, token = await two_workers()
    one.reach.latency = other.reach.latency = 0.2
    await at(EXPIRED + 10)
    provider.way_there = 1
    standings = await asyncio.gather(one.ensure(token), other.ensure(token))

    assert [claims_of(standing)["generation"] for standing in standings] == [1, 1]
    assert len(provider.calls) == 1


@timed
async def test_a_dead_owner() -> None:
    """A dead worker's claim is taken over after a whole lease on the watcher's own clock, and the token sent once more."""
    provider, one, other, token = await two_workers()
    await at(EXPIRED + 10)
    provider.faults = ["hang"]
    asyncio.create_task(one.ensure(token))  # noqa: RUF006
    await asyncio.sleep(0.5)
    one.die()
    await asyncio.sleep(100)
    begins = seconds()
    standing = await other.ensure(token)

    assert claims_of(standing)["generation"] == 1
    assert seconds() == pytest.approx(begins + 6)
    assert provider.sent == {f"r {SESSION} 0": 2}


@timed
async def test_a_watch_is_remembered() -> None:
    """What a worker saw of a beat is remembered between requests, so short waits do not begin the lease anew."""
    provider, one, _, token = await two_workers()
    other = Worker(one.reach.store, provider.refresh, wait=2, lease=1)
    await at(EXPIRED + 10)
    provider.faults = ["hang"]
    asyncio.create_task(one.ensure(token))  # noqa: RUF006
    await asyncio.sleep(0.5)
    one.die()
    begins = seconds()
    assert await other.ensure(token) == Standing(token, "unavailable")
    await at(begins + 5.9)
    assert len(provider.calls) == 1
    await at(begins + 6.1)

    assert len(provider.calls) == 2
    assert claims_of(await other.ensure(token))["generation"] == 1


@timed
async def test_a_late_beat_defeats_a_take_over() -> None:
    """An owner that stalled and beats again before the take-over keeps its claim."""
    provider, one, other, token = await two_workers(wait=60)
    await at(EXPIRED + 10)
    provider.way_there = 20
    first = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(0.5)
    one.reach.failing = {"set"}
    second = asyncio.create_task(other.ensure(token))
    await asyncio.sleep(5.7)
    other.reach.latency = 0.3  # the last look is under way when the beat arrives
    one.reach.failing = set()
    entry = await one.ledger.read(KEY)
    assert entry.record is not None
    owner = entry.record.claim.owner if entry.record.claim else ""
    await asyncio.sleep(0.2)
    await one.ledger.change(KEY, lambda record: records.beaten(record, owner))

    assert claims_of(await first)["generation"] == claims_of(await second)["generation"] == 1
    assert len(provider.calls) == 1


@timed
async def test_a_late_success_wins() -> None:
    """A success that comes after a take-over is published over the other's claim, and both get it."""
    provider, one, other, first, second = await taken_over(faults=[])

    standing = await first
    assert (claims_of(standing)["generation"], standing.sole) == (1, False)
    assert len(one.named("refreshed")) == 1
    standing = await second
    assert (claims_of(standing)["generation"], standing.kind) == (1, None)
    assert not other.events
    assert len(provider.calls) == 2


@timed
async def test_a_late_success_over_a_refusal() -> None:
    """A success wins over the refusal that the other got for the same token."""
    provider, one, other, token = await two_workers(wait=60)
    await at(EXPIRED + 10)
    provider.way_back = 20
    first = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(0.5)
    one.reach.failing = {"set", "get"}
    refused = await other.ensure(token)
    assert refused.kind == "refused"
    one.reach.failing = set()

    assert claims_of(await first)["generation"] == 1
    flagged = token | {"error": "RefreshAccessTokenError"}
    cleared = await other.ensure(flagged)
    assert (claims_of(cleared)["generation"], cleared.kind) == (1, None)
    assert "error" not in claims_of(cleared)


@timed
async def test_a_late_failure_counts_for_nothing() -> None:
    """R3: The loser's refusal is dropped: it gets what the claim's present owner brings."""
    provider, one, other, first, second = await taken_over(faults=["refused"], way_there=10)

    assert claims_of(await first)["generation"] == claims_of(await second)["generation"] == 1
    assert not one.named("refresh_failed")
    assert not other.named("refresh_failed")
    assert len(provider.calls) == 2


@timed
async def test_no_second_attempt_beside_the_new_owner() -> None:
    """A call that was cut is not made again by who has lost the claim: the token would be sent beside the new owner's call."""
    provider, _, _, first, second = await taken_over(faults=["cut"], way_there=10)

    assert claims_of(await first)["generation"] == claims_of(await second)["generation"] == 1
    assert len(provider.calls) == 2


@timed
async def test_an_owners_own_changes_are_beats() -> None:
    """R7: A beat that queues behind slow updates of its own process is not missed: every one of them is a beat too."""
    provider, one, other, token = await two_workers(wait=60)
    one.reach.latency = 0.5
    await at(EXPIRED + 10)
    provider.way_there = 20
    first = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(2.5)
    updates = [one.rotator.update(token, token | {f"claim {number}": number}) for number in range(6)]
    updating = asyncio.gather(*updates)
    standing = await other.ensure(token)
    await asyncio.gather(first, updating)

    assert len(provider.calls) == 1
    assert {f"claim {number}" for number in range(6)} <= claims_of(standing).keys()


@timed
async def test_nobody_claims_what_may_not_be_claimed() -> None:
    """A claim on a session that has ended, or that somebody else claims, is not written."""
    provider, one, other, token = await two_workers()
    await at(EXPIRED + 10)
    await one.rotator.end(token, reason="sign_out")
    claimant = other.rotator._settler._claimant(other.ledger, KEY, token)

    assert not await claimant.claim(await other.ledger.read(KEY), presented=0)
    assert not await claimant.take_over(await other.ledger.read(KEY), Record(), presented=0)
    assert provider.calls == []


@timed
async def test_a_take_over_is_one_attempt() -> None:
    """Whoever takes over must assume that the token was sent, so an unknown outcome is not tried at once again."""
    provider, one, other, token = await two_workers()
    await at(EXPIRED + 10)
    provider.faults = ["hang", "cut"]
    asyncio.create_task(one.ensure(token))  # noqa: RUF006
    await asyncio.sleep(0.5)
    one.die()

    assert (await other.ensure(token)).kind == "unavailable"
    assert len(provider.calls) == 2
    await asyncio.sleep(6)
    assert claims_of(await other.ensure(token))["generation"] == 1


@timed
async def test_a_lost_race_for_a_take_over() -> None:
    """Of two that watch a dead owner one takes over, and the other watches on."""
    provider, one, other, token = await two_workers()
    third = Worker(one.reach.store, provider.refresh)
    await at(EXPIRED + 10)
    provider.faults = ["hang"]
    asyncio.create_task(one.ensure(token))  # noqa: RUF006
    await asyncio.sleep(0.5)
    one.die()
    other.reach.latency = third.reach.latency = 0.01
    provider.way_there = 1
    standings = await asyncio.gather(other.ensure(token), third.ensure(token))

    assert [claims_of(standing)["generation"] for standing in standings] == [1, 1]
    assert len(provider.calls) == 2


@timed
async def test_a_shutdown_leaves_the_claim() -> None:
    """A claim whose call may have been sent is never released: a cancelled refresh just stops to beat."""
    provider, one, other, token = await two_workers()
    await at(EXPIRED + 10)
    provider.faults = ["hang"]
    request = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(0.5)
    for task in list(one.tasks.get()._running):
        task.cancel()

    assert await request == Standing(token, "unavailable")
    record = await other.record()
    assert record is not None
    assert record.state == "claimed"


@timed
async def test_a_refused_worker_finds_the_winners_token() -> None:
    """R3: A 400 does not prove that the session is over: a newer generation in the record is used."""
    _, one, other, token = await two_workers()
    await at(EXPIRED + 10)
    await one.ensure(token)
    standing = await other.ensure(token)

    assert (claims_of(standing)["generation"], standing.kind) == (1, None)


# Updates and ends


@timed
async def test_an_update_is_published() -> None:
    """An update is a generation of its own, which an older cookie gets."""
    provider, worker, token = await signed_in(10)
    own = await worker.rotator.update(token, token | {"role": "admin"})
    other = Worker(worker.reach.store, provider.refresh)

    assert (own["generation"], own["role"]) == (1, "admin")
    assert (await other.rotator.look(token)).token == own
    assert provider.calls == []


@timed
async def test_two_updates() -> None:
    """Two updates that began from one token keep both."""
    _, one, other, token = await two_workers()
    await asyncio.gather(
        one.rotator.update(token, token | {"role": "admin"}), other.rotator.update(token, token | {"name": "Grace"})
    )
    claims = claims_of(await one.rotator.look(token))

    assert (claims["generation"], claims["role"], claims["name"]) == (2, "admin", "Grace")


@timed
async def test_an_update_during_a_claim() -> None:
    """An update and a rotation keep both, whichever comes first."""
    provider, one, other, token = await two_workers()
    await at(EXPIRED + 10)
    provider.way_there = 2
    request = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(1)
    await other.rotator.update(token, token | {"role": "admin"})
    rotated = claims_of(await request)
    assert (rotated["role"], rotated["refresh_token"], rotated["generation"]) == ("admin", f"r {SESSION} 1", 2)
    later = await other.rotator.update(token, token | {"name": "Grace"})

    assert (later["role"], later["name"], later["refresh_token"]) == ("admin", "Grace", f"r {SESSION} 1")


@timed
async def test_a_refusal_after_an_update() -> None:
    """A refusal holds for the update that came between, since it has the same refresh token."""
    provider, one, other, token = await two_workers()
    await at(EXPIRED + 10)
    provider.way_there = 2
    provider.revoked.add(SESSION)
    request = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(1)
    updated = await other.rotator.update(token, token | {"role": "admin"})

    standing = await request
    assert (standing.kind, claims_of(standing)["role"]) == ("refused", "admin")
    assert (await other.ensure(updated)).kind == "refused"
    assert len(provider.calls) == 1


@timed
async def test_a_jwt_callback_that_rotates() -> None:
    """A token set that a jwt callback brought is published as a rotation, and clears the refusal and the flag."""
    provider, worker, token = await signed_in()
    provider.revoked.add(SESSION)
    await worker.ensure(token)
    flagged = token | {"error": "RefreshAccessTokenError"}
    fresh = {"access_token": "own", "refresh_token": "own", "expires_at": EPOCH + EXPIRED + 900}
    own = await worker.rotator.update(flagged, flagged | fresh)

    assert own == {**token, **fresh, "generation": 1}
    record = await worker.record()
    assert record is not None
    assert (record.state, record.kind) == ("live", None)


@pytest.mark.parametrize("ended", [True, False])
@timed
async def test_an_update_comes_too_late(*, ended: bool) -> None:
    """An update of a session that has ended, or with a stale cookie, says so."""
    provider, worker, token = await signed_in()
    if ended:
        await Worker(worker.reach.store, provider.refresh).rotator.end(token, reason="sign_out")
    else:
        cookie = claims_of(await worker.ensure(token))
        await asyncio.sleep(LIFETIME)
        await worker.ensure(cookie)
        await asyncio.sleep(31)

    with pytest.raises(NotSignedInError):
        await worker.rotator.update(token, token | {"role": "admin"})


@timed
async def test_an_end_during_a_claim() -> None:
    """R5, I6: The new tokens of a session that ended meanwhile are dropped, and nobody gets them."""
    provider, one, other, token = await two_workers()
    await at(EXPIRED + 10)
    provider.way_there = 4
    request = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(1)
    await other.rotator.end(token, reason="sign_out")

    assert (await request).token is None
    for who in (one, other, Worker(one.reach.store, provider.refresh)):
        assert (await who.ensure(token)).token is None
    record = await one.record()
    assert record is not None
    assert (record.state, record.token, record.reason) == ("ended", None, "sign_out")
    assert not one.named("refreshed")
    assert len(provider.calls) == 1


@timed
async def test_an_end_is_told_once() -> None:
    """A session ends once, however often it is ended."""
    _, one, other, token = await two_workers()
    for who in (one, other, one):
        await who.rotator.end(token, reason="sign_out")

    assert len(one.named("session_ended")) + len(other.named("session_ended")) == 1
    assert one.rotator.ended_at(token) == EPOCH - 10
    assert Worker(one.reach.store, None).rotator.ended_at(token) is None
