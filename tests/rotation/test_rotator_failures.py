from __future__ import annotations

import asyncio

import httpx
import pytest

from asgi_token_rotation import JWT, TokenSet
from asgi_token_rotation._rotation.record import Record
from asgi_token_rotation._rotation.rotator import Standing
from asgi_token_rotation.errors import RefreshRejectedError, RefreshUnavailableError
from rotation.kit import (
    DUE,
    EPOCH,
    EXPIRED,
    SESSION,
    Fault,
    Provider,
    Worker,
    answer_error,
    at,
    claims_of,
    one_worker,
    seconds,
    signed_in,
    store,
)
from rotation.virtual import timed


@pytest.mark.parametrize(
    ("fault", "kind", "calls", "window"),
    [
        ("unavailable", "unavailable", 1, 5),
        ("garbage", "unavailable", 1, 5),
        ("throttled", "throttled", 1, 120),
        ("client", "misconfigured", 1, 5),
        ("empty 400", "unavailable", 1, 5),
        ("cut", "unavailable", 2, 5),
    ],
)
@timed
async def test_a_window(fault: Fault, kind: str, calls: int, window: float) -> None:
    """I8, O1, O3: After a failure nobody asks again before the window is over, then one does, and the session lives."""
    provider, worker, token = await signed_in()
    provider.faults = [fault] * calls
    other = Worker(worker.reach.store, provider.refresh)
    assert (await worker.ensure(token)).kind == kind
    assert len(provider.calls) == calls
    for before in (0.0, window / 2, window - 0.01):
        await at(EXPIRED + before)
        for who in (worker, other):
            assert await who.ensure(token) == Standing(token, kind, looked=True)  # type: ignore[arg-type]
    assert len(provider.calls) == calls
    await at(EXPIRED + window)

    standings = await asyncio.gather(
        *(worker.ensure(token) for _ in range(9)), *(other.ensure(token) for _ in range(9))
    )
    assert {claims_of(standing)["generation"] for standing in standings} == {1}
    assert len(provider.calls) == calls + 1


@pytest.mark.parametrize("fault", ["unavailable", "cut", "client", "garbage"])
@timed
async def test_windows_grow(fault: Fault) -> None:
    """I8: A provider that is down for an hour is asked once a window, and the windows double up to a minute."""
    provider, worker, token = await signed_in()
    provider.fault = fault
    while seconds() < EXPIRED + 3600:
        standing = await worker.ensure(token)
        assert standing.token == token
        assert standing.kind in ("unavailable", "misconfigured")
        await asyncio.sleep(1)
    gaps = [round(after - before) for before, after in zip(provider.calls, provider.calls[1:], strict=False)]

    assert [gap for gap in gaps if gap > 0][:7] == [5, 10, 20, 40, 60, 60, 60]
    assert gaps.count(0) == (1 if fault == "cut" else 0)
    provider.fault = None
    await asyncio.sleep(60)
    assert (await worker.ensure(token)).kind is None
    record = await worker.record()
    assert record is not None
    assert (record.failures, record.kind, record.retry_at) == (0, None, None)


@timed
async def test_one_failure_event_a_window() -> None:
    """The application hears of a failure once, with when the next attempt may come."""
    provider, worker, token = await signed_in()
    provider.fault = "throttled"
    await asyncio.gather(*(worker.ensure(token) for _ in range(9)))
    await worker.ensure(token)

    assert [(event.name, event.kind, event.retry_at) for event in worker.events] == [
        ("refresh_failed", "throttled", EPOCH + EXPIRED + 120)
    ]


@pytest.mark.parametrize(
    ("error", "kind", "window"),
    [
        (RefreshUnavailableError(retry_after=33), "throttled", 33),
        (RefreshUnavailableError(), "unavailable", 5),
        (answer_error(503, Retry_After="50"), "unavailable", 50),
        (answer_error(429, X_Retry_After="60"), "throttled", 60),
        (answer_error(429, Retry_After="99999"), "throttled", 3600),
        (httpx.ConnectError("…"), "unavailable", 5),
    ],
)
@timed
async def test_retry_after(error: Exception, kind: str, window: float) -> None:
    """A provider that says when to come back is not asked before."""
    calls: list[float] = []

    def refresh(_: JWT) -> TokenSet:
        calls.append(seconds())
        raise error

    worker = Worker(store(), refresh)
    token = Provider().sign_in()
    await at(EXPIRED)
    assert (await worker.ensure(token)).kind == kind
    await at(EXPIRED + window - 0.01)
    await worker.ensure(token)
    assert len(calls) == 1
    await at(EXPIRED + window)
    await worker.ensure(token)

    assert len(calls) == 2


@timed
async def test_a_refusal_is_for_all() -> None:
    """O3: A dead refresh token is sent once, then every worker knows, until a new sign-in."""
    provider, worker, token = await signed_in()
    provider.revoked.add(SESSION)
    other = Worker(worker.reach.store, provider.refresh)

    for who in (worker, other, worker, other):
        assert await who.ensure(token) == Standing(token, "refused", looked=True)
    await at(EXPIRED + 9000)
    assert (await other.ensure(token | {"error": "RefreshAccessTokenError"})).kind == "refused"
    assert len(provider.calls) == 1


