"""The cookie header of an input: a valid session cookie, and what a client can do to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asgi_token_rotation._cookies.ciphers import b64url_encode
from fuzz.dice import Dice
from fuzz.minted import FOREIGN, NOW, SECRETS, STEMS, Dialect, claims_of_ada, token

ALPHABET = b"ABCXYZabcxyz0189-_"
ODD = (b"=", b"+", b"/", b" ", b'"', b";", b",", b".", b"%", b"\\", b"\t", b"\xff", b"\x00", b"%2E", b"; ")


@dataclass(frozen=True, slots=True)
class Jar:
    """The cookies of one name. ``who``: "ada" must be signed in, "nobody" must be, "either" is right."""

    pairs: list[tuple[bytes, bytes]]
    who: str = "either"


@dataclass(frozen=True, slots=True)
class Place:
    """Which session cookie an application has."""

    name: str
    dialect: Dialect

    @property
    def wire(self) -> bytes:
        """Its name in a header."""
        return self.name.encode()


def place_of(dialect: Dialect, *, secure: bool) -> Place:
    """The cookie of an application with that dialect."""
    return Place(("__Secure-" if secure else "") + STEMS[dialect] + ".session-token", dialect)


def valid(dice: Dice, place: Place, **more: Any) -> bytes:
    """Ada's cookie."""
    return token(json.dumps(claims_of_ada(dice, **more)).encode(), dice, name=place.name, dialect=place.dialect)


def intact(dice: Dice, place: Place) -> Jar:
    """The cookie as a browser sends it."""
    return Jar([(place.wire, valid(dice, place))], "ada")


def old_secret(dice: Dice, place: Place) -> Jar:
    """Sealed by the older secret: opened, and sealed anew."""
    text = json.dumps(claims_of_ada(dice)).encode()
    encryption = "A256CBC-HS512" if place.dialect == "authjs" and dice.chance(50) else "A256GCM"
    sealed = token(
        text, dice, name=place.name, dialect=place.dialect, secret=SECRETS[dice.number(2)], encryption=encryption
    )
    return Jar([(place.wire, sealed)], "ada")


def beside_forged(dice: Dice, place: Place) -> Jar:
    """Garbage of the same name before or behind it: at most three, as four are tried."""
    good = (place.wire, valid(dice, place))
    pairs = [(place.wire, mutated(dice, good[1])) for _ in range(1 + dice.number(3))]
    pairs.insert(dice.number(len(pairs) + 1), good)
    small = b";" not in b"".join(value for _, value in pairs) and sum(len(value) for _, value in pairs) < 30_000
    return Jar(pairs, "ada" if small else "either")


def in_chunks(dice: Dice, place: Place) -> Jar:
    """Cut into chunks, each but the last of one length, in any order of arrival."""
    size = 200 + dice.number(3000)
    good = valid(dice, place, pad="x" * dice.pick((10, 3000, 9000)))
    parts = [good[at : at + size] for at in range(0, len(good), size)]
    pairs = [(place.wire + b".%d" % number, part) for number, part in enumerate(parts)]
    # 32 cookies of one name are looked at, 32 KiB are read.
    whole = len(pairs) <= 32 and len(good) <= 32_000
    if dice.chance(30):
        pairs.reverse()
    return Jar(pairs, "ada" if whole else "either")


def torn_chunks(dice: Dice, place: Place) -> Jar:
    """Chunks that are missing, doubled, misnumbered, stale, or mixed with a plain cookie."""
    pairs = in_chunks(dice, place).pairs[:40]
    for _ in range(1 + dice.number(4)):
        at = dice.number(len(pairs)) if pairs else 0
        suffix = dice.pick(
            (b".0", b".1", b".01", b".999", b".1000", b".-1", b".", b".0.0", b".1e1", b"", b"x", b".\xb2")
        )
        odd = (place.wire + suffix, mutated(dice, pairs[at][1] if pairs else b"A"))
        action = dice.number(4)
        if action == 0:
            del pairs[at : at + 1]
        elif action == 1:
            pairs.insert(at, odd)
        elif action == 2:
            pairs[at : at + 1] = [odd]
        else:
            pairs += pairs[at : at + 1]
    return Jar(pairs)


