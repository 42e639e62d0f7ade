from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from asgi_token_rotation import JWT, NotSignedInError, TokenSet
from asgi_token_rotation._rotation import record as records
from asgi_token_rotation._rotation.record import Record
from asgi_token_rotation._rotation.rotator import Standing
from asgi_token_rotation.errors import RefreshRejectedError, RefreshUnavailableError
from rotation.kit import (
    EPOCH,
    KEY,
    LIFETIME,
    SECRET,
    SESSION,
    Fault,
    Provider,
    Worker,
    answer_error,
    at,
    claims_of,
    store,
)
from rotation.virtual import idle, timed

MARGIN = 60.0  # seconds, of a token that lives 300 s
DUE, EXPIRED = LIFETIME - MARGIN + 1, LIFETIME + 1  # seconds after the sign-in


def one_worker(provider: Provider, **options: Any) -> Worker:
    return Worker(store(), provider.refresh, **options)


async def signed_in(at_seconds: float = EXPIRED, **options: Any) -> tuple[Provider, Worker, JWT]:
    """A provider, a worker, and a token whose days are over after so many seconds, which have passed."""
    provider = Provider()
    worker = one_worker(provider, **options)
    token = provider.sign_in()
    await at(at_seconds)
    return provider, worker, token


def seconds() -> float:
    return asyncio.get_running_loop().time()


# One worker


@timed
async def test_a_fresh_token_is_served() -> None:
    """I9: A request that is not due touches neither store nor provider."""
    provider, worker, token = await signed_in(LIFETIME - MARGIN - 1)

    assert await worker.ensure(token) == Standing(token)
    await idle()
    assert (worker.reach.operations, provider.calls) == ([], [])


@pytest.mark.parametrize("when", [DUE, EXPIRED])
@timed
async def test_a_refresh_is_three_round_trips(when: float) -> None:
    """A refresh reads the record, claims it and publishes, before anybody is answered."""
    provider, worker, token = await signed_in(when)
    standing = await worker.ensure(token)

    assert claims_of(standing)["refresh_token"] == f"r {SESSION} 1"
    assert (standing.kind, standing.looked) == (None, True)
    assert worker.reach.operations == ["get", "set", "set"]
    assert [event.name for event in worker.events] == ["refreshed"]
    assert (await Worker(worker.reach.store, provider.refresh).record()) == await worker.record()


@timed
async def test_expired_all_wait_for_one() -> None:
    """R1: 200 requests with an expired token cost one call and three round trips, and all get the new token."""
    provider, worker, token = await signed_in()
    provider.way_there = 1.9
    standings = await asyncio.gather(*(worker.ensure(token) for _ in range(200)))

    assert {claims_of(standing)["generation"] for standing in standings} == {1}
    assert len(provider.calls) == 1
    assert worker.reach.operations == ["get", "set", "set"]


@timed
async def test_inside_the_margin_one_waits() -> None:
    """While the token is valid one request does the refresh and all others go on at once with the valid one."""
    provider, worker, token = await signed_in(DUE)
    provider.way_there = 2
    waited: list[tuple[float, int]] = []

    async def request() -> None:
        standing = await worker.ensure(token)
        waited.append((seconds() - DUE, claims_of(standing)["generation"]))

    await asyncio.gather(*(request() for _ in range(50)))

    assert waited == [*[(0, 0)] * 49, (2, 1)]
    assert len(provider.calls) == 1


@pytest.mark.parametrize(("when", "error"), [(DUE, "unavailable"), (EXPIRED, "unavailable")])
@timed
async def test_a_wait_is_bounded(when: float, error: str) -> None:
    """A request waits at most ``wait`` seconds; the refresh goes on, and the next request finds its result."""
    provider, worker, token = await signed_in(when)
    provider.way_there = 14
    standing = await worker.ensure(token)

    assert (seconds(), standing.token, standing.kind) == (when + 10, token, error)
    await at(when + 15)
    assert claims_of(await worker.ensure(token))["generation"] == 1
    assert len(provider.calls) == 1


@timed
async def test_who_waits_too_long_gets_what_is_known_then() -> None:
    """R8: A request that stops waiting goes on with what is known then, not with what it read before."""
    provider, worker, token = await signed_in()
    provider.way_there = 20
    waiting = asyncio.create_task(worker.ensure(token))
    await at(EXPIRED + 1)
    await worker.rotator.end(token, reason="sign_out")

    assert await waiting == Standing(None, "unavailable")


@timed
async def test_everybody_goes_away() -> None:
    """L1, R9: The client disconnects while the provider answers: the rotation is published, and found with the old cookie."""
    provider, worker, token = await signed_in()
    provider.way_there = 2
    first = asyncio.create_task(worker.ensure(token))
    await at(EXPIRED + 1)
    second = asyncio.create_task(worker.ensure(token))
    await idle()
    first.cancel()
    assert claims_of(await second)["generation"] == 1
    third = asyncio.create_task(worker.ensure(token | {"session_id": "other"}))
    third.cancel()

    await at(EXPIRED + 3600)
    assert claims_of(await worker.ensure(token))["generation"] == 2
    assert max(provider.sent.values()) == 1


