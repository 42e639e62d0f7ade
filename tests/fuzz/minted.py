"""Session cookies and CSRF cookies, made without the package's sealing, with nothing random in them."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any, Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from asgi_token_rotation._cookies.ciphers import ContentCipher, Encryption, b64url_decode, b64url_encode, content_cipher
from fuzz.dice import Dice

NOW = 1_800_000_000.0
SECRETS = ("the newest secret of the fuzz run, long enough", "an older secret of the fuzz run, long enough")
FOREIGN = "a secret that nobody here knows, and long enough"
USER = "ada@example.com"
ACCESS_TOKEN, REFRESH_TOKEN = "access-token-of-ada", "refresh-token-of-ada"
PASSWORD = "lovelace-and-babbage"
TOKEN_LIFE = 3600  # seconds

Dialect = Literal["authjs", "nextauth-v4"]
STEMS: dict[Dialect, str] = {"authjs": "authjs", "nextauth-v4": "next-auth"}


@cache
def cipher_for(
    secret: str, name: str, dialect: Dialect, encryption: Encryption, *, salted: bool = False
) -> ContentCipher:
    """The cipher of a session cookie, by the contract's derivation. ``salted``: of another one, as v4 has it."""
    named = dialect == "authjs" or salted
    info = f"{'Auth' if dialect == 'authjs' else 'NextAuth'}.js Generated Encryption Key{f' ({name})' if named else ''}"
    length = 32 if encryption == "A256GCM" else 64
    key = HKDF(SHA256(), length, name.encode() if named else b"", info.encode()).derive(secret.encode())
    return content_cipher(encryption, key=key)


def token(
    plaintext: bytes,
    dice: Dice,
    *,
    name: str,
    dialect: Dialect,
    encryption: Encryption = "A256GCM",
    secret: str = SECRETS[0],
    header: bytes | None = None,
    salted: bool = False,
) -> bytes:
    """A compact JWE under the right key, whatever its header says."""
    plain = json.dumps({"alg": "dir", "enc": encryption}).encode()
    first = b64url_encode(plain if header is None else header)
    cipher = cipher_for(secret, name, dialect, encryption, salted=salted)
    iv = hashlib.sha256(dice.identity.encode() + first + plaintext).digest()[: cipher.iv_bytes]
    ciphertext, tag = cipher.encrypt(plaintext, iv=iv, aad=first)
    return b".".join((first, b"", b64url_encode(iv), b64url_encode(ciphertext), b64url_encode(tag)))


def opened(cookie: bytes, *, name: str, dialect: Dialect) -> dict[str, Any]:
    """What a cookie holds that the newest secret sealed."""
    header, _, *parts = cookie.split(b".")
    iv, ciphertext, tag = map(b64url_decode, parts)
    text = cipher_for(SECRETS[0], name, dialect, "A256GCM").decrypt(ciphertext, iv=iv, tag=tag, aad=header)
    claims: dict[str, Any] = json.loads(text or b"")
    return claims


def claims_of_ada(dice: Dice, **more: Any) -> dict[str, Any]:
    """What the cookie of somebody signed in holds."""
    return {
        "name": "Ada", "email": USER, "sub": "7", "provider": "credentials", "session_id": dice.identity,
        "generation": 0, "signed_in_at": NOW - 100, "access_token": ACCESS_TOKEN, "refresh_token": REFRESH_TOKEN,
        "expires_at": NOW - 100 + TOKEN_LIFE, "issued_at": NOW - 100, "iat": int(NOW - 100),
        "exp": int(NOW + 29 * 86400), "jti": "fuzz", **more,
    }  # fmt: skip


def csrf_pair(dice: Dice) -> tuple[str, str]:
    """A CSRF token and the value of its cookie."""
    csrf_token = hashlib.sha256(b"csrf" + dice.identity.encode()).hexdigest()
    return csrf_token, f"{csrf_token}|{hashlib.sha256((csrf_token + SECRETS[0]).encode()).hexdigest()}"
