"""Tokens and headers that our own code would not make, and the vectors that the real Auth.js made."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from asgi_token_rotation._cookies.ciphers import Encryption, b64url_encode, content_cipher

NOW = 1_800_000_000.0
SECRET = "a-secret-of-more-than-32-characters!"
OTHER = "another-secret-of-more-than-32-chars"
NAME = "authjs.session-token"

_FOLDER = Path(__file__).parent.parent / "vectors"


def vectors(version: str, kind: str) -> list[Any]:
    """One list of the vectors of ``v4`` or ``v5``."""
    return json.loads((_FOLDER / f"authjs_{version}.json").read_text())[version][kind]


def derived_key(secret: str, *, length: int, name: str = NAME) -> bytes:
    """Auth.js v5's key, derived without our code."""
    info = f"Auth.js Generated Encryption Key ({name})"
    return HKDF(SHA256(), length, name.encode(), info.encode()).derive(secret.encode())


def token(
    header: dict[str, Any] | bytes,
    plaintext: bytes = b'{"sub":"1"}',
    *,
    encryption: Encryption = "A256GCM",
    secret: str = SECRET,
) -> bytes:
    """A token under the right key, whatever its header says."""
    first = b64url_encode(header if isinstance(header, bytes) else json.dumps(header).encode())
    length = 32 if encryption == "A256GCM" else 64
    cipher = content_cipher(encryption, key=derived_key(secret, length=length))
    iv = os.urandom(cipher.iv_bytes)
    ciphertext, tag = cipher.encrypt(plaintext, iv=iv, aad=first)
    return b".".join((first, b"", b64url_encode(iv), b64url_encode(ciphertext), b64url_encode(tag)))


def request(*cookies: str | bytes) -> list[tuple[bytes, bytes]]:
    """A request's headers with these ``cookie`` headers among others."""
    lines = [cookie.encode("latin-1") if isinstance(cookie, str) else cookie for cookie in cookies]
    return [(b"host", b"example.com"), *((b"cookie", line) for line in lines), (b"accept", b"*/*")]


def browser(lines: list[bytes], jar: dict[bytes, bytes] | None = None) -> dict[bytes, bytes]:
    """What a browser that got these ``Set-Cookie`` lines holds."""
    jar = dict(jar or {})
    for line in lines:
        pair, *attributes = line.split(b"; ")
        name, _, value = pair.partition(b"=")
        jar.pop(name, None)
        if b"Max-Age=0" not in attributes:
            jar[name] = value
    return jar


def cookie_header(jar: dict[bytes, bytes]) -> bytes:
    """The ``cookie`` header that the browser sends."""
    return b"; ".join(name + b"=" + value for name, value in jar.items())