@timed
async def test_an_old_cookie_after_the_refresh() -> None:
    """R2: A request with the old cookie just after the refresh gets the new token, and the old one is not sent again."""
    provider, worker, token = await signed_in()
    await worker.ensure(token)
    await asyncio.sleep(0.04)
    standing = await worker.ensure(token)

    assert claims_of(standing)["generation"] == 1
    assert len(provider.calls) == 1


@timed
async def test_beats() -> None:
    """The owner of a claim beats every third of the lease, and stops when it is done."""
    provider, worker, token = await signed_in()
    provider.way_there = 9
    seen: list[tuple[float, int | None]] = []
    request = asyncio.create_task(worker.ensure(token))
    for second in (0.5, 1.9, 2.1, 3.9, 4.1, 6.1, 8.1):
        await at(EXPIRED + second)
        record = await worker.record()
        assert record is not None
        seen.append((second, record.claim.beat if record.claim else None))
    assert (await request).kind is None
    await at(EXPIRED + 60)

    assert seen == [(0.5, 0), (1.9, 0), (2.1, 1), (3.9, 1), (4.1, 2), (6.1, 3), (8.1, 4)]
    record = await worker.record()
    assert record is not None
    assert record.claim is None


@timed
async def test_a_beat_that_the_store_did_not_take() -> None:
    """A beat that fails is followed by the next, and the outcome is published all the same."""
    provider, worker, token = await signed_in()
    provider.way_there = 7
    request = asyncio.create_task(worker.ensure(token))
    await at(EXPIRED + 1)
    worker.reach.failing = {"get", "set"}
    await at(EXPIRED + 3)
    worker.reach.failing = set()
    standing = await request

    assert claims_of(standing)["generation"] == 1
    assert not standing.sole


# Refresh functions


@timed
async def test_a_sync_refresh_function() -> None:
    """A refresh function may be sync."""
    worker = Worker(store(), lambda token: TokenSet("a", f"{token['refresh_token']}+", EPOCH + 900))
    token = Provider().sign_in()
    await at(EXPIRED)

    assert claims_of(await worker.ensure(token))["refresh_token"] == f"r {SESSION} 0+"


@timed
async def test_a_refresh_function_gets_a_copy() -> None:
    """What a refresh function does to its argument changes nothing."""

    def refresh(token: JWT) -> TokenSet:
        token["name"] = "Eve"
        token["roles"].append("admin")
        return TokenSet("a", "r", EPOCH + 900)

    worker = Worker(store(), refresh)
    token = Provider().sign_in() | {"roles": ["user"]}
    await at(EXPIRED)
    claims = claims_of(await worker.ensure(token))

    assert (claims["name"], claims["roles"]) == ("Ada", ["user"])


@pytest.mark.parametrize(
    "answer",
    [None, {"access_token": "a"}, "token", 5, TokenSet("a", b"bytes"), TokenSet("a", scope={"set"})],  # type: ignore[arg-type]
)
@timed
async def test_a_refresh_function_that_answers_nonsense(answer: Any) -> None:
    """What is no TokenSet is a failure of the refresh function, not of the request."""
    worker = Worker(store(), lambda _: answer)
    token = Provider().sign_in()
    await at(DUE)

    assert await worker.ensure(token) == Standing(token, "unavailable", looked=True)


@pytest.mark.parametrize("error", [KeyError("accessToken"), ZeroDivisionError(), ExceptionGroup("…", [ValueError()])])
@timed
async def test_a_refresh_function_that_raises(error: Exception) -> None:
    """L6: Whatever a refresh function raises, it never reaches the application, and the session stays."""

    def refresh(_: JWT) -> TokenSet:
        raise error

    worker = Worker(store(), refresh)
    token = Provider().sign_in()
    await at(EXPIRED)

    assert (await worker.ensure(token)).kind == "unavailable"
    assert (await worker.ensure(token)).token == token


@timed
async def test_a_refresh_function_that_was_cancelled_inside() -> None:
    """A cancellation that comes from inside of the refresh function is an unknown outcome, not the task's end."""
    calls: list[float] = []

    async def refresh(_: JWT) -> TokenSet:
        calls.append(seconds())
        raise asyncio.CancelledError

    worker = Worker(store(), refresh)
    token = Provider().sign_in()
    await at(EXPIRED)

    assert (await worker.ensure(token)).kind == "unavailable"
    assert calls == [EXPIRED, EXPIRED]


@timed
async def test_without_a_refresh_token() -> None:
    """Without a refresh token a session is never due, and counts as refused once its access token has expired."""
    provider, worker, token = await signed_in(DUE)
    del token["refresh_token"]
    assert await worker.ensure(token) == Standing(token)
    await at(EXPIRED)

    assert await worker.ensure(token) == Standing(token, "refused")
    assert (worker.reach.operations, provider.calls) == ([], [])


