"""Ten minutes of short access tokens: ``python -m real_providers.endurance``, configured by SESSIONS, MINUTES and SEED.

The certified provider gives access tokens of five seconds; two workers of the application share a SQLite store. Each
session comes back after a pause, with some requests at once, spread over the workers: early, inside the margin, after the
expiry. Now and then it hangs up before all answers are there, and comes back with the cookie that it had. Every choice
comes from the seed, its moment from the machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from real_providers import packages, servers
from real_providers.browser import Browser
from real_providers.servers import RealServer, Seen
from real_providers.world import PATIENCE, World, world

ACCESS_TOKEN_SECONDS = 5
MARGIN = 1.0  # seconds: as application.py has it
LONGEST_PAUSE = 8.0  # seconds
MOST_AT_ONCE = 6  # requests
HANGS_UP = 0.15  # the share of visits
HUNG_UP_WITHIN = 0.05  # seconds after its requests began
FORMS_AT_ONCE = 5  # sign-ins
SHOWN = 20  # lines about what went wrong


@dataclass(slots=True)
class Client:
    """One session. ``generation``: the newest that an answer told; ``expires_at``: when its access token does, monotonic."""

    number: int
    browser: Browser
    chance: random.Random
    sub: str = ""
    generation: int = 0
    expires_at: float = 0.0
    hung_up: bool = False


@dataclass(slots=True)
class Tally:
    """What happened. ``wrong``: in words, what nothing excuses; ``late``: RefreshUnavailable, which a slow machine may."""

    counts: Counter[str] = field(default_factory=Counter[str])
    wrong: Counter[str] = field(default_factory=Counter[str])
    late: list[str] = field(default_factory=list[str])
    lost: dict[int, str] = field(default_factory=dict[int, str])


@dataclass(frozen=True, slots=True)
class Found:
    """All that the table says."""

    sessions: int
    seconds: float
    tally: Tally
    generations: int  # of all sessions at the end, added up
    seen: Seen
    noise: int  # lines in the workers' logs that are not uvicorn's information

    @property
    def good(self) -> bool:
        """Whether nothing was lost, nothing sent twice, and both sides count alike."""
        refused = self.seen.refusals or self.seen.reuses or self.seen.revocations
        return not (self.tally.lost or self.tally.wrong or refused) and self.generations == self.seen.rotations


def say(text: str) -> None:
    """To whoever started this, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """One run; the exit code says whether a session was lost, or a refresh token sent twice."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that it ends what it started
    sessions, minutes = int(os.environ.get("SESSIONS") or 50), float(os.environ.get("MINUTES") or 10)
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    folder = Path(tempfile.mkdtemp(prefix="endurance-"))
    say(f"{sessions} sessions for {minutes:g} minutes, access tokens of {ACCESS_TOKEN_SECONDS:g} s, seed {seed}")
    try:
        found = asyncio.run(play(folder, sessions=sessions, seconds=minutes * 60, seed=seed))
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        shutil.rmtree(folder)
        skipped = isinstance(missing, pytest.skip.Exception)
        say(f"{'skipped' if skipped else 'failed'}: {missing}")
        return 0 if skipped else 1
    say(table(found))
    if found.good:
        shutil.rmtree(folder)
    else:
        say(f"What the processes wrote is in {folder}.")
    return 0 if found.good else 1


async def play(folder: Path, *, sessions: int, seconds: float, seed: int) -> Found:
    """Sign all in, let them come and go, and look at each in the end."""
    tally = Tally()
    async with world(certified, folder) as real, AsyncExitStack() as browsers:
        clients = [
            Client(number, await browsers.enter_async_context(Browser()), random.Random(f"{seed}-{number}"))
            for number in range(sessions)
        ]
        forms = asyncio.Semaphore(FORMS_AT_ONCE)
        await asyncio.gather(*(_sign_in(real, client, forms) for client in clients))
        say(f"{sessions} signed in through the form.")
        began = time.monotonic()
        await asyncio.gather(*(_live(real, client, tally, until=began + seconds) for client in clients))
        lasted = time.monotonic() - began
        # Every access token is over then, and every refresh that a client left alone: the last visit finds the newest.
        await asyncio.sleep(ACCESS_TOKEN_SECONDS + 1)
        userinfo = (await real.discovered(clients[0].browser))["userinfo_endpoint"]
        generations = [await _last_visit(real, client, tally, userinfo=userinfo) for client in clients]
        seen = await asyncio.to_thread(real.server.seen)
    return Found(sessions, lasted, tally, sum(generations), seen, _noise(folder))


@contextmanager
def certified(application: str, folder: Path) -> Iterator[RealServer]:
    """The certified provider, with access tokens of this run's length."""
    told = {name: value for name, value in servers.order(application).items() if name not in ("username", "password")}
    command = [packages.node(), "certified.mjs", json.dumps(told | {"access_token_seconds": ACCESS_TOKEN_SECONDS})]
    with servers._telling(command, output=folder / "certified.out") as said:
        yield RealServer("certified", said["issuer"], "login", servers._asking(said["control"]), "logout")


async def _sign_in(real: World, client: Client, forms: asyncio.Semaphore) -> None:
    async with forms:
        await real.sign_in(client.browser)
        about = await client.browser.json(f"{real.home}/me")
    assert about["sub"] is not None, about
    assert about["error"] is None, about
    client.sub = about["sub"]
    _note(client, about)


async def _live(real: World, client: Client, tally: Tally, *, until: float) -> None:
    while True:
        pause = client.chance.uniform(0, LONGEST_PAUSE)
        if time.monotonic() + pause > until:
            return
        await asyncio.sleep(pause)
        await _visit(real, client, tally)