def forged(dice: Dice, place: Place) -> Jar:
    """The cookie, changed somewhere."""
    good = valid(dice, place)
    bad = good
    for _ in range(1 + dice.number(3)):
        bad = mutated(dice, bad)
    return Jar([(place.wire, bad)], "either" if good in bad else "nobody")


def mutated(dice: Dice, value: bytes) -> bytes:
    """One change: a byte, a piece, a part, a spelling of base64, or the length."""
    at, size = dice.number(len(value) + 1), dice.number(32)
    parts = value.split(b".")
    kind = dice.number(9)
    if kind == 0:
        return value[:at] + ALPHABET[at % len(ALPHABET) :][:1] + value[at + 1 :]
    if kind == 1:
        return value[:at] + dice.pick(ODD) + value[at:]
    if kind == 2:
        return value[:at] + value[at + size + 1 :]
    if kind == 3:
        return value[:at]
    if kind == 4:
        return value[:at] + dice.noise() + value[at:]
    if kind == 5:
        one, other = dice.number(len(parts)), dice.number(len(parts))
        parts[one], parts[other] = parts[other], parts[one]
    elif kind == 6:
        parts[dice.number(len(parts))] = b64url_encode(dice.noise())
    elif kind == 7:
        one = dice.number(len(parts))
        parts[one] = _respelled(parts[one], dice)
    else:
        return (value * dice.pick((2, 0, 3, 40, 400)))[:200_000]
    return b".".join(parts)


def _respelled(part: bytes, dice: Dice) -> bytes:
    """The same bytes in a spelling that RFC 7515, 2 does not have."""
    if dice.chance(50) and part:
        last = ALPHABET[dice.number(len(ALPHABET))]
        return part[:-1] + bytes((last,))
    return part + dice.pick((b"=", b"==", b"\n", b"A", b"%3D"))


def header_games(dice: Dice, place: Place) -> Jar:
    """A header that asks for something else, authenticated under the right key."""
    fields: dict[str, Any] = {"alg": "dir", "enc": "A256GCM"}
    fields |= dice.pick(_GAMES)
    if dice.chance(20):
        fields[dice.text(8)] = dice.text(8)
    text = json.dumps(fields).encode()
    if dice.chance(20):
        text = dice.pick((b"[" * 300, b"{" * 200, b'{"alg":"dir","alg":"none","enc":"A256GCM"}', b"", b"\xff", b"null"))
    plain = json.dumps(claims_of_ada(dice)).encode()
    sealed = token(plain, dice, name=place.name, dialect=place.dialect, header=text)
    return Jar([(place.wire, sealed)], "nobody")


_GAMES: tuple[dict[str, Any], ...] = (
    {"zip": "DEF"}, {"crit": ["exp"]}, {"crit": []}, {"kid": "unknown"}, {"kid": ["x"]}, {"kid": None},
    {"p2c": 2**40, "p2s": "x"},
    {"b64": False}, {"alg": "none"}, {"alg": "A256KW"}, {"alg": "PBES2-HS512+A256KW", "p2c": 10**9, "p2s": "AA"},
    {"alg": "RSA-OAEP"}, {"alg": "DIR"}, {"alg": ["dir"]}, {"enc": "A128GCM"}, {"enc": "none"}, {"enc": {}},
    {"epk": {"kty": "EC"}},
    {"jku": "https://evil.example"}, {"jwk": {"kty": "oct", "k": "AA"}}, {"x5u": "https://evil.example"},
    {"apu": "AA"},
    {"iv": "AA", "tag": "AA"}, {"typ": 1}, {"cty": {"a": 1}}, {"typ": "x" * 800}, {"enc": "A256CBC-HS512"},
)  # fmt: skip


