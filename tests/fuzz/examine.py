"""One input against the rules."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable
from typing import Any, Self

from asgi_token_rotation import TokenSet
from asgi_token_rotation.providers.base import Failure, judge_response, retry_after
from asgi_token_rotation.types import Message
from fuzz import answers
from fuzz.cookies import Jar, Place, cookie_headers, valid
from fuzz.cost import Cost
from fuzz.dice import Dice
from fuzz.minted import ACCESS_TOKEN, NOW, PASSWORD, REFRESH_TOKEN, SECRETS, TOKEN_LIFE, USER
from fuzz.requests import Asked, asked
from fuzz.rules import BrokenRuleError, TooCostlyError, judge_answer, need
from fuzz.worlds import World, worlds

# The costliest of a million inputs took 8 calls into encryption, 3,846 calls and 0.5 MB.
MOST_SEALS = 16  # calls into authenticated encryption, of one request and of its background notes
MOST_CALLS = 4_000  # of functions, for a request without a body; each byte of JSON may be a number of its own
CALLS_PER_BYTE = 4
MOST_MEMORY = 1_000_000  # bytes; a table of what a process knows doubles now and then, at one request
MEMORY_PER_BYTE = 24

SECRETS_OF_LOGS = (ACCESS_TOKEN, REFRESH_TOKEN, PASSWORD, *SECRETS, "fresh-access", "fresh-refresh", USER)


class Examiner:
    """Fresh applications, and the rules. ``highest`` is what the costliest inputs so far took."""

    def __init__(self) -> None:
        self.worlds = worlds()
        self.cost = Cost()
        self.highest = {"seals": 0, "calls": 0, "memory": 0}
        self._log = io.StringIO()
        self._handler = logging.StreamHandler(self._log)
        self._stray: list[str] = []

    def __enter__(self) -> Self:
        logger = logging.getLogger("asgi_token_rotation")
        self._before = logger.propagate, logger.level
        logger.addHandler(self._handler)
        logger.propagate = False
        return self

    def __exit__(self, *error: object) -> None:
        logger = logging.getLogger("asgi_token_rotation")
        logger.removeHandler(self._handler)
        logger.propagate, logger.level = self._before

    async def examine(self, data: bytes) -> None:
        """Raises BrokenRuleError where a rule does not hold."""
        try:
            await self._examine(Dice(data))
        except TooCostlyError:
            # What Python prepares at its first use (patterns, tables for quoting, lines for a traceback) is paid once.
            self.worlds = worlds()
            await self._examine(Dice(data))

    async def _examine(self, dice: Dice) -> None:
        kind = dice.number(100)
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self._stray.append(str(context["message"])))
        try:
            if kind < 80:
                await self._request(dice)
            elif kind < 90:
                await self._refresh(dice)
            else:
                PURE[kind % len(PURE)](dice)
        except BrokenRuleError:
            raise
        except Exception as error:
            raise BrokenRuleError(f"no exception escapes: {type(error).__name__}") from error
        self._nothing_aside()

    async def _request(self, dice: Dice) -> None:
        world = dice.pick(self.worlds)
        question = asked(dice, world.place, secure=world.secure)
        await self._answered(world, question)
        self._within_bounds(question, world)

    async def _refresh(self, dice: Dice) -> None:
        """A session that is due, at a provider that says anything: it may be refused, and it is not lost."""
        world = self.worlds[0]
        world.answer, world.asked = answers.answer(dice), 0
        left = dice.pick((10, -1))  # seconds until the access token expires: inside the margin, and past it
        token = valid(dice, world.place, expires_at=NOW + left, issued_at=NOW + left - TOKEN_LIFE)
        await self._answered(world, _visit(world.place, token))
        need(world.asked <= 2, "R4: the provider is asked once, and once more only where nobody knows whether it was")

    async def _answered(self, world: World, question: Asked) -> None:
        coming = iter(question.messages)
        left = False
        sent: list[Message] = []
        calls = 0

        async def receive() -> Message:
            nonlocal left, calls
            calls += 1
            need(calls < 200, "what a client does not send is not asked for again and again")
            message = next(coming, {"type": "http.disconnect"})
            left = left or message["type"] == "http.disconnect"
            return message

        async def send(message: Message) -> None:
            sent.append(message)

        self.cost.start()
        try:
            async with asyncio.timeout(30):
                await world.app(question.scope, receive, send)
                await asyncio.sleep(0)  # background notes begin
        finally:
            self.cost.stop()
        judge_answer(sent, question, world, left=left)
        self.highest["seals"] = max(self.highest["seals"], self.cost.seals)
        need(self.cost.seals <= MOST_SEALS, f"I10: at most {MOST_SEALS} calls into authenticated encryption")

    def _within_bounds(self, question: Asked, world: World) -> None:
        body = sum(len(message.get("body") or b"") for message in question.messages)
        query = len(question.scope["query_string"])
        headers = sum(len(value) for _, value in question.scope["headers"])
        size = body + query + headers
        # A cookie header is searched for names, and no more is done at each than a few calls.
        parsed = min(body, 65_536) + min(query, 8_192) + headers // 8
        cost = self.cost
        values = [value for name, value in question.jar.pairs if name == world.place.wire and b";" not in value]
        if (
            len(values) == len(question.jar.pairs)
            and sum(map(len, values)) > 33_000
            and question.scope.get("method") == "GET"
        ):
            need(not cost.seals, "I10: the size of cookies is judged before any cryptography")
        within = (
            cost.calls <= MOST_CALLS + CALLS_PER_BYTE * parsed and cost.peak <= MOST_MEMORY + MEMORY_PER_BYTE * size
        )
        if not within:
            raise TooCostlyError("I10: a bounded number of calls, and bounded memory")
        for name, value in (
            ("calls", cost.calls - CALLS_PER_BYTE * parsed),
            ("memory", cost.peak - MEMORY_PER_BYTE * size),
        ):
            self.highest[name] = max(self.highest[name], value)

    def _nothing_aside(self) -> None:
        """Nothing went wrong beside the answer, and no log line has a secret."""
        if self._stray:
            stray = self._stray.pop()
            raise BrokenRuleError(f"nothing fails in the background: {stray}")
        if self._log.tell():
            lines = self._log.getvalue()
            self._log.seek(0)
            self._log.truncate()
            need(not any(secret in lines for secret in SECRETS_OF_LOGS), "I7: no secret in a log line")


def _visit(place: Place, token: bytes) -> Asked:
    dice = Dice(b"")
    lines = cookie_headers(dice, [(place.wire, token)], others=[])
    headers = [(b"host", b"testserver"), *((b"cookie", line) for line in lines)]
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": headers,
        "scheme": "http",
    }
    return Asked(scope=scope, messages=[], jar=Jar([(place.wire, token)], "ada"), may_end=False)


def _token_set(dice: Dice) -> None:
    document = answers.token_document(dice)
    try:
        tokens = TokenSet.from_response(document, now=NOW)
    except ValueError as error:
        need("fresh-" not in str(error), "I7: no secret in an error message")
        return
    need("fresh-" not in repr(tokens), "I7: no secret in a repr")
    for moment in (tokens.expires_at, tokens.refresh_expires_at):
        need(moment is None or abs(moment) < float("inf"), "times are finite")


def _judged(dice: Dice) -> None:
    answer = answers.answer(dice)
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
    failure: Failure = judge_response(answer.status, headers, answer.body, now=NOW)
    need(failure.retry_after is None or 0 <= failure.retry_after <= 3600, "a wait of an hour at most")


def _waits(dice: Dice) -> None:
    seconds = retry_after({"retry-after": answers.wait(dice)}, now=NOW)
    need(seconds is None or 0 <= seconds <= 3600, "a wait of an hour at most")


PURE: tuple[Callable[[Dice], None], ...] = (_token_set, _judged, _waits)


def told(data: bytes) -> str:
    """The input in words, for people."""
    dice = Dice(data)
    kind = dice.number(100)
    if kind < 80:
        world = dice.pick(worlds())
        question = asked(dice, world.place, secure=world.secure)
        lines = [f"at {world.name}: {question.scope}", f"messages: {question.messages}", f"cookies: {question.jar}"]
    elif kind < 90:
        lines = [f"the provider answers {answers.answer(dice)}"]
    else:
        made = (answers.token_document, answers.answer, answers.wait)[kind % len(PURE)]
        lines = [f"{PURE[kind % len(PURE)].__name__.strip('_')}: {made(dice)!r}"]
    return "\n".join(line if len(line) < 2000 else f"{line[:2000]} … ({len(line)} characters)" for line in lines)
