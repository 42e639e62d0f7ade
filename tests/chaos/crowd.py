"""What the users of many browsers do, until they are told to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from chaos import settings
from chaos.browser import Browser, Network
from chaos.journal import Journal

REPLAYED_AFTER = 45.0  # seconds: by then no worker's clock takes the access token of an ended session for valid
WEIGHTS = {
    "burst": 30,
    "slow": 8,
    "stream": 8,
    "socket": 5,
    "late": 8,
    "fail": 2,
    "note": 5,
    "idle": 10,
    "vanish": 1,
    "leave": 2,
    "replace": 2,
    "replay": 2,
}


class User:
    """One user: does one thing after the other, while answers to some of them are still on their way."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._random = browser.random
        self._until = 0.0
        self._notes = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._deeds: dict[str, Callable[[], Awaitable[None]]] = {
            "burst": self._burst,
            "slow": self._slow,
            "stream": self._stream,
            "socket": self._socket,
            "late": self._late,
            "fail": self._fail,
            "note": self._note,
            "idle": self._idle,
            "vanish": self._vanish,
            "leave": self._leave,
            "replace": self._sign_in,
            "replay": self._replay,
        }

    async def live(self, until: float) -> None:
        """Until that time; then look whether one is still who one was, and leave nothing behind."""
        self._until = until
        await asyncio.sleep(self._random.uniform(0, 2))
        while time.time() < until:
            await self._act()
            await asyncio.sleep(self._random.expovariate(1 / 0.4))
        await self._finished()
        if self._browser.family is not None:
            await self._browser.request(self._browser.sending("me"), "GET", "/me")

    async def _act(self) -> None:
        browser = self._browser
        if browser.family is not None and not browser.owns_its_cookie():
            browser.note("lost to an older answer", family=browser.family)
            browser.become(None, None)
        if browser.family is None:
            await self._sign_in()
            return
        name = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        await self._deeds[name]()

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _finished(self) -> None:
        if self._under_way:
            for outcome in await asyncio.gather(*self._under_way, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome

    async def _me(self) -> None:
        leaves = self._random.expovariate(1 / 0.05) if self._random.random() < 0.25 else None
        await self._browser.request(self._browser.sending("me"), "GET", "/me", leaves_after=leaves)

    async def _burst(self) -> None:
        """Parallel requests, of which the user may not wait for all."""
        await asyncio.gather(*(self._me() for _ in range(self._random.randint(2, 8))))

    async def _slow(self) -> None:
        path = f"/slow?seconds={self._random.uniform(0.2, 5.0):.2f}"
        leaves = self._random.uniform(0.0, 2.0) if self._random.random() < 0.2 else None
        self._begin(self._browser.request(self._browser.sending("slow"), "GET", path, leaves_after=leaves))

    async def _stream(self) -> None:
        path = f"/stream?seconds={self._random.uniform(0.0, 4.0):.2f}"
        leaves = self._random.uniform(0.0, 3.0) if self._random.random() < 0.3 else None
        self._begin(self._browser.request(self._browser.sending("stream"), "GET", path, leaves_after=leaves))

    async def _socket(self) -> None:
        self._begin(self._browser.talk(self._random.randint(1, 4)))

    async def _late(self) -> None:
        """A request that was made with the cookie before the newest."""
        previous = self._browser.jar.previous
        if previous is None or not previous[0] or time.time() > previous[1] + settings.LATE:
            await self._me()
            return
        sent = replace(self._browser.sending("late"), cookie=previous[0], late=True)
        await self._browser.request(sent, "GET", "/me")

    async def _fail(self) -> None:
        await self._browser.request(self._browser.sending("fail"), "GET", "/fail")

    async def _note(self) -> None:
        """An update of the session; what was stored must be seen from then on."""
        self._notes += 1
        sent, number = self._browser.sending("note"), self._notes
        answer = await self._browser.request(sent, "POST", f"/note?number={number}")
        if answer is not None and answer["stored"] and sent.epoch == self._browser.epoch:
            self._browser.note_stored = (number, answer["generation"])

    async def _idle(self) -> None:
        await self._rest(self._random.choice((1.0, 3.0, 8.0, 15.0)))

    async def _rest(self, seconds: float) -> None:
        await asyncio.sleep(max(min(seconds, self._until - time.time()), 0.0))

    async def _vanish(self) -> None:
        """L1: leave in the middle of a refresh, and come back when the grace is over."""
        await self._rest(settings.ACCESS_TOKEN_LIFETIME)
        leaves = self._random.expovariate(1 / 0.1)
        sents = [self._browser.sending("me") for _ in range(3)]
        await asyncio.gather(*(self._browser.request(sent, "GET", "/me", leaves_after=leaves) for sent in sents))
        await self._rest(settings.GRACE + self._random.uniform(1.0, 15.0))
        await self._me()

    async def _leave(self) -> None:
        """Sign out, with answers on their way or without."""
        browser = self._browser
        await self._linger()
        sent, family = browser.sending("leave"), browser.family
        browser.become(None, None)
        sent = replace(sent, epoch=browser.epoch)
        answer = await browser.request(sent, "POST", "/logout")
        if answer is None:
            browser.jar.forget()
            return
        browser.note("signed out", family=family)
        browser.left = [*browser.left[-3:], (sent.cookie, family or "", time.time())]

    async def _linger(self) -> None:
        """Before one session ends: wait for all its answers, or have some more of them on their way."""
        if self._random.random() < 0.5:
            await self._finished()
        elif self._browser.family is not None:
            await self._slow()
            await self._slow()
            await asyncio.sleep(self._random.uniform(0.0, 1.0))

    async def _sign_in(self) -> None:
        """Sign in, over whoever is signed in, with answers on their way or without."""
        browser, user = self._browser, f"user{self._random.randrange(settings.USERS)}"
        await self._linger()
        sent = browser.sending("sign in")
        browser.become(None, None)
        sent = replace(sent, epoch=browser.epoch)
        answer = await browser.request(sent, "POST", f"/login?user={user}")
        if answer is None:
            browser.jar.forget()
            return
        browser.user, browser.family = answer["user"], answer["family"]
        browser.jar.previous = None  # it is another session's
        browser.note("signed in", family=browser.family, user=browser.user)

    async def _replay(self) -> None:
        """The cookie of a session that was signed out long ago."""
        browser = self._browser
        ripe = [item for item in browser.left if time.time() > item[2] + REPLAYED_AFTER]
        if not ripe:
            await self._me()
            return
        cookie, family, ended_at = ripe[0]
        browser.left.remove(ripe[0])
        other = Browser(f"{browser.name}'s past", seed=0, network=browser.network, journal=browser.journal)
        answer = await other.request(replace(other.sending("replay"), cookie=cookie), "GET", "/me")
        if answer is not None and answer["user"] is not None:
            browser.note("wrong", how="signed out and served", family=family, ended=ended_at)


async def browse(network: Network, journal: Journal, *, seed: int, browsers: int, until: float) -> None:
    """Many users at one time."""
    users = [User(Browser(f"b{number}", seed=seed, network=network, journal=journal)) for number in range(browsers)]
    async with asyncio.TaskGroup() as group:
        for user in users:
            group.create_task(user.live(until))
