"""Sign-ins that come back from a provider: good ones, and ones with something wrong, which must begin no session."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from fuzz.cookies import mutated
from fuzz.dice import Dice
from fuzz.minted import FOREIGN, NOW, SECRETS, token
from fuzz.openid import API, CLIENT, ISSUER, Grant, Said, ada, part, s256
from fuzz.signed import GONE, Token, Verdict, good
from fuzz.worlds import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What one sign-in must find again (RFC 6749, 10.12; RFC 7636; Core, 3.1.2.1), and the code that it gets."""

    state: str
    nonce: str
    challenge: str
    code: str
    verifier: str = ""  # unknown where the package made it

    @property
    def flow(self) -> str:
        """The flow's name."""
        return self.state[:16]

    def claims(self, world: World) -> dict[str, Any]:
        """What its cookie holds, of a sign-in that began a moment ago."""
        claims = {
            "provider": "op", "state": self.state, "verifier": self.verifier, "began": NOW - 5,
            "callback_url": f"{world.address}/welcome", "exp": int(NOW - 5 + 900), "iat": int(NOW - 5),
        }  # fmt: skip
        return {**claims, "nonce": self.nonce} if world.openid else claims


def checks_of(identity: str) -> Checks:
    """One flow for one identity."""
    verifier = f"verifier-{identity[:43]}"
    return Checks(
        state=f"{int(NOW - 5):08x}{identity[:8]}.{part(bytes.fromhex(identity))}", nonce=f"nonce-{identity[:37]}",
        challenge=s256(verifier), code=f"code-{identity[:30]}", verifier=verifier,
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Flow:
    """Somebody who comes back. ``wrong`` says why no session may begin; "" where one must, unless it is ``unsure``."""

    checks: Checks
    identity: str
    provider: str = "op"  # in the path
    params: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    cookies: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    said: Said = field(default_factory=Said)
    wrong: str = ""
    unsure: bool = False
    early: bool = False  # wrong by what the browser brings: the provider must not see the code
    anew: bool = False  # at an application that knows nothing of the provider yet
    subject: str = ""
    id_token: Token | None = None

    @property
    def query(self) -> bytes:
        """Of the way back."""
        return urlencode(self.params, errors="replace").encode()

    def is_wrong(self, why: str, verdict: Verdict = "refused", *, early: bool = False) -> None:
        """Note what is not as it should be."""
        if verdict == "refused":
            self.wrong, self.early = self.wrong or why, self.early or early
        self.unsure = self.unsure or verdict == "either"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What stands in no body and in no log line."""
        checks = self.checks
        known = (
            checks.state[17:], checks.verifier, checks.nonce, checks.code, self.access_token, self.refresh_token,
            self.old_refresh_token,
        )  # fmt: skip
        return tuple(secret for secret in known if secret)

    @property
    def unsaid(self) -> tuple[str, ...]:
        """What stands in no log line: those, and the ID token."""
        text = None if self.id_token is None else self.id_token.text
        whole = [text] if isinstance(text, str) and len(text) > 100 else []
        return (*self.secrets, *self.said.spoken, *whole)

    @property
    def access_token(self) -> str:
        """What the code is good for."""
        return f"access-{self.identity[:30]}"

    @property
    def refresh_token(self) -> str:
        """And what that is prolonged with."""
        return f"refresh-{self.identity[:30]}"

    @property
    def old_refresh_token(self) -> str:
        """What it was prolonged with before."""
        return f"old-refresh-{self.identity[:30]}"


def sealed(checks: Checks, world: World, dice: Dice, *, secret: str = SECRETS[0], **changes: Any) -> bytes:
    """The value of its cookie, by the contract's derivation (the tests hold it against the package's own)."""
    claims = {name: value for name, value in {**checks.claims(world), **changes}.items() if value is not GONE}
    dialect = world.place.dialect
    return token(
        json.dumps(claims).encode(), dice, name=world.state.decode(), dialect=dialect, secret=secret, salted=True
    )


def cookie_name(checks: Checks, world: World) -> bytes:
    """The name of its cookie."""
    return world.state + b"." + checks.flow.encode()


def right(dice: Dice, world: World, checks: Checks | None = None) -> Flow:
    """A good one."""
    checks = checks or checks_of(dice.identity)
    made = Flow(checks=checks, identity=dice.identity, subject=f"user-{dice.identity[:20]}")
    made.params = [("state", checks.state), ("code", checks.code), ("iss", ISSUER)]
    made.cookies = [(cookie_name(checks, world), sealed(checks, world, dice))]
    granted(made, dice, world)
    return made


def granted(made: Flow, dice: Dice, world: World, **changes: Any) -> None:
    """What the code stands for. The token set is made when it is asked for."""

    def document() -> Mapping[str, Any]:
        whole = {**document_of(made, dice, world), **changes}
        return {name: value for name, value in whole.items() if value is not GONE}

    redirect = f"{world.address}/api/auth/callback/{made.provider}"
    made.said.grants = {made.checks.code: Grant(made.checks.challenge, redirect, document)}
    made.said.userinfo = made.said.userinfo or ada(made.subject)


def id_claims(made: Flow) -> dict[str, Any]:
    """Of an ID token of this sign-in (Core, 2)."""
    user = {name: value for name, value in ada(made.subject).items() if name != "sub"}
    return {
        "iss": ISSUER, "aud": CLIENT, "sub": made.subject, "nonce": made.checks.nonce, "iat": int(NOW - 1),
        "exp": int(NOW + 300), "sid": sid_of(made), **user,
    }  # fmt: skip


def sid_of(made: Flow) -> str:
    """The provider's session."""
    return f"sid-{made.identity[:20]}"


