from __future__ import annotations

import asyncio

import pytest

from asgi_token_rotation import StoreError
from asgi_token_rotation._rotation.record import Record
from asgi_token_rotation._rotation.rotator import Standing
from asgi_token_rotation._rotation.sealing import RecordSeal
from asgi_token_rotation.errors import InvalidTokenError
from rotation.kit import EXPIRED, KEY, SECRET, Provider, Worker, at, claims_of, seconds, signed_in, store, two_workers
from rotation.virtual import timed

DOWN = {"get", "set"}


@timed
async def test_what_was_not_published_is_brought_back() -> None:
    """L7: a rotation that the store did not take reaches it once it is back, so other workers serve it too."""
    provider, one, other, token = await two_workers()
    await at(EXPIRED + 10)
    provider.way_there = 1
    request = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(0.5)
    one.reach.failing = DOWN
    standing = await request
    assert standing.sole
    await asyncio.sleep(20)
    one.reach.failing = set()
    await asyncio.sleep(31)

    assert claims_of(await other.ensure(token)) == claims_of(standing)
    assert len(provider.calls) == 1
    assert one.ledger.counts["rotations_unpublished"] == 1
    assert one.ledger.counts["store_failures"] > 0
    assert not one.tasks.get()._running


@timed
async def test_an_end_is_brought_back() -> None:
    """R5: a sign-out that the store did not take reaches it once it is back, and ends the session for all workers."""
    _, one, other, token = await two_workers()
    one.reach.failing = DOWN
    await one.rotator.end(token, reason="sign_out")
    await asyncio.sleep(5)
    assert (await other.ensure(token)).token is not None
    await other.rotator.update(token, token | {"seen": "elsewhere"})
    one.reach.failing = set()
    await asyncio.sleep(31)
    await at(EXPIRED + 100)
    record = await one.record()

    assert (await other.ensure(token)).token is None
    assert record is not None
    assert (record.state, record.generation) == ("ended", 1)


@timed
async def test_nothing_newer_is_overwritten() -> None:
    """What is brought back late never replaces what others published meanwhile."""
    provider, one, other, token = await two_workers()
    await at(EXPIRED + 10)
    provider.way_there = 1
    request = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(0.5)
    one.reach.failing = DOWN
    standing = await request
    second = await other.rotator.update(claims_of(standing), claims_of(standing) | {"seen": "elsewhere"})
    one.reach.failing = set()
    await asyncio.sleep(31)
    record = await other.record()

    assert record is not None
    assert (record.generation, record.token) == (second["generation"], second)


@timed
async def test_two_failures_are_one_task() -> None:
    """However often a session fails to be stored, one task brings it back, and it gives way to a store that is broken."""
    _, worker, token = await signed_in()
    worker.reach.broken = True
    for _ in range(3):
        await worker.rotator.end(token, reason="sign_out")
        worker.rotator._keeper.keep(KEY)
    assert len(worker.tasks.get()._running) == 1
    await asyncio.sleep(5)
    worker.reach.broken = False
    await asyncio.sleep(31)

    record = await worker.record()
    assert record is not None
    assert record.state == "ended"


@timed
@pytest.mark.parametrize("ended", [True, False])
async def test_a_newer_secret_meanwhile(*, ended: bool) -> None:
    """A record that a newer secret sealed meanwhile gives way to an end, and to nothing else that is brought back."""
    _, worker, token = await signed_in()
    if ended:
        worker.reach.failing = DOWN
        await worker.rotator.end(token, reason="sign_out")
        worker.reach.failing = set()
    else:
        await worker.rotator.update(token, token | {"seen": 1})
    newer = RecordSeal(["another secret of the tests, long enough"]).seal(KEY, Record(generation=7))
    await worker.reach.store.compare_and_set(KEY, await worker.reach.store.get(KEY), newer, 1e6)
    worker.rotator._keeper.keep(KEY)
    await asyncio.sleep(31)

    assert (await worker.reach.store.get(KEY) == newer) is not ended
    assert not worker.tasks.get()._running


@timed
async def test_refused_by_default() -> None:
    """Two processes that can't see each other would spend one token twice, so without the store nothing is sent."""
    provider, worker, token = await signed_in()
    worker.reach.failing = DOWN

    assert await worker.ensure(token) == Standing(token, "store")
    assert provider.calls == []


@timed
async def test_degraded_to_this_process_alone() -> None:
    """With store_failure="degrade" one process refreshes on its own, once for all, and hands it to the store later."""
    provider, worker, token = await signed_in(store_failure="degrade")
    worker.reach.failing = DOWN
    answers = await asyncio.gather(*(worker.ensure(token) for _ in range(20)))

    assert {(claims_of(answer)["generation"], answer.sole, answer.looked) for answer in answers} == {(1, True, False)}
    assert len(provider.calls) == 1
    assert claims_of(await worker.ensure(token))["generation"] == 1
    assert worker.ledger.counts["refreshes_alone"] == 1
    worker.reach.failing = set()
    await asyncio.sleep(31)
    record = await worker.record()
    assert record is not None
    assert (record.state, record.generation) == ("live", 1)


