"""A sign-out at one worker, seen at another."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.fleet import ADA, Meeting, fleet, until

VALID_FOR = 3000.0  # seconds: never due here
ON_THE_WAY = 1.5  # seconds that a busy machine may take for a request


@pytest.mark.parametrize("seconds", [0, 2])
async def test_an_end_is_seen_within_the_seconds_named(
    store: Meeting, tmp_path: Path, measured: Callable[[str], None], seconds: float
) -> None:
    """R5: with revocation_check a session that was signed out elsewhere is over within those seconds, though it is not due."""
    async with fleet(store, tmp_path, *[{"revocation_check": seconds}] * 2) as workers:
        browser = await workers.signed_in(valid_for=VALID_FOR)
        other = browser.copy()
        assert (await other.get(workers.ports[1])).standing == (ADA, None)
        assert (await browser.get(workers.ports[0], "/leave")).generation is None
        ended = time.monotonic()

        async def over() -> bool:
            return (await other.copy().get(workers.ports[1])).generation is None

        await until(over, seconds=seconds + 10)
        took = time.monotonic() - ended
        assert took < seconds + ON_THE_WAY
        assert not (await other.get(workers.ports[1])).wrote
        assert await workers.sends(browser) == []
        measured(f"revocation_check={seconds}: seen after {took:.2f} s")
