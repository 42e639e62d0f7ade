from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asgi_token_rotation.types import Message, Scope
from fuzz import sources
from fuzz.cookies import Jar, place_of
from fuzz.cost import Cost
from fuzz.dice import Dice
from fuzz.examine import MOST_SEALS
from fuzz.minted import claims_of_ada, csrf_pair, token
from fuzz.requests import MARK, Asked
from fuzz.rules import BrokenRuleError, judge_answer
from fuzz.sources import Found, batch_of_seed, broken_by, in_words, seeded_inputs, smaller, with_hypothesis
from fuzz.worlds import World, worlds

SEED = 20_261_125


def nothing_broken(found: Found, *, inputs: int) -> None:
    assert not found.broken, f"{found.broken}\nINPUT={found.data.hex()} make fuzz"
    assert found.inputs >= inputs


@pytest.mark.parametrize("number", range(1, 19))
async def test_valid_input_that_was_changed(number: int) -> None:
    """I10: of 9,000 requests and provider answers that were changed none gives an exception, a 5xx, or unbounded work."""
    nothing_broken(await batch_of_seed(SEED, number, 500), inputs=500)


async def test_memory_is_bounded() -> None:
    """I10: of 200 such inputs none makes us hold more memory than a fixed amount and a few times its own size."""
    found = await batch_of_seed(SEED, 0, 200)
    nothing_broken(found, inputs=200)
    assert found.highest["memory"] > 0


def test_what_hypothesis_chooses() -> None:
    """I10: nor does one of 800 inputs that Hypothesis chose."""
    nothing_broken(with_hypothesis(SEED, 0, 800), inputs=700)


async def test_the_same_seed_gives_the_same_inputs() -> None:
    """What a run found can be found again: inputs and their cost depend on nothing but the seed."""
    assert list(seeded_inputs(SEED, 1, 20)) == list(seeded_inputs(SEED, 1, 20))
    first, second = [await batch_of_seed(SEED, 1, 40) for _ in range(2)]
    assert first.highest["seals"] == second.highest["seals"]
    assert first.inputs == second.inputs == 40


# The rules themselves must be able to fail.

OWN = worlds()[0]
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
JSON, HTML = (b"content-type", b"application/json"), (b"content-type", b"text/html; charset=utf-8")
SESSION = OWN.place.wire


def answer(body: bytes = b"", *headers: tuple[bytes, bytes], status: int = 200) -> list[Message]:
    start = {**START, "status": status, "headers": [*headers]}
    return [start, {"type": "http.response.body", "body": body}]


def question(who: str = "either", *, may_end: bool = False) -> Asked:
    scope: Scope = {"type": "http", "headers": [(b"host", b"testserver")], "path": "/", "method": "GET"}
    return Asked(scope=scope, messages=[], jar=Jar([(SESSION, b"x")], who), may_end=may_end)


