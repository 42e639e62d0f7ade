"""The two content encryptions of a token (RFC 7518, 5), and base64url as RFC 7515 wants it.

With pybase64 (extra ``speed``) base64 is the same, in a fifth of the time.

Objects here may be shared between threads: each call makes its own cipher context.
"""

from __future__ import annotations

import binascii
import hmac
import importlib
from collections.abc import Callable
from functools import partial
from typing import Literal, Protocol, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Encryption: TypeAlias = Literal["A256GCM", "A256CBC-HS512"]

KEY_BYTES: dict[Encryption, int] = {"A256GCM": 32, "A256CBC-HS512": 64}

_BLOCK = 16  # bytes, of AES
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")  # the standard alphabet's own characters and padding become invalid
# RFC 4648, 3.5: of the last character only so many bits are data, and the rest must be zero.
_LAST = {0: b"", 2: b"AQgw", 3: b"AEIMQUYcgkosw048"}
_PADDING = {0: b"", 2: b"==", 3: b"="}


def b64url_encode(data: bytes) -> bytes:
    """Base64url without padding (RFC 7515, 2)."""
    return _encode(data).rstrip(b"=")


def b64url_decode(text: bytes) -> bytes:
    """The inverse, for the one canonical spelling: ValueError for padding, whitespace, other characters, stray bits."""
    rest = len(text) % 4
    if rest == 1 or (rest and text[-1] not in _LAST[rest]):
        raise ValueError("This is not canonical base64url.")
    return _decode(text.translate(_FROM_URL) + _PADDING[rest])


def encoder(module: str) -> Callable[[bytes], bytes]:
    """Writes base64url, padded: by pybase64, by its name, or by the standard library where that is not installed."""
    try:
        fast = importlib.import_module(module).b64encode
    except ImportError:
        return lambda data: binascii.b2a_base64(data, newline=False).translate(_TO_URL)
    return lambda data: fast(data, b"-_")


def decoder(module: str) -> Callable[[bytes], bytes]:
    """Reads padded base64 of the standard alphabet, chosen likewise. ValueError for any other character."""
    try:
        fast = importlib.import_module(module).b64decode
    except ImportError:
        return partial(binascii.a2b_base64, strict_mode=True)
    return lambda text: fast(text, None, True)


class ContentCipher(Protocol):
    """Authenticated encryption under one key, with RFC 7516's words."""

    @property
    def iv_bytes(self) -> int:
        """How long an initialization vector is."""
        ...

    def encrypt(self, plaintext: bytes, *, iv: bytes, aad: bytes) -> tuple[bytes, bytes]:
        """The ciphertext and its tag. An IV must never come twice."""
        ...

    def decrypt(self, ciphertext: bytes, *, iv: bytes, tag: bytes, aad: bytes) -> bytes | None:
        """The plaintext, or None where IV, ciphertext, tag, AAD and key do not belong together."""
        ...


class GCM:
    """A256GCM (RFC 7518, 5.3): a 96-bit IV and a 128-bit tag."""

    iv_bytes = 12

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def encrypt(self, plaintext: bytes, *, iv: bytes, aad: bytes) -> tuple[bytes, bytes]:
        """As ``ContentCipher.encrypt``."""
        sealed = self._aead.encrypt(iv, plaintext, aad)
        return sealed[:-_BLOCK], sealed[-_BLOCK:]

    def decrypt(self, ciphertext: bytes, *, iv: bytes, tag: bytes, aad: bytes) -> bytes | None:
        """As ``ContentCipher.decrypt``."""
        if len(iv) != self.iv_bytes or len(tag) != _BLOCK:
            return None
        try:
            return self._aead.decrypt(iv, ciphertext + tag, aad)
        except InvalidTag:
            return None


class CBCHMAC:
    """A256CBC-HS512 (RFC 7518, 5.2.5): the first half of the key is HMAC's, the second AES's."""

    iv_bytes = _BLOCK

    def __init__(self, key: bytes) -> None:
        self._mac_key = key[:32]
        self._aes = algorithms.AES(key[32:])

    def encrypt(self, plaintext: bytes, *, iv: bytes, aad: bytes) -> tuple[bytes, bytes]:
        """As ``ContentCipher.encrypt``."""
        padding = _BLOCK - len(plaintext) % _BLOCK
        encryptor = Cipher(self._aes, modes.CBC(iv)).encryptor()
        ciphertext = encryptor.update(plaintext + bytes([padding]) * padding) + encryptor.finalize()
        return ciphertext, self._tag(ciphertext, iv, aad)

    def decrypt(self, ciphertext: bytes, *, iv: bytes, tag: bytes, aad: bytes) -> bytes | None:
        """As ``ContentCipher.decrypt``."""
        if len(iv) != _BLOCK or not ciphertext or len(ciphertext) % _BLOCK:
            return None
        # RFC 7518, 5.2.2.2: the tag is judged, in constant time and at its full length, before anything is decrypted.
        if not hmac.compare_digest(tag, self._tag(ciphertext, iv, aad)):
            return None
        decryptor = Cipher(self._aes, modes.CBC(iv)).decryptor()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        padding = padded[-1]
        if not 1 <= padding <= _BLOCK or not padded.endswith(padded[-1:] * padding):
            return None
        return padded[:-padding]

    def _tag(self, ciphertext: bytes, iv: bytes, aad: bytes) -> bytes:
        bits = (len(aad) * 8).to_bytes(8, "big")
        return hmac.digest(self._mac_key, aad + iv + ciphertext + bits, "sha512")[:32]


def content_cipher(encryption: Encryption, *, key: bytes) -> ContentCipher:
    """The cipher that ``encryption`` names, under a key of ``KEY_BYTES[encryption]`` bytes."""
    return GCM(key) if encryption == "A256GCM" else CBCHMAC(key)


_encode, _decode = encoder("pybase64"), decoder("pybase64")
