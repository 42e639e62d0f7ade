"""What the provider says at a sign-in and about itself: with one member changed, or something else altogether."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fuzz import answers
from fuzz.dice import Dice
from fuzz.flows import Flow, access_claims, granted, id_claims
from fuzz.openid import AT, DISCOVERY, ISSUER, Said, ada, answered, jwks
from fuzz.signed import GONE, Token, Verdict, good, token
from fuzz.worlds import World


def _id_token(made: Flow, dice: Dice, world: World) -> None:
    if not world.openid:
        _token_set(made, dice, world)
        return
    made.id_token = token(id_claims(made), dice, bent=90)
    made.is_wrong(made.id_token.why, made.id_token.verdict)
    granted(made, dice, world)


def _access_token(made: Flow, dice: Dice, world: World) -> None:
    if not world.verified:
        _id_token(made, dice, world)
        return
    access = token(access_claims(made), dice, kind="access", bent=90)
    made.is_wrong(access.why, access.verdict)
    granted(made, dice, world, access_token=access.text)


def _token_set(made: Flow, dice: Dice, world: World) -> None:
    name = dice.pick(
        ("access_token", "refresh_token", "expires_in", "expires_at", "scope", "token_type", "error", "id_token")
    )
    value = dice.pick((GONE, None, "", 7, [], {}, True, "x" * 20_000, "\ud800", *answers.TIMES))
    granted(made, dice, world, **{name: value})
    missing = name == "access_token" and (not isinstance(value, str) or not value)
    named = name == "id_token" and world.openid
    made.is_wrong(f"a token set with another {name}", "refused" if missing or named else "either")


def _any_token_set(made: Flow, dice: Dice, world: World) -> None:
    made.said.answers["token"] = answers.answer(dice)
    made.is_wrong("another answer of the token endpoint", "refused" if world.openid else "either")


def _userinfo(made: Flow, dice: Dice, world: World) -> None:
    if dice.chance(40):
        made.said.answers["userinfo"] = answers.answer(dice)
        made.is_wrong("another answer of the userinfo endpoint", "refused" if world.openid else "either")
        return
    name, value, verdict = dice.pick(_USERINFO)
    document = {**ada(made.subject), name: value}
    made.said.userinfo = {key: entry for key, entry in document.items() if entry is not GONE}
    refused = verdict == "refused" or (world.openid and name == "sub")
    made.is_wrong(f"a userinfo document with another {name}", "refused" if refused else verdict)


_USERINFO: tuple[tuple[str, Any, Verdict], ...] = (
    ("sub", GONE, "refused"), ("sub", "", "refused"), ("sub", "x" * 257, "refused"), ("sub", "\x00", "refused"),
    ("sub", "\ud800", "refused"), ("sub", True, "refused"), ("sub", [], "refused"), ("sub", "eve", "good"), ("sub", 7, "good"),
    ("sub", 10**400, "refused"), ("sub", 1.5, "refused"), ("name", "x" * 3000, "good"), ("name", "x" * 30_000, "either"),
    ("name", ["x"], "good"), ("email", "ADA@EXAMPLE.COM", "good"), ("picture", {"x": 1}, "good"), ("x", "\ud800", "either"),
    ("name", "\ud800", "either"),
)  # fmt: skip


def _discovery(made: Flow, dice: Dice, world: World) -> None:
    if not world.openid:
        _token_set(made, dice, world)
        return
    made.anew = True
    verdict, why = discovery(made.said, dice)
    made.is_wrong(why, verdict)


def _keys(made: Flow, dice: Dice, world: World) -> None:
    if not world.openid:
        _userinfo(made, dice, world)
        return
    made.anew = True
    signer = dice.number(3)
    made.id_token = Token(good(id_claims(made), dice, signer=signer))
    granted(made, dice, world)
    if world.verified:
        access = good(access_claims(made), dice, kind="access", signer=signer)
        granted(made, dice, world, access_token=access)
    made.is_wrong("other keys", keys(made.said, dice, signer))


SAID: tuple[Callable[[Flow, Dice, World], None], ...] = (
    _id_token, _id_token, _id_token, _id_token, _access_token, _token_set, _any_token_set, _userinfo, _discovery, _keys,
)  # fmt: skip


def discovery(said: Said, dice: Dice) -> tuple[Verdict, str]:
    """Another discovery document (Discovery 1.0, 4.2): whether a sign-in may go on with it, and what is the matter."""
    if dice.chance(30):
        said.answers["discovery"] = answers.answer(dice)
        return "refused", "another answer for a discovery document"
    name = dice.pick((*DISCOVERY, "token_endpoint_auth_methods_supported"))
    value, verdict = dice.pick(_METADATA.get(name, _ADDRESSES))
    if verdict == "by endpoint":
        verdict = (
            "good" if name in ("revocation_endpoint", "end_session_endpoint", "authorization_endpoint") else "refused"
        )
    if value is GONE and name in ("userinfo_endpoint", "revocation_endpoint", "end_session_endpoint"):
        verdict = "good"
    document = {**DISCOVERY, name: value}
    said.answers["discovery"] = answered({key: entry for key, entry in document.items() if entry is not GONE})
    return verdict, f"a discovery document with another {name}"


_ADDRESSES: tuple[tuple[Any, Any], ...] = (
    (GONE, "refused"), ("x", "refused"), (7, "refused"), ([], "refused"), ("", "refused"), ("javascript:x", "refused"),
    ("http://op.example/x", "refused"), (f"{AT} x", "refused"), ("https://user:pw@op.example/", "refused"),
    ("https://op.example/x#y", "refused"), ("https://[::1", "refused"), ("https://op.example:99999/", "refused"),
    ("https://op.example/caf\xe9", "refused"), ("https://op.example/\r\nx", "refused"), ("https:///x", "refused"),
    ("https://\ud800.example/", "refused"), ("file:///etc/passwd", "refused"), ("//op.example/x", "refused"),
    (f"{AT}/elsewhere", "by endpoint"), (f"{AT}/elsewhere?a=b", "by endpoint"), ("http://localhost:9/x", "by endpoint"),
    ("https://op.example/" + "x" * 5000, "by endpoint"), ("http://127.0.0.1/", "by endpoint"),
    ("https://xn--/", "either"), ("https://op..example/", "either"), ("https://%41/", "either"),
    ("https://" + "x" * 300 + ".example/", "either"), ("https://op.example/%zz?%", "by endpoint"),
)  # fmt: skip
_METADATA: dict[str, tuple[tuple[Any, Any], ...]] = {
    "issuer": (
        ("https://evil.example", "refused"), (f"{ISSUER}/", "refused"), (GONE, "refused"), (7, "refused"), ([ISSUER], "refused"),
        (ISSUER.upper(), "refused"), ("", "refused"), ("\ud800", "refused"),
    ),
    "authorization_response_iss_parameter_supported": ((GONE, "good"), (False, "good"), ("true", "good"), (1, "good"), ([], "good")),
    "token_endpoint_auth_methods_supported": (
        (["client_secret_post"], "good"), ([], "good"), ("client_secret_post", "good"), ([[], {}, None], "good"), (7, "good"),
        (["client_secret_basic", "client_secret_post"], "good"), ({}, "good"), (["none"], "good"),
    ),
}  # fmt: skip


def keys(said: Said, dice: Dice, signer: int) -> Verdict:
    """Other keys (RFC 7517): whether the token that one of the right ones signed is still good."""
    right = list(jwks())
    way = dice.number(4)
    if way == 0:
        said.answers["jwks"] = answers.answer(dice)
        return "refused"
    if way == 1:
        document, verdict = dice.pick(_SETS)
        said.answers["jwks"] = answered(document)
        return verdict
    if way == 2:
        junk: list[Any] = [
            dice.pick((None, 7, "x", [], {}, {"kty": "EC"}, {"kid": "ec"}, right[0], {"kty": "oct", "k": "AA"}))
        ]
        count = dice.pick((1, 63, 64, 1000))
        said.answers["jwks"] = answered({"keys": junk * count + right})
        return "refused" if count > 63 and junk[0] is not right[0] else "either" if count > 1 else "good"
    name, value, verdict = dice.pick(_MEMBERS)
    changed = {key: entry for key, entry in {**right[signer], name: value}.items() if entry is not GONE}
    said.answers["jwks"] = answered({"keys": [*right[:signer], changed, *right[signer + 1 :]]})
    return verdict


_SETS: tuple[tuple[Any, Verdict], ...] = (
    ({"keys": []}, "refused"), ({"keys": {}}, "refused"), ({}, "refused"), ({"keys": None}, "refused"),
    ({"keys": "x" * 60_000}, "refused"), ({"keys": [[]] * 60}, "refused"), ({"keys": list(jwks()), "x": "y" * 3000}, "good"),
    ({"keys": list(jwks()) * 20}, "good"), ({"keys": list(jwks())[::-1]}, "good"), (list(jwks()), "refused"),
    ({"keys": [{"kty": "oct", "kid": "ec", "alg": "ES256", "k": "AA"}]}, "refused"),
    ({"keys": [{"kty": "RSA", "n": "A" * 60_000, "e": "AQAB"}]}, "refused"),
)  # fmt: skip
# What is no member of that kind of key, or does not matter for it, may be anything.
_NUMBERS: tuple[Any, ...] = (
    GONE, None, "", "A", "AA", "A" * 43, "=" * 43, "_" * 43, "x" * 60_000, 7, [], {}, "\ud800", "caf\xe9", "A" * 342, "Aw", "AQAA",
    -1, 1.5, True,
)  # fmt: skip
_MEMBERS: tuple[tuple[str, Any, Verdict], ...] = (
    ("kid", GONE, "refused"), ("kid", "other", "refused"), ("kid", 7, "refused"), ("kid", [], "refused"), ("kty", GONE, "refused"),
    ("kty", "oct", "refused"), ("kty", "ec", "refused"), ("kty", [], "refused"), ("use", "enc", "refused"), ("use", GONE, "good"),
    ("use", "sig", "good"), ("use", 7, "refused"), ("alg", "HS256", "refused"), ("alg", "none", "refused"), ("alg", GONE, "good"),
    ("alg", ["ES256"], "refused"), ("key_ops", ["sign"], "refused"), ("key_ops", ["verify"], "good"), ("key_ops", 7, "refused"),
    ("key_ops", "verify", "refused"), ("key_ops", [[], {}], "refused"), ("x5c", ["junk"], "good"), ("x5u", "https://evil.example", "good"),
    ("crv", "P-384", "either"), ("crv", GONE, "either"), ("crv", "secp256k1", "either"), ("crv", 7, "either"), ("crv", [], "either"),
    *((name, value, "either") for name in ("x", "y", "n", "e", "d", "p", "q", "oth") for value in _NUMBERS),
)  # fmt: skip
