from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asgi_token_rotation._cookies.ciphers import b64url_decode, b64url_encode, content_cipher
from asgi_token_rotation._cookies.jwe import cookie_key_ring
from asgi_token_rotation.errors import InvalidTokenError

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "rfc_jwe.json").read_text())
CIPHERS = [pytest.param(vector, id=vector["source"]) for vector in VECTORS["content_encryption"]]
REFUSED = [pytest.param(vector["token"], id=vector["source"]) for vector in VECTORS["refused"]]


def parts_of(vector: dict[str, Any]) -> dict[str, bytes]:
    parts = {name: b64url_decode(vector[name].encode()) for name in ("cek", "iv", "ciphertext", "tag")}
    return parts | {"aad": vector["aad"].encode()}


def decrypted(vector: dict[str, Any], parts: dict[str, bytes]) -> bytes | None:
    cipher = content_cipher(vector["enc"], key=parts["cek"])
    return cipher.decrypt(parts["ciphertext"], iv=parts["iv"], tag=parts["tag"], aad=parts["aad"])


@pytest.mark.parametrize("vector", CIPHERS)
def test_rfc_ciphertexts_both_ways(vector: dict[str, Any]) -> None:
    """A256GCM and A256CBC-HS512 are those of RFC 7516, A.1 and RFC 7518, B.3, in both directions."""
    parts, plaintext = parts_of(vector), vector["plaintext"].encode()
    assert decrypted(vector, parts) == plaintext
    cipher = content_cipher(vector["enc"], key=parts["cek"])
    assert cipher.encrypt(plaintext, iv=parts["iv"], aad=parts["aad"]) == (parts["ciphertext"], parts["tag"])


@pytest.mark.parametrize("part", VECTORS["one_part_changed"])
@pytest.mark.parametrize("vector", CIPHERS)
def test_rfc_ciphertexts_with_one_bit_changed(vector: dict[str, Any], part: str) -> None:
    """With any one bit of any one part changed, key included, nothing is decrypted."""
    parts = parts_of(vector)
    for place in range(len(parts[part])):
        changed = bytearray(parts[part])
        changed[place] ^= 1 << place % 8
        assert decrypted(vector, parts | {part: bytes(changed)}) is None, place


@pytest.mark.parametrize("vector", CIPHERS)
def test_rfc_ciphertexts_cut_short(vector: dict[str, Any]) -> None:
    """A truncated IV, ciphertext, tag or AAD decrypts nothing, at any length."""
    parts = parts_of(vector)
    for part in ("iv", "ciphertext", "tag", "aad"):
        for length in range(len(parts[part])):
            assert decrypted(vector, parts | {part: parts[part][:length]}) is None, (part, length)


@pytest.mark.parametrize("token", REFUSED)
@pytest.mark.parametrize("encryption", ["A256GCM", "A256CBC-HS512"])
def test_rfc_tokens_of_other_algorithms(token: str, encryption: Any) -> None:
    """The RFCs' tokens with wrapped keys or shorter ones are refused, with their encrypted key and without it."""
    ring = cookie_key_ring(
        ["a secret that is long enough for all"], cookie_name="n", dialect="authjs", encryption=encryption
    )
    header, _, *rest = token.split(".")
    direct = b64url_encode(json.dumps({"alg": "dir", "enc": encryption}).encode()).decode()
    for variant in (token, ".".join((header, "", *rest)), ".".join((direct, "", *rest))):
        with pytest.raises(InvalidTokenError):
            ring.open(variant.encode(), now=0)
