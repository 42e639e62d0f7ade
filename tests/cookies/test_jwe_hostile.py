from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_token_rotation._cookies.ciphers import b64url_decode, b64url_encode
from asgi_token_rotation._cookies.jwe import MAX_RECORD_BYTES, MAX_TOKEN_BYTES, cookie_key_ring
from asgi_token_rotation.errors import ExpiredTokenError, InvalidTokenError
from cookies.handmade import NAME, NOW, OTHER, SECRET, token

RING = cookie_key_ring([SECRET], cookie_name=NAME, dialect="authjs")
CBC_RING = cookie_key_ring([SECRET], cookie_name=NAME, dialect="authjs", encryption="A256CBC-HS512")
GOOD = RING.seal({"sub": "1", "pad": "x" * 30}, now=NOW, expires=NOW + 100).encode()
CBC = CBC_RING.seal({"sub": "1", "pad": "x" * 30}, now=NOW, expires=NOW + 100).encode()
KID = json.loads(b64url_decode(GOOD.split(b".")[0]))["kid"]
PLAIN = {"alg": "dir", "enc": "A256GCM"}


def refused(raw: bytes) -> str:
    with pytest.raises(InvalidTokenError) as caught:
        RING.open(raw, now=NOW)
    return str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        {**PLAIN, "zip": "DEF"},
        {**PLAIN, "crit": ["exp"]},
        {**PLAIN, "p2c": 10**9, "p2s": "x"},
        {**PLAIN, "epk": {}},
        {**PLAIN, "jku": "https://evil.example"},
        {**PLAIN, "x": "unknown"},
        {**PLAIN, "kid": None},
        {**PLAIN, "kid": 1},
        {**PLAIN, "kid": ["x"]},
        {**PLAIN, "typ": {}},
        {"alg": "none", "enc": "A256GCM"},
        {"alg": "A256KW", "enc": "A256GCM"},
        {"alg": "DIR", "enc": "A256GCM"},
        {"alg": ["dir"], "enc": "A256GCM"},
        {"alg": "dir", "enc": "A128CBC-HS256"},
        {"alg": "dir", "enc": "a256gcm"},
        {"alg": "dir", "enc": ["A256GCM"]},
        {"alg": "dir"},
        {"enc": "A256GCM"},
        {},
        b"",
        b"[]",
        b"null",
        b'"dir"',
        b"{",
        b'{"alg":"dir","enc":"A256GCM"}x',
        b"\xff",
        b"[" * 300,
        {**PLAIN, "typ": "x" * 600},
    ],
    ids=repr,
)
def test_headers_outside_of_the_allow_list(header: dict[str, Any] | bytes) -> None:
    """A header is alg dir, one of two enc, and at most kid, typ and cty; whatever else is refused, the right key or not."""
    assert "header is refused" in refused(token(header))


def test_enc_of_the_other_key() -> None:
    """A token is opened with the encryption that its header names, never with the other one."""
    assert "does not open" in refused(token({"alg": "dir", "enc": "A256CBC-HS512"}, encryption="A256GCM"))
    assert "does not open" in refused(token(PLAIN, encryption="A256CBC-HS512"))


@pytest.mark.parametrize("kid", ["", "x", KID + "x", KID[:-1]])
def test_unknown_kid_is_not_tried(kid: str) -> None:
    """A kid that names no secret ends the matter, even where the key would fit."""
    assert "kid names none" in refused(token({**PLAIN, "kid": kid}))


def test_kid_of_the_other_encryption() -> None:
    """A kid belongs to one key, and so to one encryption."""
    cbc_kid = json.loads(b64url_decode(CBC.split(b".")[0]))["kid"]
    assert "kid names none" in refused(token({**PLAIN, "kid": cbc_kid}))


@pytest.mark.parametrize("raw", [GOOD, CBC], ids=["gcm", "cbc"])
def test_other_shapes(raw: bytes) -> None:
    """A token has exactly five parts, the second one empty; JWS, more, fewer or swapped parts are refused."""
    header, _, iv, ciphertext, tag = raw.split(b".")
    shapes = [
        b"", b".", b"....", b".....", header, raw + b".", raw + b".AAAA", b"." + raw, b".".join((header, iv, tag)),
        b".".join((header, b"AAAA", iv, ciphertext, tag)), b".".join((header, b"=", iv, ciphertext, tag)),
        b".".join((header, b"", iv, tag, ciphertext)), b".".join((header, b"", ciphertext, iv, tag)),
        b".".join((header, b"", tag, ciphertext, iv)), b".".join((header, b"", b"", ciphertext, tag)),
        b".".join((header, b"", iv, b"", tag)), b".".join((header, b"", iv, ciphertext, b"")),
        b".".join((b"", b"", iv, ciphertext, tag)), b'"' + raw + b'"', b" " + raw, raw + b"\n", raw.replace(b".", b" "),
    ]  # fmt: skip
    for shape in shapes:
        refused(shape)