def access_claims(made: Flow) -> dict[str, Any]:
    """Of an access token that is a JWT (RFC 9068, 2.2)."""
    return {
        "iss": ISSUER, "aud": API, "sub": made.subject, "client_id": CLIENT, "iat": int(NOW - 1), "exp": int(NOW + 3600),
        "jti": made.identity,
    }  # fmt: skip


def document_of(made: Flow, dice: Dice, world: World) -> dict[str, Any]:
    """What the token endpoint answers."""
    document = {
        "access_token": made.access_token, "refresh_token": made.refresh_token, "token_type": "Bearer", "expires_in": 3600,
    }  # fmt: skip
    if world.verified:
        document["access_token"] = good(access_claims(made), dice, kind="access")
    return {**document, "id_token": id_token_of(made, dice)} if world.openid else document


def id_token_of(made: Flow, dice: Dice) -> Any:
    """Its ID token: a good one, unless it has one already."""
    if made.id_token is None:
        made.id_token = Token(good(id_claims(made), dice))
    return made.id_token.text


# What the browser brings.


def _other_state(made: Flow, dice: Dice, world: World) -> None:
    state = made.checks.state
    bent = dice.pick(
        (
            state[:-1] + ("A" if state[-1] != "A" else "B"), state[::-1], state.upper(), f"{state}x", state[:16], "", "x" * 60,
            f"{state[:16]}.{part(hashlib.sha256(state.encode()).digest())}", f" {state}", "\ud83d\ude00" * 20, "." * 60,
        )
    )  # fmt: skip
    if dice.chance(20):
        bent = dice.text(80)
    made.params[0] = ("state", bent)
    made.is_wrong("another state", early=True)


def _missing(made: Flow, dice: Dice, world: World) -> None:
    at = dice.number(3)
    name, _ = made.params.pop(at)
    if name != "iss" or world.openid:  # which only a provider that says so must send (RFC 9207, 2.4)
        made.is_wrong(f"no {name}", early=True)


def _no_cookie(made: Flow, dice: Dice, world: World) -> None:
    made.cookies = []
    made.is_wrong("no checks cookie", early=True)


def _changed_cookie(made: Flow, dice: Dice, world: World) -> None:
    name, value = made.cookies[0]
    bent = mutated(dice, value)
    made.cookies[0] = (name, bent)
    made.is_wrong("another checks cookie", "either" if value in bent else "refused", early=True)


def _foreign_cookie(made: Flow, dice: Dice, world: World) -> None:
    """Sealed for something else, or by somebody else."""
    claims = json.dumps(made.checks.claims(world)).encode()
    options: dict[str, Any] = {"name": world.state.decode(), "dialect": world.place.dialect, "salted": True}
    options |= dice.pick(
        ({"secret": FOREIGN}, {"name": world.place.name}, {"name": world.state.decode() + "x"}, {"secret": CLIENT})
    )
    made.cookies[0] = (made.cookies[0][0], token(claims, dice, **options))
    made.is_wrong("a foreign checks cookie", early=True)


def _older_secret(made: Flow, dice: Dice, world: World) -> None:
    made.cookies[0] = (made.cookies[0][0], sealed(made.checks, world, dice, secret=SECRETS[1]))


