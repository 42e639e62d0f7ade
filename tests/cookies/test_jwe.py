from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asgi_token_rotation._cookies.ciphers import Encryption, b64url_decode
from asgi_token_rotation._cookies.jwe import KeyRing, cookie_key_ring, sealed_cookie_key_ring
from asgi_token_rotation.errors import ConfigurationError, ExpiredTokenError, InvalidTokenError
from cookies.handmade import NAME, NOW, OTHER, SECRET, token

ENCRYPTIONS: list[Encryption] = ["A256GCM", "A256CBC-HS512"]


def ring(*secrets: str, encryption: Encryption = "A256GCM") -> KeyRing:
    return cookie_key_ring(secrets or [SECRET], cookie_name=NAME, dialect="authjs", encryption=encryption)


def sealed(claims: dict[str, Any], **options: Any) -> bytes:
    return ring(**options).seal(claims, now=NOW, expires=NOW + 100).encode()


@pytest.mark.parametrize("encryption", ENCRYPTIONS)
def test_round_trip(encryption: Encryption) -> None:
    """What is sealed is opened, by a ring that seals with either encryption."""
    claims = {"name": "Zoë \ud800", "list": [1, 2.5, None, {"a": True}], "expires_at": NOW + 5.5}
    raw = sealed(claims, encryption=encryption)
    for other in ENCRYPTIONS:
        opened = ring(encryption=other).open(raw, now=NOW)
        assert opened.newest
        assert opened.claims().items() >= claims.items()


def test_seal_sets_its_own_claims() -> None:
    """iat, exp and jti are set over whatever is there; everything else, nbf included, passes."""
    claims = {"iat": 1, "exp": 2, "jti": "old", "nbf": 3, "sub": "1"}
    opened = ring().open(ring().seal(claims, now=NOW + 0.7, expires=NOW + 100.2).encode(), now=NOW).claims()
    jti = opened.pop("jti")
    assert uuid.UUID(jti).version == 4
    assert opened == {"iat": int(NOW), "exp": int(NOW) + 100, "nbf": 3, "sub": "1"}
    assert type(opened["iat"]) is int
    assert type(opened["exp"]) is int
    assert claims["iat"] == 1


def test_two_seals_differ() -> None:
    """Every seal has an IV and a jti of its own."""
    assert len({sealed({}) for _ in range(50)}) == 50
    assert len({ring().seal_bytes(b"same") for _ in range(50)}) == 50


def test_claims_are_fresh_at_every_call() -> None:
    """A caller that changes its claims changes nobody else's."""
    opened = ring().open(sealed({"list": [1]}), now=NOW)
    first = opened.claims()
    first["list"].append(2)
    first["evil"] = True
    second, third = opened.claims(), opened.claims()
    assert second == third == opened.parsed
    assert second["list"] == [1]
    assert second is not third
    assert second["list"] is not third["list"]


@pytest.mark.parametrize("encryption", ENCRYPTIONS)
def test_old_secrets_open(encryption: Encryption) -> None:
    """C7: after a change of secrets the old cookies open, and are known to be old; the newest secret seals."""
    old, both = ring(OTHER, encryption=encryption), ring(SECRET, OTHER, encryption=encryption)
    before = both.open(old.seal({"sub": "1"}, now=NOW, expires=NOW + 9).encode(), now=NOW)
    assert (before.newest, before.claims()["sub"]) == (False, "1")
    after = both.seal({"sub": "1"}, now=NOW, expires=NOW + 9).encode()
    assert both.open(after, now=NOW).newest
    assert ring(SECRET, encryption=encryption).open(after, now=NOW).newest
    with pytest.raises(InvalidTokenError, match="kid names none"):
        old.open(after, now=NOW)


@pytest.mark.parametrize("secret", [SECRET, OTHER])
@pytest.mark.parametrize("encryption", ENCRYPTIONS)
def test_without_kid_all_secrets_are_tried(secret: str, encryption: Encryption) -> None:
    """C7: a token without kid opens under whichever secret sealed it."""
    for header in ({"alg": "dir", "enc": encryption}, {"enc": encryption, "alg": "dir", "typ": "JWT"}):
        raw = token(header, encryption=encryption, secret=secret)
        assert ring(SECRET, OTHER).open(raw, now=NOW).newest == (secret == SECRET)
        with pytest.raises(InvalidTokenError, match="does not open"):
            ring("a-third-secret").open(raw, now=NOW)


def test_v4_tries_all_secrets() -> None:
    """C7: NextAuth v4's tokens have no kid, and open under an old secret all the same."""
    name = "next-auth.session-token"
    old = cookie_key_ring([OTHER], cookie_name=name, dialect="nextauth-v4")
    both = cookie_key_ring([SECRET, OTHER], cookie_name=name, dialect="nextauth-v4")
    opened = both.open(old.seal({"sub": "1"}, now=NOW, expires=NOW + 9).encode(), now=NOW)
    assert (opened.newest, opened.claims()["sub"]) == (False, "1")


def test_the_same_secret_twice_is_the_newest() -> None:
    """A secret that stands twice in the list counts where it stands first."""
    assert ring(SECRET, OTHER, SECRET).open(sealed({}), now=NOW).newest


def test_header_in_another_order() -> None:
    """A header with the right kid, spelled otherwise than ours, opens."""
    kid = json.loads(b64url_decode(sealed({}).split(b".")[0]))["kid"]
    raw = token({"typ": "JWT", "kid": kid, "cty": "json", "enc": "A256GCM", "alg": "dir"})
    assert ring(OTHER, SECRET).open(raw, now=NOW).claims() == {"sub": "1"}