BROKEN: dict[str, tuple[list[Message], str]] = {
    "nothing": ([], "either"),
    "two starts": ([START, *answer()], "either"),
    "no body": ([START], "either"),
    "no end": ([START, {"type": "http.response.body", "more_body": True}], "either"),
    "a 500": (answer(status=500), "either"),
    "a line break": (answer(b"", (b"x", b"a\r\nset-cookie: b")), "either"),
    "a text for bytes": (answer(b"", ("x", b"a")), "either"),  # type: ignore[arg-type]
    "a wrong length": (answer(b"x", JSON, (b"content-length", b"2")), "either"),
    "a cleared session": (answer(b"", (b"set-cookie", SESSION + b"=; Max-Age=0")), "either"),
    "a foreign cookie": (answer(b"", (b"set-cookie", b"other=1")), "either"),
    "a long cookie": (answer(b"", (b"set-cookie", SESSION + b"=" + b"x" * 4096)), "either"),
    "a cookie twice": (answer(b"", (b"set-cookie", SESSION + b"=1"), (b"set-cookie", SESSION + b"=2")), "either"),
    "a foreign place": (answer(b"", (b"location", b"http://evil.example/"), status=302), "either"),
    "a place of a user": (answer(b"", (b"location", b"http://testserver@evil.example/"), status=302), "either"),
    "a place without a host": (answer(b"", (b"location", b"//evil.example/"), status=302), "either"),
    "a place in JSON": (answer(b'{"url":"http://testserver.evil.example"}', JSON), "either"),
    "a script": (answer(b"<!doctype html><script>x</script>", HTML), "either"),
    "a handler": (answer(b'<p onclick="x">', HTML), "either"),
    "a foreign link": (answer(b'<a href="javascript:x">', HTML), "either"),
    "input as it is": (answer(MARK.encode(), HTML), "either"),
    "a forged session": (answer(b'{"user":{"email":"ada@example.com"},"expires":""}', JSON), "nobody"),
    "a lost session": (answer(b"{}", JSON), "ada"),
    "somebody else": (answer(b'{"user":{"email":"bob@example.com"},"expires":""}', JSON), "either"),
    "a shared answer": (answer(b"", (b"cache-control", b"public, s-maxage=60")), "ada"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_rules_can_break(name: str) -> None:
    """Each rule notices what it is there for."""
    sent, who = BROKEN[name]
    with pytest.raises(BrokenRuleError):
        judge_answer(sent, question(who), OWN, left=False)


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_rules_about_foreign_pages_can_break(kind: str) -> None:
    """I11: a foreign page's request that is served, and its socket with a session, are noticed."""
    headers = [(b"host", b"testserver"), (b"origin", b"http://evil.example")]
    scope: Scope = {"type": kind, "headers": headers, "path": "/api/auth/session", "method": "POST"}
    served = answer(b"null", JSON, (b"x-content-type-options", b"nosniff"))
    socket: list[Message] = [{"type": "websocket.accept", "headers": [], "session": {"user": {}}}]
    asked = Asked(scope=scope, messages=[], jar=Jar([], "either"), may_end=False)
    with pytest.raises(BrokenRuleError, match="I11"):
        judge_answer(served if kind == "http" else socket, asked, OWN, left=False)


def test_rules_hold_for_a_good_answer() -> None:
    """An ordinary answer breaks no rule."""
    headers = (
        (b"location", b"http://testserver/x"),
        (b"set-cookie", SESSION + b"=1; Path=/"),
        (b"cache-control", b"no-store"),
    )
    judge_answer(answer(b"", *headers, status=302), question(), OWN, left=False)
    judge_answer(answer(b"", (b"set-cookie", SESSION + b"=; Max-Age=0")), question(may_end=True), OWN, left=False)
    judge_answer([], question(), OWN, left=True)


def test_calls_into_encryption_are_counted() -> None:
    """Both encryptions' calls are seen by the count, so a bound on it means something."""
    cost, dice = Cost(), Dice(b"")
    for encryption in ("A256GCM", "A256CBC-HS512"):
        token(b"{}", dice, name="n", dialect="authjs", encryption=encryption)  # derives the key
        cost.start()
        for _ in range(MOST_SEALS + 1):
            token(b"{}", dice, name="n", dialect="authjs", encryption=encryption)
        cost.stop()
        assert cost.seals == MOST_SEALS + 1, encryption


async def test_what_the_inputs_are_made_of_is_valid() -> None:
    """An unchanged input is served: Ada's cookie opens, and her CSRF token counts. Else nothing would be tested."""
    dice, world = Dice(b""), worlds()[0]
    csrf_token, csrf_cookie = csrf_pair(dice)
    signed_in = token(json_of(claims_of_ada(dice)), dice, name=world.place.name, dialect="authjs")
    cookies = b"; ".join((SESSION + b"=" + signed_in, b"authjs.csrf-token=" + csrf_cookie.encode()))
    sent = await asked_of(world, cookies, f'{{"csrfToken":"{csrf_token}","data":{{"theme":"dark"}}}}'.encode())
    assert b'"theme":"dark"' in sent[1]["body"]
    assert b"ada@example.com" in sent[1]["body"]
    assert any(name == b"set-cookie" and value.startswith(SESSION) for name, value in sent[0]["headers"])


def test_a_finding_is_made_smaller() -> None:
    """What is reported is shorter than what was found, and breaks the same rule."""
    assert broken_by(next(iter(seeded_inputs(SEED, 1, 1)))) == ""
    with pytest.raises(BrokenRuleError, match="a sentence") as caught:
        raise BrokenRuleError("a sentence")
    assert in_words(caught.value) == "a sentence"
    data = bytes((40,)) + bytes(range(40)) + b"material"
    breaks = lambda candidate: "rule" if b"\x07" in candidate[1 : 1 + candidate[0]] else ""  # noqa: E731
    assert smaller(data, "rule", breaks=breaks) == b"\x01\x07"


def json_of(claims: dict[str, Any]) -> bytes:
    return sources.json.dumps(claims).encode()


async def asked_of(world: World, cookies: bytes, body: bytes) -> list[Message]:
    headers = [(b"host", b"testserver"), (b"cookie", cookies), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/auth/session",
        "query_string": b"",
        "headers": headers,
        "scheme": "http",
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(10):
        await world.app(scope, receive, send)
    assert place_of("authjs", secure=False) == world.place
    return sent