def foreign(dice: Dice, place: Place) -> Jar:
    """Somebody else's: another secret, another cookie's name, another dialect, no longer or not yet valid."""
    claims = claims_of_ada(dice)
    options: dict[str, Any] = {"name": place.name, "dialect": place.dialect}
    kind = dice.number(5)
    if kind == 0:
        options["secret"] = FOREIGN
    elif kind == 1:
        # NextAuth v4's key has no salt, so its name would not matter.
        options |= {"name": place.name + "x", "dialect": "authjs"}
    elif kind == 2:
        options["dialect"] = "nextauth-v4" if place.dialect == "authjs" else "authjs"
    else:
        claims |= {"exp": NOW - 20} if kind == 3 else {"nbf": NOW + 20}
    return Jar([(place.wire, token(json.dumps(claims).encode(), dice, **options))], "nobody")


def odd_claims(dice: Dice, place: Place) -> Jar:
    """Claims that nobody expects, under a right key: another application of the same secret, or a leaked old one."""
    claims = claims_of_ada(dice)
    for _ in range(1 + dice.number(3)):
        name = dice.pick(tuple(claims))
        if dice.chance(40):
            claims.pop(name, None)
        else:
            claims[name] = dice.pick(_VALUES)
    if isinstance(claims.get("refresh_token"), str) and claims["refresh_token"]:
        claims["refresh_token"] += " of ada"  # like nothing that is shown, which is refused
    text = json.dumps(claims)
    if dice.chance(15):
        text = dice.pick(
            ('{"a":NaN}', "[]", "{", '"x"', '{"a":' + "[" * 101 + "]" * 101 + "}", '{"a":' + "9" * 5000 + "}", "")
        )
    return Jar([(place.wire, token(text.encode(), dice, name=place.name, dialect=place.dialect))], "anyone")


_VALUES: tuple[Any, ...] = (
    "", 0, -1, True, None, [], {}, "x", 2**53 + 1, 2**63, 10**300, 1e308, -1e308, 0.1, "\ud800", "\u202e", "<fz\"'>",
    [[[]]], {"a": {"b": 1}},
    "x" * 3000, "RefreshAccessTokenError", 1_800_000_000_000,
)  # fmt: skip

KINDS: tuple[Callable[[Dice, Place], Jar], ...] = (
    intact, forged, forged, forged, header_games, foreign, odd_claims, torn_chunks, in_chunks, beside_forged,
    old_secret,
)  # fmt: skip


def cookie_headers(dice: Dice, pairs: list[tuple[bytes, bytes]], *, others: list[tuple[bytes, bytes]]) -> list[bytes]:
    """The values of the ``cookie`` headers: one, or several, with unrelated cookies in between."""
    mixed = [*others, *pairs] if dice.chance(50) else [*pairs, *others]
    for _ in range(dice.number(4)):
        mixed.insert(dice.number(len(mixed) + 1), dice.pick(_UNRELATED))
    separator = dice.pick((b"; ", b";", b" ; ", b";\t", b";;"))
    crumbs = [name + b"=" + (b'"' + value + b'"' if quoted else value) for name, value, quoted in _quoted(dice, mixed)]
    if dice.chance(25):
        return crumbs  # HTTP/2 sends each on its own
    if dice.chance(10):
        at = dice.number(len(crumbs) + 1)
        return [separator.join(crumbs[:at]), separator.join(crumbs[at:])]
    return [separator.join(crumbs)]


def _quoted(dice: Dice, pairs: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes, bool]]:
    quotes = dice.chance(10)
    return [(name, value, quotes and b'"' not in value) for name, value in pairs]


_UNRELATED = (
    (b"theme", b"dark"), (b"authjs.session-token-legacy", b"x"), (b"xauthjs.session-token", b"x"),
    (b"AUTHJS.SESSION-TOKEN", b"x"),
    (b"next-auth.session-token.x", b"x"), (b"__Host-authjs.session-token", b"x"),
    (b"a" * 5000, b"authjs.session-token=x"), (b"", b""),
    (b"caf\xe9", b"\xff\xfe"), (b"nul", b"\x00"), (b"many", b"=" * 3000), (b"q", b'"authjs.session-token=x'),
    (b"\tpad ", b" x "),
)  # fmt: skip
