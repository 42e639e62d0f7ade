"""Many requests at many workers, and one refresh."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from workers.fleet import ADA, Meeting, at_once, fleet

WORKERS = 4
REQUESTS = 200  # at each of them
SLOW = 10.0  # seconds that the provider takes: longer than the lease


async def test_a_provider_slower_than_the_lease_is_asked_once(
    store: Meeting, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """R7: 4 workers with 200 requests each and a provider that takes 10 s, longer than the lease: one refresh, 800 new tokens."""
    async with fleet(store, tmp_path, *[{"wait": 20}] * WORKERS) as workers:
        await workers.steer(latency=SLOW)
        browser = await workers.signed_in()
        answers = await at_once([browser.copy() for _ in range(WORKERS * REQUESTS)], workers.ports)
        assert Counter((answer.generation, *answer.standing) for answer in answers) == {
            (1, ADA, None): WORKERS * REQUESTS
        }
        assert await workers.sends(browser) == [1]
        assert all(answer.wrote for answer in answers)
        longest = max(answer.waited for answer in answers)
        measured(f"1 call, {len(answers)} answers of generation 1, longest wait {longest:.1f} s")


async def test_who_gives_up_waiting_loses_nothing(
    store: Meeting, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """R7: with the default options, whose wait ends when the provider answers, every browser goes on with its last cookie."""
    async with fleet(store, tmp_path, *[{}] * WORKERS) as workers:
        await workers.steer(latency=SLOW)
        browser = await workers.signed_in()
        browsers = [browser.copy() for _ in range(WORKERS * REQUESTS)]
        began = time.monotonic()
        answers = await at_once(browsers, workers.ports)
        kinds = Counter((answer.generation, *answer.standing) for answer in answers)
        assert set(kinds) <= {(1, ADA, None), (0, ADA, "RefreshUnavailable")}
        await asyncio.sleep(max(began + SLOW + 4 - time.monotonic(), 0))
        assert await workers.sends(browser) == [1]
        again = await at_once(browsers, workers.ports[1:] + workers.ports[:1])
        assert Counter((answer.generation, *answer.standing) for answer in again) == {(1, ADA, None): len(browsers)}
        assert await workers.sends(browser) == [1]
        waited, longest = kinds[0, ADA, "RefreshUnavailable"], max(answer.waited for answer in answers)
        measured(
            f"1 call, {kinds[1, ADA, None]} answers of generation 1 and {waited} that gave up after at most {longest:.1f} s;"
            f" then {len(again)} of generation 1"
        )


async def test_sessions_of_one_user_are_apart(store: Meeting, tmp_path: Path, measured: Callable[[str], None]) -> None:
    """R10: sessions of one user, and of two providers, that refresh at one moment get each its own tokens."""
    async with fleet(store, tmp_path, *[{}] * WORKERS) as workers:
        await workers.steer(latency=1.0)
        providers = ("credentials", "credentials", "oauth", "oauth")
        sessions = [await workers.signed_in(provider=provider) for provider in providers]
        browsers = [browser.copy() for browser in sessions for _ in range(24)]
        answers = await at_once(browsers, workers.ports, "/whose")
        got = {
            (browser.family, answer.content["access_token"]) for browser, answer in zip(browsers, answers, strict=True)
        }
        assert got == {(browser.family, f"{browser.family}-1") for browser in sessions}
        assert [await workers.sends(browser) for browser in sessions] == [[1]] * len(sessions)
        assert {(answer.generation, *answer.standing) for answer in answers} == {(1, ADA, None)}
        measured(f"{len(sessions)} sessions, {len(answers)} answers, {len(sessions)} calls, each session its own token")