@timed
async def test_degraded_back_off() -> None:
    """I8: alone, too, a provider that is down is asked once for each back-off window, and a refusal is final."""
    provider, worker, token = await signed_in(store_failure="degrade")
    worker.reach.failing = DOWN
    provider.faults = ["unavailable", "refused"]
    assert (await worker.ensure(token)).kind == "unavailable"
    assert (await worker.ensure(token)).kind == "unavailable"
    assert len(provider.calls) == 1
    await asyncio.sleep(7)
    assert (await worker.ensure(token)).kind == "refused"
    assert (await worker.ensure(token)).kind == "refused"
    assert len(provider.calls) == 2


@timed
async def test_degraded_leaves_claims_alone() -> None:
    """A claim that another worker held when the store was last seen is not trodden on."""
    provider, one, other, token = await two_workers(store_failure="degrade")
    await at(EXPIRED + 10)
    provider.way_there = 4
    first = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(0.5)
    await other.record()
    other.reach.failing = DOWN

    assert (await other.ensure(token)).kind == "store"
    assert claims_of(await first)["generation"] == 1
    assert len(provider.calls) == 1


@timed
async def test_degraded_never_against_a_newer_secret() -> None:
    """A record that a newer secret sealed is no outage: the provider is not asked."""
    provider, worker, token = await signed_in(store_failure="degrade")
    newer = RecordSeal(["another secret of the tests, long enough"]).seal(KEY, Record())
    await worker.reach.store.compare_and_set(KEY, None, newer, 100)

    assert (await worker.ensure(token)).kind == "store"
    assert provider.calls == []


@timed
async def test_a_store_that_hangs() -> None:
    """A store that never answers is a store that fails, after a while."""
    provider, worker, token = await signed_in()
    worker.reach.dead = True

    with pytest.raises(StoreError):
        await worker.rotator.look(token)
    assert seconds() == pytest.approx(EXPIRED + 10)
    assert provider.calls == []


@timed
async def test_revocation_check() -> None:
    """revocation_check names the seconds for which a worker may trust its last look: then it sees the end elsewhere."""
    _, one, other, token = await two_workers(revocation_check=5)
    assert (await other.ensure(token)).token is not None
    await one.rotator.end(token, reason="sign_out")
    await asyncio.sleep(4)
    assert (await other.ensure(token)).token is not None
    await asyncio.sleep(1)
    assert (await other.ensure(token)).token is None
    assert other.reach.operations == ["get", "get"]


@timed
async def test_revocation_check_of_every_request() -> None:
    """With revocation_check=0 every request looks; while the store is down it is served as before."""
    _, one, other, token = await two_workers(revocation_check=0)
    other.reach.failing = DOWN
    assert (await other.ensure(token)).token is not None
    other.reach.failing = set()
    await one.rotator.end(token, reason="sign_out")

    assert (await other.ensure(token)).token is None


def test_records_are_bound_to_their_session() -> None:
    """Whoever can write to the store can't give one session's record to another."""
    seal = RecordSeal([SECRET])
    value = seal.seal(KEY, Record(generation=3))
    assert seal.open(KEY, value).generation == 3
    with pytest.raises(InvalidTokenError):
        seal.open(KEY[:-1] + "x", value)


class WritesWait:
    """A store that can be read while its writes wait, as SQLite does in another program's transaction; the last comes first."""

    def __init__(self) -> None:
        self._store = store()
        self._arrived = 0
        self.open = asyncio.Event()
        self.open.set()

    async def get(self, key: str) -> bytes | None:
        return await self._store.get(key)

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        self._arrived += 1
        delay = 0.5 / self._arrived
        await self.open.wait()
        await asyncio.sleep(delay)
        return await self._store.compare_and_set(key, expected, value, ttl)

    async def delete(self, key: str) -> None:
        await self._store.delete(key)

    async def aclose(self) -> None:
        await self._store.aclose()


@timed
async def test_a_live_owner_whose_beats_wait() -> None:
    """I4: a claim is taken over only where its owner could have written its beat: one that waits in line is alive."""
    provider, shared = Provider(), WritesWait()
    one, other = Worker(shared, provider.refresh), Worker(shared, provider.refresh)
    token = provider.sign_in()
    await at(EXPIRED + 10)
    provider.way_there = 20
    first = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(0.5)
    second = asyncio.create_task(other.ensure(token))
    await asyncio.sleep(0.5)
    shared.open.clear()
    await asyncio.sleep(8)
    shared.open.set()
    await asyncio.sleep(15)
    await asyncio.gather(first, second)

    assert claims_of(await other.ensure(token))["generation"] == 1
    assert len(provider.calls) == 1
