"""A secret is changed while the workers run: [old], then [old, new], then [new, old]."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workers.fleet import ADA, Meeting, at_once, fleet

OLD = "the old secret of all workers, long enough"
NEW = "the new secret of all workers, long enough"
PARALLEL = 50


async def test_a_secret_is_rolled_out(store: Meeting, tmp_path: Path, measured: Callable[[str], None]) -> None:
    """C7: in both steps of the change 50 parallel requests at workers with different secrets lead to one refresh."""
    secrets = ([OLD], [OLD, NEW], [NEW, OLD])
    async with fleet(store, tmp_path, *[{}] * 3, secrets=secrets) as workers:
        await workers.steer(latency=0.5)
        for step, ports in (
            ("[old] beside [old, new]", workers.ports[:2]),
            ("[old, new] beside [new, old]", workers.ports[1:]),
        ):
            browser = await workers.signed_in(secret=OLD)
            browsers = [browser.copy() for _ in range(PARALLEL)]
            for _ in range(2):
                answers = await at_once(browsers, ports)
                assert {(answer.generation, *answer.standing) for answer in answers} == {(1, ADA, None)}
                ports = ports[::-1]
            assert await workers.sends(browser) == [1]
            measured(f"{step}: {PARALLEL} parallel requests, 1 call")


async def test_without_the_newer_secret_nobody_is_asked(
    store: Meeting, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """C7: a worker that has not the secret of a record serves its session on, asks nobody, and leaves the cookie."""
    async with fleet(store, tmp_path, *[{}] * 2, secrets=([NEW, OLD], [OLD])) as workers:
        new, old = workers.ports
        for valid_for, error in ((30.0, None), (-1.0, "RefreshUnavailable")):
            browser = await workers.signed_in(secret=OLD, valid_for=valid_for)
            assert (await browser.copy().get(new)).generation == 1
            browsers = [browser.copy() for _ in range(PARALLEL)]
            answers = await at_once(browsers, [old])
            assert {(answer.generation, *answer.standing, answer.wrote) for answer in answers} == {
                (0, ADA, error, False)
            }
            assert {answer.generation for answer in await at_once(browsers, [new])} == {1}
            assert {answer.generation for answer in await at_once(browsers, [old])} == {None}
            assert {answer.generation for answer in await at_once(browsers, [new])} == {1}
            assert await workers.sends(browser) == [1]
        measured(f"{2 * PARALLEL} requests at a worker without the newer secret, 0 calls of its own, all cookies kept")