def _other_claims(made: Flow, dice: Dice, world: World) -> None:
    name = dice.pick(("provider", "state", "verifier", "callback_url", "began", "nonce", "exp"))
    value = dice.pick((GONE, None, 7, [], {}, True, 0, -1, NOW - 901, "x", "\ud800"))
    if name == "callback_url" and isinstance(value, str):
        value = GONE  # the package seals none but its own addresses
    made.cookies[0] = (made.cookies[0][0], sealed(made.checks, world, dice, **{name: value}))
    fine = (name == "nonce" and not world.openid) or (name == "exp" and value is GONE)
    early = name not in ("nonce", "verifier")
    made.is_wrong(f"a checks cookie with another {name}", "either" if fine else "refused", early=early)


def _other_time(made: Flow, dice: Dice, world: World) -> None:
    began, fine = dice.pick(
        (
            (NOW - 900, False), (NOW - 899, True), (NOW + 901, False), (NOW + 60, True), (NOW - 86_400, False), (0.0, False),
            (-1.0, False), (2.0**40, False),
        )
    )  # fmt: skip
    exp = dice.pick((int(NOW + 600), int(NOW + 600), int(NOW - 16)))
    made.cookies[0] = (made.cookies[0][0], sealed(made.checks, world, dice, began=began, exp=exp))
    if not fine or exp < NOW:
        made.is_wrong("too late", early=True)


def _other_provider(made: Flow, dice: Dice, world: World) -> None:
    """Begun with one, and back from another one."""
    way = dice.number(3)
    if way < 2:
        made.cookies[0] = (made.cookies[0][0], sealed(made.checks, world, dice, provider=("other", "credentials")[way]))
    else:
        made.provider = "other"
    made.is_wrong("another provider", early=True)


def _swapped(made: Flow, dice: Dice, world: World) -> None:
    """Two sign-ins of one browser, mixed up: an attacker's code in somebody's flow."""
    other = checks_of(hashlib.sha256(made.identity.encode()).hexdigest())
    its = (cookie_name(other, world), sealed(other, world, dice))
    way = dice.number(3)
    if way == 0:
        made.cookies = [(made.cookies[0][0], its[1])]
        made.is_wrong("a cookie with another flow's checks", early=True)
    elif way == 1:
        made.cookies.append(its)
        made.params[0] = ("state", other.state)
        made.is_wrong("another flow's state")  # it is PKCE that the code fails by
    else:
        made.cookies.append(its)
        made.params[1] = ("code", other.code)
        made.is_wrong("another flow's code")


def _other_issuer(made: Flow, dice: Dice, world: World) -> None:
    issuer = dice.pick(("https://evil.example", "", f"{ISSUER}/", ISSUER.upper(), f"{ISSUER} ", "x" * 3000))
    made.params[2] = ("iss", issuer)
    made.is_wrong("another issuer", early=True)


def _error(made: Flow, dice: Dice, world: World) -> None:
    code = dice.pick(
        ("access_denied", "login_required", "server_error", "", "<fz\"'>", "x" * 3000, "\r\nx", "\ud83d\ude00")
    )
    made.params.insert(dice.number(4), ("error", code))
    if dice.chance(50):
        made.params.append(("error_description", dice.text(60)))
    made.is_wrong("an error answer", early=True)


def _other_code(made: Flow, dice: Dice, world: World) -> None:
    code = dice.pick(("", "x" * 4097, "x" * 4096, "other", "\x00", "\u20ac" * 600, "&" * 1000, " "))
    made.params[1] = ("code", code)
    made.is_wrong("another code", early=code == "" or len(code) > 4096)


def _giant(made: Flow, dice: Dice, world: World) -> None:
    """What is longer than any query of a provider counts as none."""
    made.params += dice.pick(([("x", "y" * 9000)], [("x", "y")] * 101, [("y" * 9000, "")]))
    made.is_wrong("a giant query", early=True)


def _twice(made: Flow, dice: Dice, world: World) -> None:
    """A parameter that comes twice (RFC 6749, 3.1): what counts is one of them, and it must be good."""
    name, value = dice.pick(made.params)
    made.params.insert(dice.number(4), (name, dice.pick((value, "x", ""))))
    made.is_wrong("a parameter twice", "either")


BROUGHT: tuple[Callable[[Flow, Dice, World], None], ...] = (
    _other_state, _missing, _no_cookie, _changed_cookie, _changed_cookie, _foreign_cookie, _other_claims, _other_time,
    _other_provider, _swapped, _swapped, _other_issuer, _error, _other_code, _giant, _twice, _older_secret,
)  # fmt: skip
