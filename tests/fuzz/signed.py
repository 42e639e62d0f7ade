"""ID tokens, access tokens and logout tokens: good ones, and what an attacker or a careless provider makes of them."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fuzz.cookies import mutated
from fuzz.dice import Dice
from fuzz.minted import NOW
from fuzz.openid import API, CLIENT, EC_KEY, ED_KEY, FOREIGN_KEY, ISSUER, Key, jwks, jwt, part, rsa_key

EVENT = "http://schemas.openid.net/event/backchannel-logout"
GONE: Any = object()  # a claim that is taken out

Verdict = Literal["good", "refused", "either"]
Kind = Literal["id", "access", "logout"]


@dataclass(frozen=True, slots=True)
class Token:
    """A text, or what stands for one. ``later``: at a refresh, where a token in doubt is put aside and nothing is lost."""

    text: Any
    verdict: Verdict = "good"
    later: Verdict = "good"
    why: str = ""


# A claim, what stands in its place, and what must come of it.
_Bends = tuple[tuple[str, Any, Verdict], ...]
_IDENTITY: _Bends = (
    ("iss", "https://evil.example", "refused"), ("iss", ISSUER + "/", "refused"), ("iss", ISSUER.upper(), "refused"),
    ("iss", [ISSUER], "refused"), ("iss", GONE, "refused"), ("aud", "other", "refused"), ("aud", ["other"], "refused"),
    ("aud", {CLIENT: 1}, "refused"), ("aud", GONE, "refused"), ("aud", "app ", "refused"), ("aud", 7, "refused"),
    ("x", "y" * 3000, "good"), ("x", [[[1]]], "good"),
)  # fmt: skip
_ENDLESS: tuple[Any, ...] = ("later", GONE, True, None, [NOW], -1, 10**400, 1e300)
_ID: _Bends = (
    *_IDENTITY,
    ("aud", [CLIENT], "good"), ("aud", [CLIENT, "other"], "refused"), ("aud", [7, CLIENT], "good"),
    ("azp", CLIENT, "good"), ("azp", "other", "refused"), ("azp", "", "refused"), ("azp", [CLIENT], "refused"),
    ("sub", GONE, "refused"), ("sub", "", "refused"), ("sub", 7, "refused"), ("sub", None, "refused"),
    ("sub", "x" * 256, "refused"), ("exp", NOW - 60, "refused"), ("exp", NOW - 59, "good"), ("iat", NOW + 61, "refused"),
    ("iat", NOW + 60, "good"), ("nbf", NOW + 61, "refused"), ("nbf", NOW - 61, "good"),
    ("nonce", "x" * 43, "refused"), ("nonce", GONE, "refused"), ("nonce", "", "refused"), ("nonce", None, "refused"),
    ("nonce", 7, "refused"), ("nonce", "\ud800", "refused"), ("at_hash", "x" * 22, "refused"), ("at_hash", 7, "refused"),
    ("at_hash", "", "refused"), ("at_hash", "\ud800", "refused"), ("email", 7, "either"),
    ("name", "x" * 20_000, "either"), ("name", "\ud800", "either"), ("name", ["x"], "either"),
    *(("exp", value, "refused") for value in _ENDLESS), *(("iat", value, "refused") for value in _ENDLESS),
)  # fmt: skip
_ACCESS: _Bends = (
    *_IDENTITY,
    ("aud", [API, "other"], "good"), ("aud", CLIENT, "refused"), ("sub", "eve", "refused"), ("sub", GONE, "good"),
    ("sub", 7, "refused"), ("exp", NOW - 60, "refused"), ("iat", NOW + 61, "refused"), ("iat", GONE, "good"),
    ("nbf", NOW + 61, "refused"), *(("exp", value, "refused") for value in _ENDLESS),
)  # fmt: skip
_LOGOUT: _Bends = (
    *_IDENTITY,
    ("aud", [CLIENT, "other"], "good"), ("azp", "other", "refused"), ("azp", None, "refused"),
    ("events", GONE, "refused"), ("events", {}, "refused"), ("events", [EVENT], "refused"), ("events", EVENT, "refused"),
    ("events", {EVENT: None}, "refused"), ("events", {EVENT: []}, "refused"), ("events", {EVENT: {"a": 1}, "b": 2}, "good"),
    ("nonce", "x", "refused"), ("nonce", None, "refused"), ("jti", GONE, "refused"), ("jti", "", "refused"),
    ("jti", 7, "refused"), ("jti", "x" * 513, "refused"), ("iat", NOW + 61, "refused"), ("iat", NOW - 600, "refused"),
    ("iat", NOW - 599, "good"), ("exp", NOW - 60, "refused"), ("exp", GONE, "good"), ("sub", GONE, "good"),
    ("sid", GONE, "good"), ("sid", 7, "either"), ("sid", "x" * 513, "either"), ("sub", "eve", "good"), ("sub", 7, "good"),
    *(("iat", value, "refused") for value in _ENDLESS),
    *(("exp", value, "refused") for value in _ENDLESS if value is not GONE),
)  # fmt: skip
_CLAIMS: Mapping[Kind, _Bends] = {"id": _ID, "access": _ACCESS, "logout": _LOGOUT}

_IN_DOUBT = ("exp", "iat", "nbf")  # by our clock, which may be the wrong one
_TEXTS: tuple[Any, ...] = (
    "x", "a.b.c", "..", "...", "\ud800", "caf\xe9.a.b", "." * 300, "e30.e30.e30", "e30.e30.", "A", "=", "a.b.c.d.e",
    "[" * 40_000,
)  # fmt: skip
_PAYLOADS: tuple[bytes, ...] = (
    b"[]", b"null", b'"x"', b"", b"\xff", b"{", b"[" * 5000, b'{"a":' * 3000, b'{"iss":NaN}', b'{"exp":' + b"9" * 5000 + b"}",
    b'{"iss":"\\ud800"}',
)  # fmt: skip


def good(claims: Mapping[str, Any], dice: Dice, *, kind: Kind = "id", signer: int | None = None) -> str:
    """The provider's token, by one of its keys, or by the one at that place of ``jwks``."""
    kid, algorithm, key = dice.pick(_often()) if signer is None else _signers()[signer]
    types = {"id": "JWT", "access": "at+jwt", "logout": "logout+jwt"}
    return jwt({"alg": algorithm, "kid": kid, "typ": types[kind]}, claims, key)


