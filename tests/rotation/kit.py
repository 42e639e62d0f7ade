"""Workers on one store, a strict provider, and the time of a virtual loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from asgi_token_rotation import JWT, Event, RefreshOptions, TokenSet
from asgi_token_rotation._rotation.claimant import Tools
from asgi_token_rotation._rotation.ledger import Ledger
from asgi_token_rotation._rotation.record import Record
from asgi_token_rotation._rotation.rotator import Rotator, Standing
from asgi_token_rotation._rotation.sealing import RecordSeal, key_of
from asgi_token_rotation._rotation.single_flight import PerLoop, Tasks
from asgi_token_rotation.stores import MemoryStore, Store

SECRET = "a secret of the tests, long enough for everybody"
EPOCH = 1_800_000_000.0
LIFETIME = 300.0  # seconds of an access token; so the margin is 60 s
MARGIN = 60.0  # seconds
DUE, EXPIRED = LIFETIME - MARGIN + 1, LIFETIME + 1  # seconds after the sign-in
SESSION = "session-1"
KEY = key_of(SESSION)
Fault = Literal[
    "cut", "cut after rotation", "unavailable", "throttled", "empty 400", "refused", "client", "garbage", "hang"
]


def now() -> float:
    """The true time: every worker's clock differs from it by its skew."""
    return EPOCH + asyncio.get_running_loop().time()


def answer_error(status: int, body: bytes | str = b"", **headers: str) -> httpx.HTTPStatusError:
    """What ``raise_for_status`` raises for such an answer."""
    request = httpx.Request("POST", "https://provider.example/token")
    response = httpx.Response(status, content=body, headers={n.replace("_", "-"): v for n, v in headers.items()})
    return httpx.HTTPStatusError("…", request=request, response=response)


class Provider:
    """Rotates at every refresh, and revokes the whole family when a refresh token comes twice."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()  # how often each refresh token arrived
        self.calls: list[float] = []  # when
        self.at_once = 0  # calls under way
        self.most_at_once = 0
        self.revoked: set[str] = set()  # families
        self.newest: dict[str, int] = {}  # of each family
        self.faults: list[Fault] = []  # for the next calls
        self.fault: Fault | None = None  # for every call
        self.way_there = 0.0  # seconds
        self.way_back = 0.0  # seconds
        self.lifetime = LIFETIME  # seconds
        self.ambiguous: Counter[str] = Counter()  # calls with a refresh token whose outcome nobody can know
        self.failed: Counter[str] = Counter()  # calls with a refresh token that were answered by an error
        self._served: set[asyncio.Task[TokenSet]] = set()

    def sign_in(self, *, session: str = SESSION, name: str = "Ada") -> JWT:
        """The token of a new session, whose family is named as the session."""
        self.newest[session] = 0
        return {
            "session_id": session,
            "generation": 0,
            "signed_in_at": now(),
            "issued_at": now(),
            "name": name,
            "access_token": f"a {session} 0",
            "refresh_token": f"r {session} 0",
            "expires_at": now() + self.lifetime,
        }

    def alive(self, session: str = SESSION) -> bool:
        """Whether the family can still be refreshed."""
        return session not in self.revoked

    async def refresh(self, token: JWT) -> TokenSet:
        """One call to the token endpoint."""
        refresh_token = token["refresh_token"]
        self.sent[refresh_token] += 1
        self.calls.append(now())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            # What is sent arrives and is served, even when the caller has died meanwhile.
            served = asyncio.get_running_loop().create_task(self._serve(refresh_token))
            self._served.add(served)
            served.add_done_callback(lambda task: task.cancelled() or task.exception())
            return await asyncio.shield(served)
        finally:
            self.at_once -= 1

    async def _serve(self, refresh_token: str) -> TokenSet:
        await asyncio.sleep(self.way_there)
        fault = self.faults.pop(0) if self.faults else self.fault
        if fault in ("cut", "cut after rotation", "hang"):
            self.ambiguous[refresh_token] += 1
        elif fault is not None:
            self.failed[refresh_token] += 1
        if fault is not None and fault != "cut after rotation":
            await self._fail(fault)
        tokens = self._rotated(refresh_token)
        await asyncio.sleep(self.way_back)
        if fault == "cut after rotation":
            raise httpx.ReadError("cut")
        return tokens

    async def _fail(self, fault: Fault) -> None:
        if fault == "hang":
            await asyncio.get_running_loop().create_future()
        if fault == "cut":
            raise httpx.ReadError("cut")
        if fault == "garbage":
            raise ValueError("not JSON")
        status, body, headers = {
            "unavailable": (503, "", {}),
            "throttled": (429, "", {"Retry_After": "120"}),
            "empty 400": (400, "", {}),
            "refused": (400, '{"error":"invalid_grant"}', {}),
            "client": (401, '{"error":"invalid_client"}', {}),
        }[fault]
        raise answer_error(status, body, **headers)

    def _rotated(self, refresh_token: str) -> TokenSet:
        _, session, number = refresh_token.split()
        if session in self.revoked or int(number) != self.newest[session]:
            self.revoked.add(session)
            raise answer_error(400, '{"error":"invalid_grant"}')
        self.newest[session] += 1
        number = str(self.newest[session])
        return TokenSet(f"a {session} {number}", f"r {session} {number}", now() + self.lifetime)


@dataclass
class Reach:
    """A worker's way to the store: it may fail, take its time, or lose the answer to a write."""

    store: Store
    failing: set[str] = field(default_factory=set)  # "get", "set"
    latency: float | None = None  # seconds each way
    forgets_answers: bool = False  # a write arrives, and its answer does not
    broken: bool = False  # every compare-and-set is refused
    dead: bool = False
    operations: list[str] = field(default_factory=list)

    async def _pass(self, operation: str) -> None:
        if self.dead:
            await asyncio.get_running_loop().create_future()
        self.operations.append(operation)
        if self.latency is not None:
            await asyncio.sleep(self.latency)
        if operation in self.failing:
            raise OSError("the store is out of reach")

    async def get(self, key: str) -> bytes | None:
        await self._pass("get")
        value = await self.store.get(key)
        if self.latency is not None:
            await asyncio.sleep(self.latency)
        return value

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        await self._pass("set")
        if self.broken:
            return False
        done = await self.store.compare_and_set(key, expected, value, ttl)
        if self.latency is not None:
            await asyncio.sleep(self.latency)
        if self.forgets_answers:
            raise OSError("the answer was lost")
        return done

    async def delete(self, key: str) -> None:
        await self.store.delete(key)

    async def aclose(self) -> None:
        await self.store.aclose()


