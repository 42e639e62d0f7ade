"""Browsers, workers, one store and a strict provider, in virtual time; what must never be true is noted as it happens."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from asgi_token_rotation import JWT, NotSignedInError, StoreError, TokenSet
from asgi_token_rotation._rotation.record import Record
from asgi_token_rotation._rotation.rotator import Standing
from asgi_token_rotation._rotation.sealing import RecordSeal, key_of
from asgi_token_rotation.stores import MemoryStore
from rotation.kit import SECRET, Provider, Worker, now
from rotation.virtual import idle


class WatchedStore:
    """A memory store that notes every step which the record of a session must never take."""

    def __init__(self, wrong: list[str]) -> None:
        self._store = MemoryStore(clock=now)
        self._seal = RecordSeal([SECRET])
        self._wrong = wrong

    def opened(self, key: str, value: bytes | None) -> Record | None:
        """The record behind the bytes."""
        return None if value is None else self._seal.open(key, value)

    async def get(self, key: str) -> bytes | None:
        return await self._store.get(key)

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        before, after = self.opened(key, await self._store.get(key)), self.opened(key, value)
        done = await self._store.compare_and_set(key, expected, value, ttl)
        if done and before is not None and after is not None:
            if after.generation < before.generation:
                self._wrong.append(f"the record went from generation {before.generation} to {after.generation}")
            if before.state == "ended":
                self._wrong.append(f"an ended session became {after.state}")
        return done

    async def delete(self, key: str) -> None:
        await self._store.delete(key)

    async def aclose(self) -> None:
        await self._store.aclose()


@dataclass
class Browser:
    """One user, with what its cookie jar holds, and cookies that it held before."""

    session: str
    jar: JWT | None
    earlier: list[JWT] = field(default_factory=list)
    ended_by: Worker | None = None
    ended: bool = False  # and all workers can read it
    shaken: bool = False  # the store failed for longer than the design can bear
    expected: dict[str, int] = field(default_factory=dict)  # claims of updates that were answered

    def keep(self, cookie: JWT) -> None:
        """A response's cookie arrives; it may have been overtaken by a newer one."""
        if self.jar is not None:
            self.earlier.append(self.jar)
            self.jar = cookie


