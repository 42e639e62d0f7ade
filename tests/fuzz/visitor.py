"""A browser in front of a fuzzed application: its cookies, and the requests that it sends with them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from asgi_token_rotation.types import Message
from fuzz.cookies import Jar, cookie_headers
from fuzz.dice import Dice
from fuzz.flow_rules import body_of, lines_of
from fuzz.minted import csrf_pair, opened
from fuzz.requests import Asked
from fuzz.rules import need
from fuzz.worlds import World

Ask = Callable[[World, Asked], Awaitable[list[Message]]]

FORM = b"application/x-www-form-urlencoded"
PLAIN = Dice(b"")  # of which each choice is the plainest


class Visitor:
    """A browser, its cookies, and the world that it is at."""

    def __init__(self, dice: Dice, world: World, ask: Ask) -> None:
        self.dice, self.world, self._ask = dice, world, ask
        self.cookies: dict[bytes, bytes] = {}
        self.csrf_token, self._csrf = csrf_pair(dice)

    def takes_csrf(self) -> None:
        """Have the cookie that goes with the CSRF token."""
        self.cookies[self.world.csrf] = self._csrf.encode()

    async def get(self, path: str, query: bytes = b"", *, who: str = "either", dice: Dice = PLAIN) -> list[Message]:
        """GET. ``dice``: for headers that may be anything."""
        return await self._sent(self._scope("GET", path, query, dice), b"", who=who, may_end=False)

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        query: bytes = b"",
        headers: list[tuple[bytes, bytes]] | None = None,
        may_end: bool = False,
        dice: Dice = PLAIN,
    ) -> list[Message]:
        """POST. ``headers`` beside host and cookies; a form by default."""
        scope = self._scope("POST", path, query, dice)
        scope["headers"] = [*scope["headers"], *([(b"content-type", FORM)] if headers is None else headers)]
        return await self._sent(scope, body, who="either", may_end=may_end)

    async def session(self, *, who: str) -> dict[str, Any]:
        """What the application sees of the session. ``who``: "ada", or "nobody"."""
        sent = await self.get("/", who="either" if who == "nobody" else who)
        shown: dict[str, Any] = json.loads(body_of(sent))
        need(who != "nobody" or not shown, "a session that has ended is over")
        return shown

    def held(self) -> dict[str, Any]:
        """What the session cookie holds, put together from its chunks."""
        place = self.world.place
        names = sorted(name for name in self.cookies if name.startswith(place.wire))
        return opened(b"".join(self.cookies[name] for name in names), name=place.name, dialect=place.dialect)

    def _scope(self, method: str, path: str, query: bytes, dice: Dice) -> dict[str, Any]:
        world = self.world
        pairs = [(name, value) for name, value in self.cookies.items() if name.startswith(world.place.wire)]
        others = [(name, value) for name, value in self.cookies.items() if not name.startswith(world.place.wire)]
        lines = cookie_headers(dice, pairs, others=others) if self.cookies else []
        host = world.address.split("/")[2].encode()
        headers = [(b"host", host), *((b"cookie", line) for line in lines)]
        if dice.chance(30):
            headers.append((b"x-auth-return-redirect", b"1"))
        return {
            "type": "http", "method": method, "path": path, "query_string": query, "headers": headers,
            "scheme": "https" if world.secure else "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
        }  # fmt: skip

    async def _sent(self, scope: dict[str, Any], body: bytes, *, who: str, may_end: bool) -> list[Message]:
        jar = Jar([pair for pair in self.cookies.items() if pair[0].startswith(self.world.place.wire)], who)
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        sent = await self._ask(self.world, Asked(scope=scope, messages=messages, jar=jar, may_end=may_end))
        for line in lines_of(sent):
            name, _, value = line.partition(b";")[0].partition(b"=")
            self.cookies[name] = value
            if b"; Max-Age=0" in line:
                del self.cookies[name]
        return sent