@timed
async def test_refused_by_the_function() -> None:
    """A refresh function that knows better says so."""

    async def refresh(_: JWT) -> TokenSet:
        raise RefreshRejectedError

    worker = Worker(store(), refresh)
    token = Provider().sign_in()
    await at(DUE)

    assert (await worker.ensure(token)).kind == "refused"


@timed
async def test_a_doubtful_refusal_needs_a_second() -> None:
    """An empty 400 refuses the session only when a second attempt after the back-off agrees."""
    provider, worker, token = await signed_in()
    provider.fault = "empty 400"
    assert (await worker.ensure(token)).kind == "unavailable"
    await at(EXPIRED + 6)

    assert (await worker.ensure(token)).kind == "refused"
    assert len(provider.calls) == 2


@timed
async def test_doubts_do_not_add_up() -> None:
    """Two doubtful refusals with another failure between them are no agreement."""
    provider, worker, token = await signed_in()
    provider.faults = ["empty 400", "unavailable", "empty 400"]
    for pause in (0, 6, 11):
        await asyncio.sleep(pause)
        assert (await worker.ensure(token)).kind == "unavailable"
    await asyncio.sleep(25)

    assert (await worker.ensure(token)).kind is None
    assert len(provider.calls) == 4


@timed
async def test_a_cut_before_the_rotation() -> None:
    """A connection that was cut is tried again at once: here the provider had not seen the first call."""
    provider, worker, token = await signed_in()
    provider.faults = ["cut"]

    assert claims_of(await worker.ensure(token))["generation"] == 1
    assert provider.calls == [EPOCH + EXPIRED] * 2


@timed
async def test_a_cut_after_the_rotation() -> None:
    """Where the provider had rotated and has no grace, one more attempt brings the refusal, and nothing is lost by it."""
    provider, worker, token = await signed_in()
    provider.faults = ["cut after rotation"]

    assert (await worker.ensure(token)).kind == "refused"
    assert provider.sent == {f"r {SESSION} 0": 2}


@timed
async def test_a_second_call_never_runs_beside_a_slow_one() -> None:
    """A call that takes too long is closed first; only then comes the one more attempt."""
    provider, worker, token = await signed_in()
    provider.faults = ["hang"]
    standing = await worker.ensure(token)
    assert (standing.kind, seconds()) == ("unavailable", EXPIRED + 10)
    await at(EXPIRED + 31)

    assert claims_of(await worker.ensure(token))["generation"] == 1
    assert provider.calls == [EPOCH + EXPIRED, EPOCH + EXPIRED + 30]
    assert provider.most_at_once == 1


@timed
async def test_a_slow_closing_call() -> None:
    """Even a call that is slow to let go is waited for before another begins."""
    log: list[str] = []

    async def refresh(_: JWT) -> TokenSet:
        log.append("begins")
        try:
            await asyncio.sleep(60 if len(log) == 1 else 0)
        finally:
            await asyncio.sleep(5)
            log.append("ends")
        return TokenSet("a", "r", EPOCH + 900)

    worker = Worker(store(), refresh)
    token = Provider().sign_in()
    await at(EXPIRED)
    await worker.ensure(token)
    await at(EXPIRED + 60)

    assert log == ["begins", "ends", "begins", "ends"]
    assert claims_of(await worker.ensure(token))["generation"] == 1


@timed
async def test_on_refused_end() -> None:
    """With ``on_refused="end"`` a refusal ends the session for all workers."""
    provider, worker, token = await signed_in(on_refused="end")
    provider.revoked.add(SESSION)
    standings = await asyncio.gather(*(worker.ensure(token) for _ in range(9)))

    assert {standing.token is None and not standing.stale for standing in standings} == {True}
    assert worker.rotator.ended_at(token) == EPOCH + EXPIRED
    assert [event.reason for event in worker.named("session_ended")] == ["refused"]
    other = Worker(worker.reach.store, provider.refresh)
    assert (await other.ensure(token)).token is None
    assert len(provider.calls) == 1


@pytest.mark.parametrize("reason", ["no refresh token", "refresh token expired", "flagged", "refused elsewhere"])
@timed
async def test_on_refused_end_whatever_refuses(reason: str) -> None:
    """With ``on_refused="end"`` whatever counts as refused ends the session."""
    provider, worker, token = await signed_in(on_refused="end")
    if reason == "no refresh token":
        del token["refresh_token"]
    elif reason == "refresh token expired":
        token["refresh_expires_at"] = EPOCH
    elif reason == "flagged":
        token["error"] = "RefreshAccessTokenError"
    else:
        provider.revoked.add(SESSION)
        await Worker(worker.reach.store, provider.refresh).ensure(token)

    assert (await worker.ensure(token)).token is None
    assert (await worker.record()) == Record(state="ended", reason="refused", at=EPOCH + EXPIRED)


@timed
async def test_concurrency() -> None:
    """At one time so many calls to the provider are under way, and the others wait without a claim."""
    provider = Provider()
    worker = one_worker(provider, concurrency=3)
    tokens = [provider.sign_in(session=f"session-{number}") for number in range(10)]
    await at(EXPIRED)
    provider.way_there = 1
    requests = asyncio.gather(*(worker.ensure(token) for token in tokens))
    await at(EXPIRED + 0.5)
    assert worker.reach.operations.count("set") == 3
    standings = await requests

    assert {claims_of(standing)["generation"] for standing in standings} == {1}
    assert provider.most_at_once == 3
    assert seconds() == EXPIRED + 4