@cache
def _signers() -> tuple[tuple[str, str, Key], ...]:
    return ("ec", "ES256", EC_KEY), ("ed", "EdDSA", ED_KEY), ("rsa", "RS256", rsa_key())


@cache
def _often() -> Sequence[tuple[str, str, Key]]:
    """RSA signs slowly, and so seldom."""
    return _signers()[:1] * 10 + _signers()


def token(claims: Mapping[str, Any], dice: Dice, *, kind: Kind = "id", bent: int = 50) -> Token:
    """A token, in so many of a hundred cases with one thing changed."""
    if not dice.chance(bent):
        return Token(good(claims, dice, kind=kind))
    way = dice.number(4)
    if way == 0:
        return _with_header(claims, dice, kind=kind)
    if way == 1:
        return _as_text(claims, dice, kind=kind)
    name, value, verdict = dice.pick(_CLAIMS[kind])
    changed = {key: entry for key, entry in {**claims, name: value}.items() if entry is not GONE}
    # A missing nonce is usual at a refresh (Core, 12.2), and an access token without its user too.
    later: Verdict = "good" if name in _IN_DOUBT or (name == "nonce" and value is GONE) else verdict
    if value == 10**400:
        later = "either"  # which not every parser takes
    shown = "nothing" if value is GONE else repr(value)[:40]
    return Token(good(changed, dice, kind=kind), verdict, later, f"{kind} token: {name} is {shown}")


def _with_header(claims: Mapping[str, Any], dice: Dice, *, kind: Kind) -> Token:
    why, header, key, verdict, later = dice.pick(_games(kind))
    if isinstance(key, bytes):
        message = jwt(header, claims, None).removesuffix(".")
        text = f"{message}.{part(hmac.new(key, message.encode(), hashlib.sha256).digest())}"
    else:
        text = jwt(header, claims, key)
    return Token(text, verdict, later, f"{kind} token: {why}")


