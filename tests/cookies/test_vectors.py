from __future__ import annotations

from typing import Any

import pytest

from asgi_token_rotation._cookies import chunks
from asgi_token_rotation._cookies.ciphers import b64url_decode
from asgi_token_rotation._cookies.jwe import KeyRing, cookie_key_ring, sealed_cookie_key_ring
from asgi_token_rotation.errors import ExpiredTokenError, InvalidTokenError
from cookies.handmade import NOW, browser, cookie_header, request, vectors

V4_NAME = "next-auth.session-token"

# Where we are stricter or kinder than the library that made the vector.
REFUSED_BY_US = {"v4-other-enc-A128CBC-HS256"}  # v4 has no allow-list of enc; ours is RFC 7518's two
OPENED_BY_US = {"v5-no-kid-second-secret"}  # without kid v5 tries the first secret only; we try all

TOKENS = [pytest.param(vector, id=vector["id"]) for version in ("v4", "v5") for vector in vectors(version, "tokens")]
CHUNKS = [pytest.param(vector, id=vector["id"]) for version in ("v4", "v5") for vector in vectors(version, "chunking")]


def ring(vector: dict[str, Any]) -> KeyRing:
    secrets = [vector["secret"]] if isinstance(vector["secret"], str) else vector["secret"]
    if vector["id"].startswith("v5"):
        return cookie_key_ring(secrets, cookie_name=vector["salt"], dialect="authjs", encryption="A256CBC-HS512")
    if vector["salt"]:
        return sealed_cookie_key_ring(secrets, cookie_name=vector["salt"], dialect="nextauth-v4")
    return cookie_key_ring(secrets, cookie_name=V4_NAME, dialect="nextauth-v4")


@pytest.mark.parametrize("vector", TOKENS)
def test_every_token_behaves_as_recorded(vector: dict[str, Any]) -> None:
    """A token that the real Auth.js made gives the recorded claims, or is refused as recorded."""
    token, now = vector["token"].encode(), vector["decode_at"]
    if vector["id"] in OPENED_BY_US:
        assert ring(vector).open(token, now=now).claims().items() >= vector["payload_in"].items()
    elif "payload" in vector["expected"] and vector["id"] not in REFUSED_BY_US:
        assert ring(vector).open(token, now=now).claims() == vector["expected"]["payload"]
    else:
        with pytest.raises(InvalidTokenError) as caught:
            ring(vector).open(token, now=now)
        assert (type(caught.value) is ExpiredTokenError) == (vector["expected"].get("error") == "ERR_JWT_EXPIRED")


@pytest.mark.parametrize("vector", [vector for vector in TOKENS if "kids" in vector.values[0]["hkdf"]])  # type: ignore[union-attr]
def test_key_ids_are_those_of_authjs(vector: dict[str, Any]) -> None:
    """Our token names its key as Auth.js does, so that Auth.js finds the secret."""
    header = ring(vector).seal({}, now=NOW, expires=NOW).split(".")[0]
    kid = vector["hkdf"]["kids"][0]
    expected = f'{{"alg":"dir","enc":"A256CBC-HS512","kid":"{kid}"}}'
    assert b64url_decode(header.encode()).decode() == expected


def test_v4_header_has_no_key_id() -> None:
    """NextAuth v4's header is alg and enc, and nothing else."""
    keys = cookie_key_ring(["v4-secret-0123456789abcdef"], cookie_name=V4_NAME, dialect="nextauth-v4")
    assert b64url_decode(keys.seal({}, now=NOW, expires=NOW).split(".")[0].encode()) == b'{"alg":"dir","enc":"A256GCM"}'


@pytest.mark.parametrize("vector", [v for v in CHUNKS if v.values[0]["value_to_store"]])  # type: ignore[index]
def test_chunks_that_authjs_wrote_are_read(vector: dict[str, Any]) -> None:
    """What Auth.js left in the browser is joined to the value that it stored."""
    jar = {c["name"].encode(): c["value"].encode() for c in vector["set_cookies"] if "maxAge" not in c["options"]}
    found = chunks.find(request(cookie_header(jar)), vector["cookie_name"].encode())
    assert found.candidates == [vector["value_to_store"].encode()]


@pytest.mark.parametrize("vector", CHUNKS)
def test_writes_replace_what_authjs_would_replace(vector: dict[str, Any]) -> None:
    """C2, C4: names, order and removals are Auth.js's, but for cookies that only begin with the name.

    Two deviations: our lines are filled up to 4096 bytes, so a value of 4000 needs one cookie where Auth.js uses two; and
    cookies that are present with an empty value are removed too, where Auth.js v5 overlooks them.
    """
    name, value = vector["cookie_name"].encode(), vector["value_to_store"] or ""
    stored = {key.encode(): text.encode() for key, text in vector["request_cookies"].items()}
    present = chunks.find(request(cookie_header(stored)), name).names
    lines = chunks.write(name, value, chunks.Attributes(secure=False), max_age=60, present=present)
    jar = browser(lines, stored)
    assert chunks.find(request(cookie_header(jar)), name).candidates == ([value.encode()] if value else [])
    assert jar.keys() - {key for key in stored if key.endswith(b"-legacy")} == {
        line.partition(b"=")[0] for line in lines if b"Max-Age=60" in line
    }
    expected = [cookie for cookie in vector["set_cookies"] if not cookie["name"].endswith("-legacy")]
    if len(value) < vector_chunk_size(vector) and vector["id"] != "v5-chunk-empty-ignored":
        assert [line.partition(b"=")[0].decode() for line in lines] == [cookie["name"] for cookie in expected]
        removed = {cookie["header"].encode() for cookie in expected if "maxAge" in cookie["options"]}
        assert {line for line in lines if b"Max-Age=0" in line} == removed


def vector_chunk_size(vector: dict[str, Any]) -> int:
    return 3933 if vector["id"].startswith("v4") else 3936