@pytest.mark.parametrize("raw", [GOOD, CBC], ids=["gcm", "cbc"])
def test_every_truncation(raw: bytes) -> None:
    """No beginning and no end of a token opens."""
    for cut in range(len(raw)):
        refused(raw[:cut])
        if cut:
            refused(raw[cut:])


@pytest.mark.parametrize("raw", [GOOD, CBC], ids=["gcm", "cbc"])
def test_every_byte_counts(raw: bytes) -> None:
    """A token with any one character changed is refused, stray base64 bits included."""
    for place in range(len(raw)):
        for other in b"A_.=+":
            if raw[place] != other:
                refused(raw[:place] + bytes([other]) + raw[place + 1 :])


@pytest.mark.parametrize("part", range(5))
def test_one_spelling_of_base64(part: int) -> None:
    """Padding and the standard alphabet are refused in every part."""
    parts = GOOD.split(b".")
    parts[part] += b"="
    refused(b".".join(parts))
    parts[part] = parts[part][:-1] + b"\n"
    refused(b".".join(parts))


@pytest.mark.parametrize(
    "plaintext",
    [b"", b"[]", b'"x"', b"1", b"null", b"{", b"\xff{}", b'{"a":NaN}', b'{"a":' + b"9" * 5000 + b"}",
     b'{"a":' + b"[" * 101 + b"]" * 101 + b"}", b"[" * 20_000 + b"]" * 0, b'{"a":' * 3000 + b"1" + b"}" * 3000],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_what_it_holds_is_judged_too(plaintext: bytes) -> None:
    """An old secret may have leaked: what a right key sealed is still held to a JSON object of sane depth."""
    assert "not a JSON object" in refused(token(PLAIN, plaintext))


def test_odd_but_lawful_claims_are_kept() -> None:
    """Lone surrogates, huge integers and the largest floats come through as they are."""
    claims = {"s": "\ud800", "n": 2**70, "f": 1.7e308, "\udfff": None}
    opened = RING.open(token(PLAIN, json.dumps(claims).encode()), now=NOW)
    assert opened.claims() == claims
    assert opened.claims() == claims


def test_size_comes_first() -> None:
    """A token over the limit is refused for its length, whatever it is; one at the limit is opened."""
    small = token(PLAIN)
    assert RING.open(small, now=NOW, max_bytes=len(small)).claims() == {"sub": "1"}
    with pytest.raises(InvalidTokenError, match=f"{len(small)} bytes long: expected at most {len(small) - 1}"):
        RING.open(small, now=NOW, max_bytes=len(small) - 1)
    assert f"at most {MAX_TOKEN_BYTES}" in refused(b"." * (MAX_TOKEN_BYTES + 1))
    with pytest.raises(InvalidTokenError, match=f"at most {MAX_RECORD_BYTES}"):
        RING.open_bytes(RING.seal_bytes(bytes(MAX_RECORD_BYTES)))


def test_expired_is_said_only_of_ours() -> None:
    """A forged token is never called expired, so the answer tells nothing about its claims."""
    old = RING.seal({}, now=NOW - 1000, expires=NOW - 900).encode()
    with pytest.raises(ExpiredTokenError):
        RING.open(old, now=NOW)
    with pytest.raises(InvalidTokenError) as caught:
        cookie_key_ring([OTHER], cookie_name=NAME, dialect="authjs").open(old, now=NOW)
    assert type(caught.value) is InvalidTokenError


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
@settings(max_examples=300, deadline=None)
def test_any_bytes(raw: bytes) -> None:
    """I10: whatever a client sends is refused with our own error, as it stands and in each place of a token."""
    refused(raw)
    for place in range(5):
        parts = GOOD.split(b".")
        if parts[place] != raw:
            parts[place] = raw
            refused(b".".join(parts))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_plaintext(plaintext: bytes) -> None:
    """I10: whatever a leaked secret sealed is opened as an object, or refused with our own error."""
    try:
        opened = RING.open(token(PLAIN, plaintext), now=NOW)
    except InvalidTokenError:
        return
    assert isinstance(opened.claims(), dict)


def test_segments_that_only_look_known() -> None:
    """The header that is authenticated is the one that was sent: another spelling of it does not open the ciphertext."""
    _, *rest = GOOD.split(b".")
    spelled = b64url_encode(json.dumps({"alg": "dir", "enc": "A256GCM", "kid": KID}).encode())
    assert "does not open" in refused(b".".join((spelled, *rest)))