class World:
    """Everything, driven by rules: each begins something, and time passes only when it is told to."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.store = WatchedStore(self.wrong)
        self.provider = Provider()
        self.workers: list[Worker] = []
        self.browsers: list[Browser] = []
        self._called: dict[int, dict[str, str]] = defaultdict(dict)  # of each worker: refresh tokens that it has sent
        self._requests: set[asyncio.Task[None]] = set()
        self._updates = 0

    def add_worker(self, *, skew: float, booted: float, latency: float | None) -> Worker:
        """A process starts."""

        async def refresh(token: JWT) -> TokenSet:
            self._called[id(worker)][key_of(token["session_id"])] = token["refresh_token"]
            return await self.provider.refresh(token)

        worker = Worker(self.store, refresh, skew=skew, booted=booted)
        worker.reach.latency = latency
        self.workers.append(worker)
        return worker

    def sign_in(self) -> None:
        """A user comes."""
        session = f"session-{len(self.browsers)}"
        self.browsers.append(Browser(session, self.provider.sign_in(session=session)))

    def begin(self, work: Any) -> None:
        """Begin something that goes on while other things happen."""
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except Exception as error:
            self.wrong.append(f"{type(error).__name__}: {error}")

    # What a browser does

    async def request(self, browser: Browser, worker: Worker, cookie: JWT, *, answer_after: float | None) -> None:
        """A request; ``answer_after`` seconds its cookie arrives, None: never."""
        came_late, promised = browser.ended, cookie is browser.jar
        standing = await worker.ensure(cookie)
        if worker.reach.dead:
            return
        self._judge(browser, worker, standing, came_late=came_late, promised=promised and cookie is browser.jar)
        if standing.token is None or (standing.token is cookie and standing.kind != "refused"):
            return
        flag = {"error": "RefreshAccessTokenError"} if standing.kind == "refused" else {}
        await self._answer(browser, worker, standing, flag=flag, answer_after=answer_after)

    async def update(self, browser: Browser, worker: Worker, *, answer_after: float | None) -> None:
        """A request that updates the session with a claim of its own."""
        cookie = browser.jar
        if cookie is None:
            return
        standing = await worker.ensure(cookie)
        if standing.token is None or worker.reach.dead:
            return
        self._updates += 1
        claim, value = f"claim {self._updates}", self._updates
        try:
            updated = await worker.rotator.update(standing.token, standing.token | {claim: value})
        except StoreError:
            return
        except NotSignedInError:
            if not self._excused(browser) and cookie is browser.jar:
                self.wrong.append("an update was refused to somebody who is signed in")
            return
        browser.expected[claim] = value
        await self._answer(browser, worker, Standing(updated, looked=True), flag={}, answer_after=answer_after)

    async def sign_out(self, browser: Browser, worker: Worker) -> None:
        """The user leaves."""
        cookie = browser.jar
        if cookie is None:
            return
        browser.jar = None
        await worker.rotator.end(cookie, reason="sign_out")
        browser.ended_by = worker
        key = key_of(browser.session)
        record = self.store.opened(key, await self.store.get(key))
        browser.ended = record is not None and record.state == "ended"

    async def _answer(
        self, browser: Browser, worker: Worker, standing: Standing, *, flag: JWT, answer_after: float | None
    ) -> None:
        token, came_late = standing.token, browser.ended
        assert token is not None
        if not standing.looked:
            try:
                looked = await worker.rotator.look(token)
                token = looked.token
            except StoreError:
                if not standing.sole:
                    return
        if worker.reach.dead or token is None:
            return
        if came_late and not standing.looked:
            self.wrong.append("a cookie was written for a session that had ended")
        if answer_after is not None:
            await asyncio.sleep(answer_after)
            browser.keep(token | flag)

    def _judge(self, browser: Browser, worker: Worker, standing: Standing, *, came_late: bool, promised: bool) -> None:
        knows = browser.ended_by is worker or standing.looked
        if came_late and knows and standing.token is not None:
            self.wrong.append("an ended session was served by a worker that knew of its end")
        if self._excused(browser) or not promised:
            return
        if standing.token is None:
            self.wrong.append(f"signed out, although the family lives: stale={standing.stale}")
        elif standing.kind == "refused":
            self.wrong.append("refused, although the family lives")

    def _excused(self, browser: Browser) -> bool:
        gone = browser.jar is None or browser.ended_by is not None
        return gone or browser.shaken or not self.provider.alive(browser.session)

    # What befalls the workers

    def die(self, worker: Worker) -> None:
        """A worker dies. What it had sent may have arrived or not."""
        for key in self._under_way(worker):
            if key in self._called[id(worker)]:
                self.provider.ambiguous[self._called[id(worker)][key]] += 1
        worker.die()
        self.workers.remove(worker)

    async def lose_store(self, worker: Worker, *, seconds: float, failing: set[str]) -> None:
        """The store is out of a worker's reach for so long; what lasts longer than 2 s may cost a session."""
        worker.reach.failing = failing
        if seconds > 2:
            self._shake(worker)
        await asyncio.sleep(seconds)
        if seconds > 2:
            self._shake(worker)
        worker.reach.failing = set()
        # Beats that were lost in two outages add up to a lease, which the design can't tell from a death.
        await asyncio.sleep(4)

    def _shake(self, worker: Worker) -> None:
        keys = self._under_way(worker)
        for browser in self.browsers:
            browser.shaken |= key_of(browser.session) in keys

    def _under_way(self, worker: Worker) -> set[str]:
        return {key for key, _ in worker.rotator._flights._flights.get()}  # type: ignore[misc]

    # What must be true

    def check(self) -> None:
        """The invariants that hold at any time."""
        assert not self.wrong, self.wrong
        shaken = {browser.session for browser in self.browsers if browser.shaken}
        for refresh_token, sent in self.provider.sent.items():
            known = self.provider.ambiguous[refresh_token] + self.provider.failed[refresh_token]
            session = refresh_token.split()[1]
            assert sent <= 1 + known or session in shaken, f"{refresh_token} was sent {sent} times"
        for session in self.provider.revoked - shaken:
            ambiguous = [token for token in self.provider.ambiguous if token.split()[1] == session]
            assert ambiguous, f"the family of {session} was revoked for nothing"

    async def check_in_the_end(self) -> None:
        """When all faults are over, everybody who should be signed in is, with a fresh token and every update."""
        self.provider.fault, self.provider.faults = None, []
        self.provider.way_there = self.provider.way_back = 0
        await asyncio.sleep(4000)
        for worker in self.workers:
            worker.reach.failing = set()
        worker = self.workers[0] if self.workers else self.add_worker(skew=0, booted=0, latency=None)
        for browser in self.browsers:
            if self._excused(browser) or browser.jar is None:
                continue
            key = key_of(browser.session)
            record = self.store.opened(key, await self.store.get(key))
            standing = await worker.ensure(browser.jar)
            if standing.kind == "unavailable" and record is not None and record.state == "claimed":
                # A dead worker's claim and a store of 0.4 s each way: the take-over ends 0.1 s after wait is over.
                standing = await worker.ensure(browser.jar)
            if self._excused(browser):  # by a rotation that was cut, and is found out only now
                continue
            assert standing.token is not None
            assert standing.kind is None, standing.kind
            assert standing.token["expires_at"] > worker.clock() - 20
            assert browser.expected.items() <= standing.token.items()
        self.check()
        assert not self.wrong

    async def close(self) -> None:
        """Let go of everything."""
        everything = asyncio.all_tasks() - {asyncio.current_task()}
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)
        await idle()