async def _visit(real: World, client: Client, tally: Tally) -> None:
    """Some requests at once with the same cookies. Who hangs up takes nothing from the answers that were not there."""
    began, chance = time.monotonic(), client.chance
    addresses = [f"{chance.choice(real.homes)}/me" for _ in range(chance.randint(1, MOST_AT_ONCE))]
    patience = chance.uniform(0, HUNG_UP_WITHIN) if chance.random() < HANGS_UP else None
    tally.counts["requests"] += len(addresses)
    tally.counts[_when(client.expires_at - began)] += 1
    tasks = [asyncio.create_task(_ask(client, url, tally)) for url in addresses]
    _, pending = await asyncio.wait(tasks, timeout=patience)
    for task in pending:
        task.cancel()
    if pending:
        tally.counts["disconnects"] += 1
        await asyncio.wait(pending)
    answers = [about for task in tasks if not task.cancelled() and (about := task.result()) is not None]
    if answers:
        tally.counts["unreceived"] += client.hung_up and _was_left(client, answers, began=began)
        for about in answers:
            _note(client, about)
    client.hung_up = not answers and (bool(pending) or client.hung_up)


def _when(left: float) -> str:
    if left <= 0:
        return "expired"
    return "inside the margin" if left <= MARGIN else "early"


def _was_left(client: Client, answers: Sequence[dict[str, Any]], *, began: float) -> bool:
    """Whether these answers, the first after a hang-up, bring a rotation from before they were asked for."""
    about = min(answers, key=lambda answer: answer["generation"])
    rotations = about["generation"] - client.generation
    age = ACCESS_TOKEN_SECONDS - about["valid_for"]
    return bool(rotations > 1 or (rotations == 1 and age > time.monotonic() - began))


def _note(client: Client, about: dict[str, Any]) -> None:
    if about["generation"] >= client.generation:
        client.generation = about["generation"]
        client.expires_at = time.monotonic() + about["valid_for"]


async def _ask(client: Client, url: str, tally: Tally) -> dict[str, Any] | None:
    """Who is it? None, and noted, where the answer is not what a user who is signed in may expect."""
    about: dict[str, Any] = {}
    began = time.monotonic()
    try:
        about = await _json(client.browser, url, tally)
    except httpx.HTTPError as error:
        problem = f"{type(error).__name__}: {error}"
    else:
        problem = "anonymous" if about["sub"] is None else about["error"]
        if problem is None and about["sub"] != client.sub:
            problem = "somebody else"
    if problem is None:
        return about
    if problem == "RefreshUnavailable":
        took, left = time.monotonic() - began, client.expires_at - began
        tally.late.append(f"session {client.number}: {problem} after {took:.3f} s; the token had {left:.3f} s left")
    else:
        tally.wrong[f"session {client.number}, after generation {client.generation}: {problem}"] += 1
    return None


async def _json(browser: Browser, url: str, tally: Tally) -> dict[str, Any]:
    """Asks again where a kept connection was closed just then, as browsers do."""
    try:
        return await browser.json(url)
    except (httpx.NetworkError, httpx.RemoteProtocolError):
        tally.counts["reconnects"] += 1
        return await browser.json(url)


async def _last_visit(real: World, client: Client, tally: Tally, *, userinfo: str) -> int:
    """The session's generation; it is lost if it is not signed in, or the provider does not know its access token."""
    try:
        token = await _json(client.browser, f"{client.chance.choice(real.homes)}/token", tally) or {}
    except httpx.HTTPError as error:
        token = {"error": f"{type(error).__name__}: {error}"}
    if token.get("sub") != client.sub or token.get("error"):
        tally.lost[client.number] = str(token.get("error") or "not signed in")
        return int(token.get("generation", 0))
    headers = {"authorization": f"Bearer {token['access_token']}"}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as provider:
        answer = await provider.get(userinfo, headers=headers)
    if answer.status_code != 200 or answer.json()["sub"] != client.sub:
        tally.lost[client.number] = f"userinfo answers {answer.status_code}"
    return int(token["generation"])


def _noise(folder: Path) -> int:
    logs = [path.read_text("utf-8").splitlines() for path in folder.glob("worker-*.out")]
    return sum(not line.startswith("INFO:") for log in logs for line in log)


def table(found: Found) -> str:
    """The figures, and what went wrong in words."""
    counts, seen = found.tally.counts, found.seen
    rows = [
        ("sessions", found.sessions),
        ("seconds", round(found.seconds)),
        ("requests", counts["requests"]),
        ("visits while the token was fresh", counts["early"]),
        ("visits inside the margin", counts["inside the margin"]),
        ("visits after the expiry", counts["expired"]),
        ("rotations, as the provider counts", seen.rotations),
        ("generations, as the sessions count", found.generations),
        ("disconnects in the middle of requests", counts["disconnects"]),
        ("  rotations whose answer nobody received", counts["unreceived"]),
        ("kept connections that were closed just then", counts["reconnects"]),
        ("answers with RefreshUnavailable", len(found.tally.late)),
        ("answers that were wrong", found.tally.wrong.total()),
        ("lines of warning in the workers' logs", found.noise),
        ("refreshes refused by the provider", seen.refusals),
        ("reuse seen by the provider", seen.reuses),
        ("grants revoked by the provider", seen.revocations),
        ("sessions lost", len(found.tally.lost)),
    ]
    lines = [f"{name:<46}{figure:>8}" for name, figure in rows]
    lines += [f"session {number} is lost: {why}" for number, why in sorted(found.tally.lost.items())[:SHOWN]]
    lines += found.tally.late[:SHOWN]
    lines += [f"{times} x {what}" for what, times in found.tally.wrong.most_common(SHOWN)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
