"""Concurrent session reads with one expired access token: what is left of the session afterwards.

``python benchmarks/race/race.py`` runs the real Auth.js, with the callback of its own guide, and this package, against
the same provider, whose refresh tokens are good for one use. In each round somebody signs in, the access token expires,
and two ``GET /api/auth/session`` go out at once with the same cookie, which is what one tab of next-auth 5 does at every
poll. The answers' cookies go into the browser's jar as they arrive. Then the access token expires once more, and one
more read shows whether that cookie is still good for a refresh; if not, the round is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent.parent)]

from contestants import Contestant, auth_js, served, this_package  # noqa: E402
from examples.react.bundle import CannotBundleError, install  # noqa: E402
from provider import LIFETIME, Provider  # noqa: E402

HERE = Path(__file__).resolve().parent
AT_ONCE = 8  # rounds
T = TypeVar("T")
Enter = Callable[[str], AbstractAsyncContextManager[Contestant]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of some rounds."""

    name: str
    provider: str
    rounds: int
    refresh_calls: int  # in the races
    errors: int  # rounds in which an answer said that the refresh failed, or that nobody is signed in
    lost: int


class Browser:
    """A cookie jar, and the requests of next-auth's client."""

    def __init__(self, address: str, *, transport: httpx.AsyncBaseTransport) -> None:
        self._client = httpx.AsyncClient(base_url=f"{address}/api/auth", transport=transport, timeout=60)

    async def sign_in(self, name: str) -> None:
        csrf_token = (await self._client.get("/csrf")).json()["csrfToken"]
        fields = {"username": name, "password": "any", "csrfToken": csrf_token, "callbackUrl": "/"}
        headers = {"x-auth-return-redirect": "1"}
        (await self._client.post("/callback/credentials", data=fields, headers=headers)).raise_for_status()
        if not await self.session_is_good():
            raise RuntimeError("The sign-in of the race has failed: there is nothing to compare.")

    async def session_is_good(self) -> bool:
        """One read: somebody is signed in, and nothing has failed."""
        session: Any = (await self._client.get("/session")).raise_for_status().json()
        return bool(session) and not session.get("error")


async def raced(enter: Enter, *, rounds: int, reads: int, revokes: bool) -> Result:
    """All rounds of one contestant, each with a browser of its own."""
    provider = Provider(revokes=revokes, seed=1)
    async with served(provider) as endpoint, enter(endpoint) as contestant, httpx.AsyncHTTPTransport() as transport:
        browsers = [Browser(contestant.address, transport=transport) for _ in range(rounds)]
        await few_at_once(browser.sign_in(f"user {number}") for number, browser in enumerate(browsers))
        await contestant.go_ahead(LIFETIME + 1)
        answers = await few_at_once(_reads(browser, reads) for browser in browsers)
        refresh_calls = provider.refresh_calls
        await contestant.go_ahead(2 * LIFETIME + 2)
        usable = await few_at_once(browser.session_is_good() for browser in browsers)
    return Result(
        name=contestant.name,
        provider="reuse revokes the family" if revokes else "single use",
        rounds=rounds,
        refresh_calls=refresh_calls,
        errors=sum(not all(good) for good in answers),
        lost=usable.count(False),
    )


async def _reads(browser: Browser, number: int) -> list[bool]:
    return await asyncio.gather(*(browser.session_is_good() for _ in range(number)))


async def few_at_once(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results, in order; some at a time, so that each race is one of its own requests only."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def in_turn(one: Awaitable[T]) -> T:
        async with turn:
            return await one

    return await asyncio.gather(*(in_turn(one) for one in work))


def table(results: Iterable[Result], *, reads: int) -> str:
    """In Markdown."""
    lines = [
        f"{reads} concurrent `GET session` with the same cookie and an expired access token:",
        "",
        "| | provider | rounds | refresh calls | rounds with an error in an answer | rounds lost |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        counts = f"{result.rounds:,} | {result.refresh_calls:,} | {result.errors:,} | {result.lost:,}"
        lines.append(f"| {result.name} | {result.provider} | {counts} |")
    return "\n".join(lines)


async def everybody(*, theirs: int, ours: int, reads: int, node: str) -> list[Result]:
    """Both, against both kinds of provider."""
    results = []
    for revokes in (False, True):
        results.append(await raced(lambda url: auth_js(url, node=node), rounds=theirs, reads=reads, revokes=revokes))
        results.append(await raced(this_package, rounds=ours, reads=reads, revokes=revokes))
    return results


def main() -> None:
    """The command line. Ends with 1 where a round of ours was lost, or none of theirs: then nothing was compared."""
    parser = argparse.ArgumentParser(description="Auth.js and this package: who loses a session to two reads at once?")
    parser.add_argument("--theirs", type=int, default=60, help="rounds of Auth.js")
    parser.add_argument("--ours", type=int, default=1000, help="rounds of this package")
    parser.add_argument("--reads", type=int, default=2, help="concurrent reads in each round")
    options = parser.parse_args()
    try:
        install(HERE)
    except CannotBundleError as error:
        raise SystemExit(str(error)) from None
    node = shutil.which("node") or "node"
    results = asyncio.run(everybody(theirs=options.theirs, ours=options.ours, reads=options.reads, node=node))
    print(table(results, reads=options.reads))
    own = [result for result in results if result.name == "asgi-token-rotation"]
    if any(result.lost or result.errors for result in own):
        raise SystemExit("This package has lost a round.")
    if not all(result.lost for result in results if result not in own):
        raise SystemExit("Auth.js has lost none, so the race did not take place.")


if __name__ == "__main__":
    main()