@cache
def _games(kind: Kind) -> tuple[tuple[str, dict[str, Any], Key | bytes | None, Verdict, Verdict], ...]:
    """Another algorithm, key or header. A key that nobody knows may be a new one, so it is in doubt at a refresh."""
    pem = EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    known: dict[str, Any] = {"alg": "ES256", "kid": "ec"}
    typed: Verdict = "good" if kind == "id" else "refused"
    return (
        ("alg none", {"alg": "none"}, None, "refused", "refused"),
        ("alg none with a signature", {"alg": "none", "kid": "ec"}, EC_KEY, "refused", "refused"),
        ("alg None", {"alg": "None", "kid": "ec"}, None, "refused", "refused"),
        ("HS256 by the public key", {"alg": "HS256", "kid": "ec"}, pem, "refused", "refused"),
        ("HS256 by nothing", {"alg": "HS256"}, b"", "refused", "refused"),
        ("ES256 by the public key", known, pem, "refused", "refused"),
        ("RS256 at an EC key", {"alg": "RS256", "kid": "ec"}, EC_KEY, "refused", "good"),
        ("ES256 at an RSA key", {"alg": "ES256", "kid": "rsa"}, EC_KEY, "refused", "good"),
        ("RS256 by an EC key", {"alg": "RS256", "kid": "rsa"}, EC_KEY, "refused", "refused"),
        ("EdDSA by an EC key", {"alg": "EdDSA", "kid": "ed"}, EC_KEY, "refused", "refused"),
        ("an unknown key", {"alg": "ES256", "kid": "new"}, FOREIGN_KEY, "refused", "good"),
        ("a foreign key of that name", known, FOREIGN_KEY, "refused", "refused"),
        ("a foreign key without a name", {"alg": "ES256"}, FOREIGN_KEY, "refused", "good"),
        ("a foreign key in the header", {**known, "jwk": jwks()[0]}, FOREIGN_KEY, "refused", "refused"),
        ("a foreign key's address", {**known, "jku": "https://evil.example"}, FOREIGN_KEY, "refused", "refused"),
        ("without the key's name", {"alg": "ES256"}, EC_KEY, "good", "good"),
        ("crit", {**known, "crit": ["exp"]}, EC_KEY, "refused", "refused"),
        ("a number for kid", {**known, "kid": 7}, EC_KEY, "refused", "refused"),
        ("a list for alg", {**known, "alg": ["ES256"]}, EC_KEY, "refused", "refused"),
        ("no alg", {"kid": "ec"}, EC_KEY, "refused", "refused"),
        ("ES384", {**known, "alg": "ES384"}, EC_KEY, "refused", "good"),
        ("a long header", {**known, "x": "y" * 3000}, EC_KEY, "good", "good"),
        ("another type", {**known, "typ": "x"}, EC_KEY, typed, typed),
        ("a list for typ", {**known, "typ": ["JWT"]}, EC_KEY, typed, typed),
    )  # fmt: skip


def _as_text(claims: Mapping[str, Any], dice: Dice, *, kind: Kind) -> Token:
    """Junk, another kind of token, or the right one with a byte changed."""
    way = dice.number(5)
    right = good(claims, dice, kind=kind)
    if way == 0:
        return Token(dice.pick(_TEXTS), "refused", "refused", f"{kind} token: junk")
    if way == 1:
        text = jwt({"alg": "ES256", "kid": "ec"}, dice.pick(_PAYLOADS), EC_KEY)
        return Token(text, "refused", "refused", f"{kind} token: another payload")
    if way == 2:
        text = dice.pick(
            (f"{right}.", f".{right}", f"{right}=", f" {right}", f"{right}\n", right.rpartition(".")[0] + ".")
        )
        return Token(text, "refused", "refused", f"{kind} token: a character more")
    if way == 3:
        header, payload, name = right.split(".")
        text = ".".join((header, payload, b64encode(name.encode()).decode() if dice.chance(50) else name[::-1]))
        return Token(text, "refused", "refused", f"{kind} token: another signature")
    text = mutated(dice, right.encode()).decode("latin-1")
    if _same(text, right):
        return Token(text)
    # A key's name may have changed, which is one that nobody knows yet.
    return Token(text, "refused", "either", f"{kind} token: changed")


def _same(text: str, right: str) -> bool:
    """Whether only the signature's spelling differs: base64 has several for its last character."""
    one, other = text.rpartition("."), right.rpartition(".")
    try:
        decoded = [urlsafe_b64decode(end + "=" * (-len(end) % 4)) for _, _, end in (one, other)]
    except ValueError:
        return False
    return one[0] == other[0] and decoded[0] == decoded[1] and len(one[2]) == len(other[2])
