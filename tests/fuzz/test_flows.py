from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from asgi_token_rotation._cookies.chunks import Attributes
from asgi_token_rotation._endpoints.checks import ChecksCookies
from asgi_token_rotation.types import Message
from fuzz import flow_rules as rules
from fuzz.cookies import Jar
from fuzz.dice import Dice
from fuzz.examine import ALONE, Examiner
from fuzz.flows import Flow, cookie_name, right, sealed
from fuzz.minted import NOW, SECRETS
from fuzz.openid import AUTHORIZE, CLIENT_SECRET, CLIENT_SECRETS, END, ISSUER, oauth2, openid
from fuzz.requests import Asked
from fuzz.rules import BrokenRuleError, judge_answer
from fuzz.signed import token
from fuzz.sources import seeded_inputs
from fuzz.visitor import Visitor
from fuzz.worlds import with_providers

WORLDS = [0, 1, 2]
OPENID = with_providers()[0]
IDENTITY = Dice(b"").identity
FLOW = right(Dice(b""), OPENID)
STATE, SESSION = OPENID.state + b"." + FLOW.checks.flow.encode(), OPENID.place.wire
SPENT, BEGUN = (b"set-cookie", STATE + b"=; Max-Age=0; Path=/"), (b"set-cookie", SESSION + b"=eyJ; Path=/")
UNCACHED = (b"cache-control", b"private, no-store")


def answer(*headers: tuple[bytes, bytes], status: int = 302, body: bytes = b"") -> list[Message]:
    start = {"type": "http.response.start", "status": status, "headers": [*headers]}
    return [start, {"type": "http.response.body", "body": body}]


def there(url: str, *more: tuple[bytes, bytes]) -> list[Message]:
    return answer((b"location", url.encode()), *more)


def came(sent: list[Message], *asked: str, wrong: str = "", early: bool = False, unsure: bool = False) -> None:
    """What the rules say of an answer to a callback."""
    flow = Flow(checks=FLOW.checks, identity=IDENTITY, params=FLOW.params, wrong=wrong, early=early, unsure=unsure)
    flow.said.asked += asked
    rules.judge_arrival(sent, flow, OPENID, query=flow.query)


def authorization(**changes: str) -> str:
    """A URL to send somebody to; an empty text takes a parameter out."""
    given = {
        "client_id": "app", "response_type": "code", "code_challenge_method": "S256", "code_challenge": "x" * 43, "scope": "openid profile email",
        "redirect_uri": f"{OPENID.address}/api/auth/callback/op", "state": FLOW.checks.state, "nonce": "n", **changes,
    }  # fmt: skip
    return f"{AUTHORIZE}?" + "&".join(f"{name}={value}" for name, value in given.items() if value)


def begun(url: str, *, cookie: bytes = b"", may: bool = True, must: bool = True) -> None:
    """What the rules say of an answer to POST signin."""
    cookie = cookie or STATE + b"=eyJ; Max-Age=900; Path=/api/auth"
    rules.judge_begin(there(url, *([(b"set-cookie", cookie)] if cookie != b"none" else [])), OPENID, may=may, must=must)


def refreshed(session: dict[str, Any], outcome: rules.Outcome, *asked: str, written: bool = True) -> None:
    """What the rules say of a session that was due."""
    said = Flow(checks=FLOW.checks, identity=IDENTITY).said
    said.asked += asked
    rules.judge_refreshed(session, said, outcome=outcome, why="a reason", written=written)


def signed_out(url: str, *, must: bool = True, hint: str | None = "hint") -> None:
    rules.judge_sign_out(there(url), OPENID, hint=hint, must=must)


ADA, REFUSED = {"user": {"name": "Ada"}}, {"user": {"name": "Ada"}, "error": "RefreshAccessTokenError"}
OUT = f"{END}?client_id=app&post_logout_redirect_uri=https%3A%2F%2Fexample.com%2F&id_token_hint=hint"
TAKEN, NOT_TAKEN = answer(UNCACHED, status=200), answer(UNCACHED, status=400)

