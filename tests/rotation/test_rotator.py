from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asgi_token_rotation import JWT, TokenSet
from asgi_token_rotation._rotation.rotator import Standing
from rotation.kit import (
    DUE,
    EPOCH,
    EXPIRED,
    LIFETIME,
    MARGIN,
    SESSION,
    Provider,
    Worker,
    at,
    claims_of,
    one_worker,
    seconds,
    signed_in,
    store,
)
from rotation.virtual import idle, timed

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
    other.refresh_for = lambda token: None if token.get("provider") == "gone" else provider.refresh
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
