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
from fuzz.journeys import JOURNEYS
from fuzz.minted import ACCESS_TOKEN, NOW, PASSWORD, REFRESH_TOKEN, SECRETS, TOKEN_LIFE, USER
from fuzz.openid import CLIENT_SECRETS
from fuzz.requests import Asked, asked
from fuzz.rules import BrokenRuleError, TooCostlyError, judge_answer, need
from fuzz.worlds import World, with_providers, worlds

# The costliest of a million inputs took 8 calls into encryption, 3,846 calls and 0.14 MB: a token of nested brackets.
MOST_SEALS = 16  # calls into authenticated encryption, of one request and of its background notes
MOST_CALLS = 4_000  # of functions, for a request without a body; each byte of JSON may be a number of its own
CALLS_PER_BYTE = 4
MOST_MEMORY = 200_000  # bytes; a table of what a process knows grows by 29 KB at most with the sessions of a batch
MEMORY_PER_BYTE = 24

# Of a hundred inputs: requests up to here, refreshes, what is judged alone, and the rest go to a provider.
REQUESTS, REFRESHES, ALONE = 57, 65, 74
COUNTED = "0123"  # the journeys whose calls are counted, by the first digit of their identity: a quarter of them
CALLS_PER_ASK = 2_000  # of functions, for a request to a provider and what is made of its answer

SECRETS_OF_LOGS = (
    ACCESS_TOKEN,
    REFRESH_TOKEN,
    PASSWORD,
    *SECRETS,
    "fresh-access",
    "fresh-refresh",
    USER,
    *CLIENT_SECRETS,
)


class Examiner:
    """Fresh applications, and the rules. ``highest`` is what the costliest inputs so far took."""

    def __init__(self) -> None:
        self.renew()
        self.cost = Cost()
        self.highest = {"seals": 0, "calls": 0, "memory": 0}
        self._log = io.StringIO()
        self._handler = logging.StreamHandler(self._log)
        self._stray: list[str] = []
        self._counted = True
        self._unsaid: tuple[str, ...] = ()
        self.trace: list[tuple[World, Asked, list[Message]]] = []  # of the input that is examined

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

    def renew(self) -> None:
        """Fresh applications from now on."""
        self.worlds, self.with_providers = worlds(), with_providers()
        self._examined: set[str] = set()

    async def examine(self, data: bytes) -> None:
        """Raises BrokenRuleError where a rule does not hold."""
        try:
            await self._examine(Dice(data))
        except TooCostlyError:
            # What Python prepares at its first use (patterns, tables for quoting, lines for a traceback) is paid once.
            self.renew()
            await self._examine(Dice(data))

    async def _examine(self, dice: Dice) -> None:
        if dice.identity in self._examined:
            self.renew()  # the same input again has the same session and the same logout token, which was used
        self._examined.add(dice.identity)
        kind = dice.number(100)
        self.trace, self._unsaid, self._counted = [], (), kind < ALONE or dice.identity[0] in COUNTED
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self._stray.append(str(context["message"])))
        try:
            if kind < REQUESTS:
                await self._request(dice)
            elif kind < REFRESHES:
                await self._refresh(dice)
            elif kind < ALONE:
                PURE[kind % len(PURE)](dice)
            else:
                await self._journey(dice)
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

    async def _journey(self, dice: Dice) -> None:
        """A sign-in at a provider, what becomes of the session, or one of the ways in which that goes wrong."""
        flow = await dice.pick(JOURNEYS)(dice, self.with_providers, self.ask)
        self._unsaid = flow.unsaid
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()  # a revocation that is to be tried again after a second
        await asyncio.gather(*others, return_exceptions=True)

    async def ask(self, world: World, question: Asked) -> list[Message]:
        world.provider.said.bytes, before = 0, len(world.provider.said.asked)
        sent = await self._answered(world, question)
        said = world.provider.said
        self._within_bounds(question, world, asked=len(said.asked) - before, answered=said.bytes)
        return sent

    async def _answered(self, world: World, question: Asked) -> list[Message]:
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

        self.cost.start(counted=self._counted)
        try:
            async with asyncio.timeout(30):
                await world.app(question.scope, receive, send)
                await asyncio.sleep(0)  # background notes begin
        finally:
            self.cost.stop()
        self.trace.append((world, question, sent))
        judge_answer(sent, question, world, left=left)
        self.highest["seals"] = max(self.highest["seals"], self.cost.seals)
        need(self.cost.seals <= MOST_SEALS, f"I10: at most {MOST_SEALS} calls into authenticated encryption")
        return sent

    def _within_bounds(self, question: Asked, world: World, *, asked: int = 0, answered: int = 0) -> None:
        body = sum(len(message.get("body") or b"") for message in question.messages)
        query = len(question.scope["query_string"])
        headers = sum(len(value) for _, value in question.scope["headers"])
        size = body + query + headers + answered
        lines = len(question.scope["headers"])
        # A cookie header is searched for names, and no more is done at each, and at each line, than a few calls.
        parsed = min(body, 65_536) + min(query, 8_192) + headers // 8 + 8 * lines + min(answered, 65_536 * asked)
        cost = self.cost
        values = [value for name, value in question.jar.pairs if name == world.place.wire and b";" not in value]
        if (
            len(values) == len(question.jar.pairs)
            and sum(map(len, values)) > 33_000
            and question.scope.get("method") == "GET"
        ):
            need(not cost.seals, "I10: the size of cookies is judged before any cryptography")
        calls = cost.calls - CALLS_PER_BYTE * parsed - CALLS_PER_ASK * asked
        memory = cost.peak - MEMORY_PER_BYTE * size
        if calls > MOST_CALLS or memory > MOST_MEMORY:
            raise TooCostlyError("I10: a bounded number of calls, and bounded memory")
        for name, value in (("calls", calls), ("memory", memory)):
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
            unsaid = (*SECRETS_OF_LOGS, *self._unsaid)
            need(not any(secret in lines for secret in unsaid), "I7: no secret in a log line")


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
    if kind < REQUESTS:
        world = dice.pick(worlds())
        question = asked(dice, world.place, secure=world.secure)
        lines = [f"at {world.name}: {question.scope}", f"messages: {question.messages}", f"cookies: {question.jar}"]
    elif kind < REFRESHES:
        lines = [f"the provider answers {answers.answer(dice)}"]
    elif kind < ALONE:
        made = (answers.token_document, answers.answer, answers.wait)[kind % len(PURE)]
        lines = [f"{PURE[kind % len(PURE)].__name__.strip('_')}: {made(dice)!r}"]
    else:
        lines = asyncio.run(_told_of_journey(data))
    return "\n".join(line if len(line) < 2000 else f"{line[:2000]} … ({len(line)} characters)" for line in lines)


async def _told_of_journey(data: bytes) -> list[str]:
    lines: list[str] = []
    with Examiner() as examiner:
        try:
            await examiner.examine(data)
        except BrokenRuleError as error:
            lines.append(str(error))
        lines += [f"{world.name}: {world.provider.said}" for world in examiner.with_providers]
        for world, question, sent in examiner.trace:
            lines += [f"asked at {world.name}: {question.scope}", f"  with {question.messages}", f"answered: {sent}"]
    return lines