@timed
async def test_without_a_refresh_function() -> None:
    """Without a refresh function it is the same."""
    worker = Worker(store(), None)
    token = Provider().sign_in()
    await at(DUE)
    assert worker.rotator.due(token) == "no"
    assert await worker.ensure(token) == Standing(token)
    await at(EXPIRED)

    assert await worker.ensure(token) == Standing(token, "refused")
    assert worker.reach.operations == []


@timed
async def test_a_newer_token_of_another_provider() -> None:
    """Where the newest token turns out to have no refresh function, it is served as what it is."""
    provider, worker, token = await signed_in(10)
    own = await worker.rotator.update(token, token | {"provider": "gone"})
    await at(DUE)
    other = Worker(worker.reach.store, provider.refresh)
    other.rotator._refresh_for = lambda token: None if token.get("provider") == "gone" else provider.refresh
    standing = await other.ensure(token)
    assert (claims_of(standing)["generation"], standing.kind) == (own["generation"], None)
    await at(EXPIRED)

    assert (await other.ensure(token)).kind == "refused"
    assert provider.calls == []


@timed
async def test_an_unknown_expiry() -> None:
    """A token with no known expiry is never due by time, and never expires."""
    provider, worker, token = await signed_in(0)
    del token["expires_at"]
    await at(9e6)
    assert await worker.ensure(token) == Standing(token)

    standing = await worker.ensure(token, rejected=token["access_token"])
    assert claims_of(standing)["generation"] == 1
    assert len(provider.calls) == 1


@timed
async def test_a_life_shorter_than_the_margin() -> None:
    """A token that lives shorter than the margin is not refreshed at every request."""
    provider = Provider()
    provider.lifetime = 10
    worker = one_worker(provider, margin=60)
    token = provider.sign_in()
    for step in range(100):
        await at(step * 0.5)
        token = claims_of(await worker.ensure(token))

    assert len(provider.calls) == 9  # one in each 5 s


@timed
async def test_tokens_that_are_over_when_they_come() -> None:
    """O3: A provider whose tokens are over when they come is not asked at every request."""
    provider, worker, token = await signed_in()
    provider.lifetime = 0
    for step in range(40):
        await at(EXPIRED + step * 0.25)
        token = claims_of(await worker.ensure(token))

    assert len(provider.calls) == 2


@timed
async def test_a_dead_refresh_token() -> None:
    """Past ``refresh_expires_at`` the provider is not asked: refused."""
    provider, worker, token = await signed_in()
    token["refresh_expires_at"] = EPOCH + EXPIRED

    assert (await worker.ensure(token)).kind == "refused"
    assert provider.calls == []


@timed
async def test_rejected() -> None:
    """An access token that an API refused is refreshed once for all who hold it, and not when it is an older one."""
    provider, worker, token = await signed_in(10)
    rejected = token["access_token"]
    standings = await asyncio.gather(*(worker.ensure(token, rejected=rejected) for _ in range(20)))
    assert {claims_of(standing)["generation"] for standing in standings} == {1}
    late = await worker.ensure(claims_of(standings[0]), rejected=rejected)

    assert claims_of(late)["generation"] == 1
    assert len(provider.calls) == 1


@timed
async def test_who_asks_for_more_than_the_flight_did() -> None:
    """R10: Who joins a flight that was begun for less gets what it asked for, by a second one."""
    provider, worker, token = await signed_in()
    provider.way_there = 1
    provider.lifetime = 100
    await worker.ensure(token)
    await at(EXPIRED + 200)
    plain = asyncio.create_task(worker.ensure(token))
    await idle()
    asks = asyncio.create_task(worker.ensure(token, rejected=f"a {SESSION} 2"))

    assert claims_of(await plain)["generation"] == 2
    assert claims_of(await asks)["generation"] == 3


# Failures


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


# The store fails


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


# Several workers


async def two_workers(**options: Any) -> tuple[Provider, Worker, Worker, JWT]:
    """Two workers whose clocks are 20 s apart, and whose machines were started at different times."""
    provider = Provider()
    shared = store()
    one = Worker(shared, provider.refresh, skew=-10, booted=5e5, **options)
    other = Worker(shared, provider.refresh, skew=+10, booted=77, **options)
    return provider, one, other, provider.sign_in()


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
    assert await other.ensure(token) == Standing(token, "unavailable")

    assert seconds() == pytest.approx(DUE + 10.1)
    assert claims_of(await first)["generation"] == 1
    await asyncio.sleep(1)
    assert claims_of(await other.ensure(token))["generation"] == 1
    assert len(provider.calls) == 1


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


async def taken_over(*, faults: list[Fault], way_there: float = 20) -> tuple[Provider, Worker, Worker, Any, Any]:
    """Two workers of which one lost its claim to the other while its call was under way, and both requests."""
    provider, one, other, token = await two_workers(wait=60)
    await at(EXPIRED + 10)
    provider.faults = faults
    provider.way_there = way_there
    first = asyncio.create_task(one.ensure(token))
    await asyncio.sleep(0.5)
    one.reach.failing = {"set", "get"}
    second = asyncio.create_task(other.ensure(token))
    await asyncio.sleep(8)
    one.reach.failing = set()
    assert len(provider.calls) == 2
    return provider, one, other, first, second


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


# Old cookies


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