BROKEN: dict[str, Callable[[], None]] = {
    "a session by a bent callback": lambda: came(answer(SPENT, BEGUN), "token", wrong="another nonce"),
    "a session in chunks by a bent callback": lambda: came(
        answer(SPENT, (b"set-cookie", SESSION + b".0=eyJ")), wrong="x"
    ),
    "no session by a good callback": lambda: came(answer(SPENT), "token"),
    "a session lost by a failed callback": lambda: came(
        answer(SPENT, (b"set-cookie", SESSION + b"=; Max-Age=0; Path=/")), wrong="another state"
    ),
    "a code on its way that is not meant": lambda: came(answer(SPENT), "token", wrong="another state", early=True),
    "a flow that is not spent": lambda: came(answer(BEGUN)),
    "another flow that is spent": lambda: came(answer(BEGUN, (b"set-cookie", STATE[:-1] + b"x=; Max-Age=0; Path=/"))),
    "a provider that is asked for ever": lambda: came(answer(SPENT, BEGUN), *["jwks"] * 8),
    "a verifier in a body": lambda: came(answer(SPENT, BEGUN, body=FLOW.checks.verifier.encode())),
    "a code in an address": lambda: came(there(f"/?code={FLOW.checks.code}", SPENT, BEGUN)),
    "a nonce in a cookie": lambda: came(answer(SPENT, BEGUN, (b"set-cookie", b"x=" + FLOW.checks.nonce.encode()))),
    "the client's secret in a body": lambda: came(answer(SPENT, BEGUN, body=CLIENT_SECRETS[1].encode())),
    "a cookie by a form from elsewhere": lambda: rules.judge_bounce(answer(BEGUN), FLOW, OPENID),
    "a verifier sent on": lambda: rules.judge_bounce(there(f"/?x={FLOW.checks.verifier}"), FLOW, OPENID),
    "nobody sent to the provider": lambda: begun("https://example.com/"),
    "somebody sent who did not ask": lambda: begun(authorization(), may=False, must=False),
    "a flow for nobody": lambda: begun("https://example.com/", must=False),
    "no flow": lambda: begun(authorization(), cookie=b"none"),
    "another flow": lambda: begun(authorization(), cookie=OPENID.state + b".0123456789abcdef=eyJ"),
    "a state that can be read": lambda: begun(authorization(), cookie=STATE + b"=e" + FLOW.checks.state[17:].encode()),
    "another client": lambda: begun(authorization(client_id="evil")),
    "another way back": lambda: begun(authorization(redirect_uri="https://evil.example/api/auth/callback/op")),
    "a parameter twice": lambda: begun(authorization() + "&client_id=app"),
    "more scopes": lambda: begun(authorization(scope="openid profile email admin")),
    "no PKCE": lambda: begun(authorization(code_challenge="")),
    "plain PKCE": lambda: begun(authorization(code_challenge_method="plain")),
    "no state": lambda: begun(authorization(state="")),
    "a request by reference": lambda: begun(authorization(request_uri="https://evil.example/")),
    "a session ended by a refresh": lambda: refreshed({}, "either"),
    "a refusal that nobody spoke": lambda: refreshed(REFUSED, "not refused"),
    "a good refresh that is refused": lambda: refreshed(REFUSED, "kept"),
    "a bent refresh that is taken": lambda: refreshed(ADA, "refused"),
    "tokens that are lost": lambda: refreshed(ADA, "kept", written=False),
    "tokens in doubt": lambda: refreshed({**ADA, "error": "RefreshUnavailable"}, "kept"),
    "a token that is sent three times": lambda: refreshed(ADA, "kept", "token", "token", "token"),
    "a bent logout that is taken": lambda: rules.judge_logout(TAKEN, verdict="refused"),
    "a good logout that is refused": lambda: rules.judge_logout(NOT_TAKEN, verdict="good"),
    "a logout with a cookie": lambda: rules.judge_logout(answer(UNCACHED, BEGUN, status=200), verdict="good"),
    "a logout that is cached": lambda: rules.judge_logout(answer(status=200), verdict="good"),
    "a logout that stays here": lambda: signed_out("https://example.com/"),
    "a logout to elsewhere": lambda: signed_out(OUT.replace("example.com", "evil.example")),
    "somebody else's hint": lambda: signed_out(OUT, hint="another"),
    "a logout of another client": lambda: signed_out(OUT.replace("=app", "=evil")),
    "an address that is too long": lambda: signed_out(OUT + "x" * 9000, hint="hint" + "x" * 9000),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_rules_can_break(name: str) -> None:
    """Each rule about sign-ins, refreshes and logouts notices what it is there for."""
    with pytest.raises(BrokenRuleError):
        BROKEN[name]()


def test_rules_hold_for_good_answers() -> None:
    """What is right breaks no rule."""
    came(answer(SPENT, BEGUN), "discovery", "token", "jwks", "userinfo")
    came(answer(SPENT), "token", wrong="another nonce")
    rules.judge_bounce(there(f"/?code={FLOW.checks.code}&state={FLOW.checks.state}"), FLOW, OPENID)
    begun(authorization())
    refreshed(ADA, "kept", "token", "token")
    refreshed(REFUSED, "refused", "token")
    rules.judge_logout(TAKEN, verdict="good")
    rules.judge_logout(NOT_TAKEN, verdict="refused")
    signed_out(OUT)


@pytest.mark.parametrize(("path", "url"), [("/api/auth/session", AUTHORIZE), ("/api/auth/signin/op", END)])
def test_rule_about_redirects_can_break(path: str, url: str) -> None:
    """I12: POST signin leads to the authorization endpoint, POST signout to the sign-out's, and nothing else to either."""
    scope = {"type": "http", "headers": [(b"host", b"example.com")], "path": path, "method": "POST"}
    asked = Asked(scope=scope, messages=[], jar=Jar([], "either"), may_end=False)
    with pytest.raises(BrokenRuleError, match="foreign origin"):
        judge_answer(there(f"{url}?x=y"), asked, OPENID, left=False)


def at(number: int, headers: list[tuple[bytes, bytes]], *, now: float = NOW) -> Any:
    """What the package itself finds of a flow in these headers."""
    world, dice = with_providers()[number], Dice(b"")
    attributes = Attributes(secure=world.secure)
    cookies = ChecksCookies(SECRETS, attributes, dialect=world.place.dialect)
    return cookies.find({"type": "http", "headers": headers}, right(dice, world).checks.state, now=now)


@pytest.mark.parametrize("number", WORLDS)
def test_checks_are_sealed_as_the_package_seals_them(number: int) -> None:
    """The package opens the checks that the inputs are made of, and finds in them what they hold."""
    world, dice = with_providers()[number], Dice(b"")
    made = right(dice, world)
    found = at(number, [(b"cookie", cookie_name(made.checks, world) + b"=" + sealed(made.checks, world, dice))])
    assert (found.state, found.verifier, found.provider) == (made.checks.state, made.checks.verifier, "op")
    assert found.nonce == (made.checks.nonce if world.openid else None)


@pytest.mark.parametrize("number", WORLDS)
async def test_what_the_inputs_are_made_of_is_valid(number: int) -> None:
    """A flow that nothing was changed of begins a session, so that what is refused is refused for what was changed."""
    with Examiner() as examiner:
        world, dice = examiner.with_providers[number], Dice(bytes((number,)))
        made = right(dice, world)
        world.provider.said = made.said
        visitor = Visitor(dice, world, examiner.ask)
        visitor.cookies.update(made.cookies)
        sent = await visitor.get("/api/auth/callback/op", made.query)
        assert rules.begins(sent, world)
        assert rules.leads_to(sent) == f"{world.address}/welcome"
        assert (await visitor.session(who="ada"))["user"]["name"] == "Ada"
        assert made.said.asked == (["discovery"] if world.openid else []) + ["token"] + ["jwks"] * world.openid + [
            "userinfo"
        ]


async def test_every_journey_is_made() -> None:
    """Of some hundred inputs, sessions begin and do not, are refreshed, and are ended from behind: no rule holds in vain."""
    seen = Counter[str]()
    with Examiner() as examiner:
        for data in seeded_inputs(20_261_125, 40, 700):
            if Dice(data).number(100) >= ALONE:
                await examiner.examine(data)
                for world, question, sent in examiner.trace:
                    scope = question.scope
                    action = scope["path"].removeprefix("/api/auth/").partition("/")[0]
                    if scope["type"] == "http":
                        kind = "begins" if rules.begins(sent, world) else sent[0]["status"]
                        seen[f"{scope['method']} {action}: {kind}"] += 1
    for kind in ("GET callback: begins", "GET : begins", "GET callback: 302", "POST callback: 303", "POST signin: 302", "POST signout: 302",
                 "POST backchannel-logout: 200", "POST backchannel-logout: 400"):  # fmt: skip
        assert seen[kind] >= 3, (kind, seen)


def test_no_secret_in_a_repr() -> None:
    """I7: a provider's repr has no client secret."""
    assert CLIENT_SECRET not in f"{oauth2()!r} {openid()!r}"


def test_tokens_are_the_same_in_every_run() -> None:
    """What a run found can be found again: a token depends on the input alone, its signature included."""
    claims, data = {"iss": ISSUER}, bytes((40, *range(40)))
    assert token(claims, Dice(data)) == token(claims, Dice(data))