class Worker:
    """One process: a rotator with clocks of its own."""

    def __init__(
        self,
        store: Store,
        refresh: Callable[[JWT], Any] | None,
        *,
        skew: float = 0.0,
        booted: float = 0.0,
        secrets: tuple[str, ...] = (SECRET,),
        mark: str | None = None,
        revocation_check: float | None = None,
        **options: Any,
    ) -> None:
        time = asyncio.get_running_loop().time
        self.skew = skew
        self.clock = lambda: EPOCH + time() + skew
        self.reach = Reach(store)
        self.events: list[Event] = []
        self.options = RefreshOptions(**options)
        self.tasks = PerLoop(Tasks)
        self.ledger = Ledger(store=self.reach, seal=RecordSeal(secrets), ttl=40 * 86_400)
        self.refresh = refresh
        self.refresh_for: Callable[[JWT], Any] = lambda _: self.refresh
        self.rotator = Rotator(
            ledger=self.ledger,
            options=self.options,
            refresh_for=lambda token: self.refresh_for(token),
            emit=self.events.append,
            tools=Tools(clock=self.clock, monotonic=lambda: time() + booted, sleep=asyncio.sleep, random=lambda: 0.5),
            tasks=self.tasks,
            mark=mark,
            revocation_check=revocation_check,
        )

    async def ensure(self, token: JWT, **demand: Any) -> Standing:
        """What a request with this cookie gets."""
        return await self.rotator.ensure(token, **demand)

    async def record(self) -> Record | None:
        """The record as this worker reads it."""
        return (await self.ledger.read(KEY)).record

    def die(self) -> None:
        """End without another word: nothing that it had begun reaches the store any more."""
        self.reach.dead = True
        for task in list(self.tasks.get()._running):
            task.cancel()

    def named(self, name: str) -> list[Event]:
        """The events of that name."""
        return [event for event in self.events if event.name == name]


def store() -> MemoryStore:
    """A store on the true time."""
    return MemoryStore(clock=now)


async def at(seconds: float) -> None:
    """Wait until so many seconds after the beginning."""
    await asyncio.sleep(max(seconds - asyncio.get_running_loop().time(), 0))


def claims_of(standing: Standing) -> JWT:
    """The token of a session that stands."""
    assert standing.token is not None
    return standing.token


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


async def two_workers(**options: Any) -> tuple[Provider, Worker, Worker, JWT]:
    """Two workers whose clocks are 20 s apart, and whose machines were started at different times."""
    provider = Provider()
    shared = store()
    one = Worker(shared, provider.refresh, skew=-10, booted=5e5, **options)
    other = Worker(shared, provider.refresh, skew=+10, booted=77, **options)
    return provider, one, other, provider.sign_in()


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
