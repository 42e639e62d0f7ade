from __future__ import annotations

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_token_rotation._cookies.ciphers import (
    CBCHMAC,
    GCM,
    Encryption,
    b64url_decode,
    b64url_encode,
    content_cipher,
    decoder,
    encoder,
)

KEY = bytes(range(64))
IV = bytes.fromhex("1af38c2dc2b96ffdd86694092341bc04")
AAD = b"The second principle of Auguste Kerckhoffs"
PLAINTEXT = (
    b"A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy"
    b" without inconvenience"
)
CIPHERTEXT = bytes.fromhex(
    "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd822c301dd67c373bccb584ad3e9279c2"
    "e6d12a1374b77f077553df829410446b36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3"
    "a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950bbe2638d09dd7a4930930806d0703b1f6"
)
TAG = bytes.fromhex("4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5")


def test_rfc_7518_b_3() -> None:
    """A256CBC-HS512 is that of RFC 7518, B.3, in both directions."""
    cipher = CBCHMAC(KEY)
    assert cipher.encrypt(PLAINTEXT, iv=IV, aad=AAD) == (CIPHERTEXT, TAG)
    assert cipher.decrypt(CIPHERTEXT, iv=IV, tag=TAG, aad=AAD) == PLAINTEXT


def test_nist_gcm() -> None:
    """A256GCM is that of NIST's test case 14: 16 zero bytes under a zero key and IV."""
    ciphertext, tag = GCM(bytes(32)).encrypt(bytes(16), iv=bytes(12), aad=b"")
    assert ciphertext.hex() == "cea7403d4d606b6e074ec5d3baf39d18"
    assert tag.hex() == "d0d1c8a799996bf0265b98b5d48ab919"


@pytest.mark.parametrize("encryption", ["A256GCM", "A256CBC-HS512"])
def test_each_part_is_authenticated(encryption: Encryption) -> None:
    """One changed bit in ciphertext, IV, tag or AAD, or a part of another length, and nothing is decrypted."""
    cipher = content_cipher(encryption, key=KEY if encryption != "A256GCM" else KEY[:32])
    iv = IV[: cipher.iv_bytes]
    ciphertext, tag = cipher.encrypt(PLAINTEXT, iv=iv, aad=AAD)
    assert cipher.decrypt(ciphertext, iv=iv, tag=tag, aad=AAD) == PLAINTEXT

    def spoilt(part: bytes) -> list[bytes]:
        return [bytes([part[0] ^ 1]) + part[1:], part[:-1], part + b"\0", part[:-16], b""]

    assert {cipher.decrypt(wrong, iv=iv, tag=tag, aad=AAD) for wrong in spoilt(ciphertext)} == {None}
    assert {cipher.decrypt(ciphertext, iv=wrong, tag=tag, aad=AAD) for wrong in spoilt(iv)} == {None}
    assert {cipher.decrypt(ciphertext, iv=iv, tag=wrong, aad=AAD) for wrong in spoilt(tag)} == {None}
    assert {cipher.decrypt(ciphertext, iv=iv, tag=tag, aad=wrong) for wrong in spoilt(AAD)} == {None}


@pytest.mark.parametrize("shift", [-16, -1, 1, 16, 32, len(CIPHERTEXT)])
def test_parts_have_their_lengths(shift: int) -> None:
    """The tag covers IV and ciphertext in a row, so bytes moved from one to the other must be noticed by their lengths."""
    row, cut = IV + CIPHERTEXT, 16 + shift
    assert CBCHMAC(KEY).decrypt(row[cut:], iv=row[:cut], tag=TAG, aad=AAD) is None


@pytest.mark.parametrize("block", [b"x" * 15 + b"\0", b"x" * 15 + b"\x11", b"x" * 14 + b"\x01\x02"])
def test_padding_is_checked(block: bytes) -> None:
    """Wrong PKCS#7 padding under a right tag is refused."""
    cipher = CBCHMAC(KEY)
    encryptor = Cipher(algorithms.AES(KEY[32:]), modes.CBC(IV)).encryptor()
    ciphertext = encryptor.update(block) + encryptor.finalize()
    signed = AAD + IV + ciphertext + (len(AAD) * 8).to_bytes(8, "big")
    tag = hmac.digest(KEY[:32], signed, "sha512")[:32]
    assert cipher.decrypt(ciphertext, iv=IV, tag=tag, aad=AAD) is None


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_base64url_round_trip(data: bytes) -> None:
    """What is encoded is decoded again, and has no padding."""
    text = b64url_encode(data)
    assert b"=" not in text
    assert b64url_decode(text) == data


@given(st.binary(max_size=12).map(lambda raw: raw.translate(bytes(b"AQgw-_+/= Zz90\n."[b % 16] for b in range(256)))))
@settings(max_examples=500, deadline=None)
def test_base64url_has_one_spelling(text: bytes) -> None:
    """Text that is decoded at all is exactly what its bytes are encoded to."""
    try:
        data = b64url_decode(text)
    except ValueError:
        return
    assert b64url_encode(data) == text


@pytest.mark.parametrize(
    "text", [b"A", b"AB", b"AAB", b"AA==", b"AAA=", b"A+AA", b"A/AA", b" AAA", b"AA\nAA", b"AAAAA"]
)
def test_other_spellings_are_refused(text: bytes) -> None:
    """Padding, whitespace, the standard alphabet, stray bits and impossible lengths are no base64url."""
    with pytest.raises(ValueError):
        b64url_decode(text)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_pybase64_writes_the_same(data: bytes) -> None:
    """With and without the ``speed`` extra bytes are encoded alike."""
    assert encoder("pybase64")(data) == encoder("a_module_that_is_not_there")(data)


@given(st.text(alphabet="Aaz09+/!-_ \n\0\xff", max_size=100).map(lambda text: text.encode("latin-1")))
@settings(max_examples=1000, deadline=None)
def test_pybase64_reads_the_same(text: bytes) -> None:
    """With and without the ``speed`` extra a text is decoded to the same bytes, or refused."""

    def read(module: str) -> bytes | None:
        try:
            return decoder(module)(text + b"=" * (-len(text) % 4))
        except ValueError:
            return None

    assert read("pybase64") == read("a_module_that_is_not_there")