@pytest.mark.parametrize(
    ("claims", "now", "error"),
    [
        ({"exp": 1000}, 1014, None),
        ({"exp": 1000}, 1014.9, None),
        ({"exp": 1000}, 1015, ExpiredTokenError),
        ({"exp": 1000.5}, 1015, None),
        ({"nbf": 1000}, 985, None),
        ({"nbf": 1000}, 984.9, InvalidTokenError),
        ({"iat": 9e9}, 1000, None),
        ({}, 1000, None),
    ],
)
def test_clock_tolerance(claims: dict[str, Any], now: float, error: type[Exception] | None) -> None:
    """Times are judged with 15 seconds of tolerance in both directions; iat may lie in the future; all may be absent."""
    raw = token({"alg": "dir", "enc": "A256GCM"}, json.dumps(claims).encode())
    if error is None:
        assert ring().open(raw, now=now).claims() == claims
    else:
        with pytest.raises(InvalidTokenError) as caught:
            ring().open(raw, now=now)
        assert type(caught.value) is error


@pytest.mark.parametrize("claim", ["iat", "exp", "nbf"])
@pytest.mark.parametrize("value", ["true", "null", '"1"', "[]", "1e400", "-1e400", "1" + "0" * 400, "9007199254740992"])
def test_times_are_numbers(claim: str, value: str) -> None:
    """A time that is no finite number, or none that JavaScript can count, is refused: true is not 1."""
    raw = token({"alg": "dir", "enc": "A256GCM"}, f'{{"{claim}":{value}}}'.encode())
    with pytest.raises(InvalidTokenError, match=f"{claim} is not a time"):
        ring().open(raw, now=NOW)


def test_sealed_records() -> None:
    """Any bytes are sealed and opened without a look at what they say."""
    keys = KeyRing([SECRET], salt="salt", info="info")
    for plaintext in (b"", b"\x00\xff", b'{"exp":1}', b"x" * 40_000):
        assert keys.open_bytes(keys.seal_bytes(plaintext)) == plaintext
    with pytest.raises(InvalidTokenError):
        KeyRing([SECRET], salt="salt", info="other").open_bytes(keys.seal_bytes(b"x"))


def test_each_cookie_has_its_own_key() -> None:
    """A token of one cookie does not open as another's, in either dialect."""
    state = sealed_cookie_key_ring([SECRET], cookie_name="authjs.state", dialect="authjs")
    v4_state = sealed_cookie_key_ring([SECRET], cookie_name="next-auth.state", dialect="nextauth-v4")
    v4 = cookie_key_ring([SECRET], cookie_name="next-auth.session-token", dialect="nextauth-v4")
    rings = [ring(), state, v4_state, v4]
    for sealing in rings:
        raw = sealing.seal({}, now=NOW, expires=NOW + 9).encode()
        for opening in rings:
            if opening is sealing:
                assert opening.open(raw, now=NOW)
            else:
                with pytest.raises(InvalidTokenError):
                    opening.open(raw, now=NOW)


@pytest.mark.parametrize("secrets", [[], [""], [SECRET, ""], ["\ud800"]])
def test_bad_secrets(secrets: list[str]) -> None:
    """No secret, an empty one, or one that is no text is a configuration error."""
    with pytest.raises(ConfigurationError, match="secret"):
        KeyRing(secrets, salt="", info="")


def test_one_secret_as_a_string() -> None:
    """A plain string is one secret, not a list of letters."""
    assert (
        KeyRing(SECRET, salt=NAME, info=f"Auth.js Generated Encryption Key ({NAME})").open(sealed({}), now=NOW).newest
    )


def test_v4_has_one_encryption() -> None:
    """NextAuth v4 can't read A256CBC-HS512, so that pair of options is refused with a way out."""
    with pytest.raises(ConfigurationError, match="v4 reads A256GCM only"):
        cookie_key_ring([SECRET], cookie_name="x", dialect="nextauth-v4", encryption="A256CBC-HS512")


def test_claims_that_are_not_json() -> None:
    """What JSON can't say is an error at once, not a cookie that can't be read."""
    with pytest.raises(TypeError):
        sealed({"a": object()})
    with pytest.raises(ValueError):
        sealed({"a": float("nan")})


def test_nothing_secret_is_shown() -> None:
    """I7: no repr and no error message has a secret, a claim or a token in it."""
    keys = ring(SECRET, OTHER)
    raw = sealed({"access_token": "very-secret"})
    opened = keys.open(raw, now=NOW)
    assert repr(keys) == "<KeyRing A256GCM secrets=2>"
    assert repr(opened) == "Opened(newest=True)"
    shown = ""
    for bad in (raw[:-2] + b"AA", b"very-secret", token({"alg": "none"}), raw):
        with pytest.raises(InvalidTokenError) as caught:
            keys.open(bad, now=NOW + 1000)
        assert caught.value.__context__ is None
        shown += str(caught.value)
    assert "very-secret" not in shown
    assert SECRET not in shown
    assert raw[:40].decode() not in shown


@pytest.mark.parametrize("encryption", ENCRYPTIONS)
def test_threads_share_a_ring(encryption: Encryption) -> None:
    """Eight threads seal and open with one ring at once, and none sees another's token."""
    keys = ring(encryption=encryption)

    def work(number: int) -> bool:
        for turn in range(100):
            raw = keys.seal({"n": number, "t": turn, "x": "x" * 500}, now=NOW, expires=NOW + 9).encode()
            claims = keys.open(raw, now=NOW).claims()
            if (claims["n"], claims["t"]) != (number, turn):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
