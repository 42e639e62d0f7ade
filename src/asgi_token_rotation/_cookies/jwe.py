"""Tokens as Auth.js seals them: compact JWE (RFC 7516), ``alg=dir``, the key derived from the application's secret.

The first secret seals, all of them open. Nothing that a client sends raises anything but ``InvalidTokenError`` or
``ExpiredTokenError``, and its size is bounded before any work.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from asgi_token_rotation._claims import FLAT, copied, copy_of
from asgi_token_rotation.errors import ConfigurationError, ExpiredTokenError, InvalidTokenError
from asgi_token_rotation.types import JWT, Dialect

from . import json_codec
from .ciphers import KEY_BYTES, ContentCipher, Encryption, b64url_decode, b64url_encode, content_cipher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_TOKEN_BYTES = 32 * 1024  # of a token from a cookie, as it stands there
MAX_RECORD_BYTES = 64 * 1024  # of a sealed record, which is all that a store takes
CLOCK_TOLERANCE = 15  # seconds, in both directions (Auth.js contract, 1.1)

_MAX_HEADER_BYTES = 512  # of base64url; Auth.js's own header is 180 long
_HEADER_PARAMETERS = frozenset(("alg", "enc", "kid", "typ", "cty"))
_UUID_VARIANTS = {f"{digit:x}": f"{0x8 | digit & 0x3:x}" for digit in range(16)}  # two of its bits are fixed
_NUMBERS = frozenset((int, float))
_BACKSLASH = ord("\\")  # one byte is found ten times as fast as three
_ALWAYS, _NEVER = float("-inf"), float("inf")
_LATEST = 2.0**53  # what JavaScript counts exactly; a later time is no time


@dataclass(slots=True)
class Opened:
    """A token that was ours and in its time when it was opened."""

    parsed: JWT = field(repr=False)  # the claims, shared by all who read them: never changed, and never handed out
    newest: bool  # sealed by the first secret, in the dialect that seals
    begins: float = field(default=_ALWAYS, repr=False)  # its nbf, as the token says it: without tolerance
    ends: float = field(default=_NEVER, repr=False)  # its exp
    contents: Any = field(default=None, repr=False, compare=False)  # what its reader worked out of it, to find it again

    def claims(self) -> JWT:
        """The claims, afresh at every call: what the caller changes, nobody else sees."""
        return copy_of(self.parsed)


@dataclass(frozen=True, slots=True)
class _Key:
    encryption: Encryption
    newest: bool
    kid: str
    cipher: ContentCipher = field(repr=False)


class KeyRing:
    """Seals with the first secret, opens with all: by ``kid``, and by trial where a token has none.

    Keys are derived once, as Auth.js derives them (contract, 1.2 and 1.3). May be shared between threads.
    """

    def __init__(
        self, secrets: Sequence[str], *, salt: str, info: str, encryption: Encryption = "A256GCM", kid: bool = True
    ) -> None:
        secrets = (secrets,) if isinstance(secrets, str) else tuple(secrets)
        if not secrets or not all(secrets):
            raise ConfigurationError("There is no secret, or an empty one: expected at least one. Set secret=.")
        self._keys = tuple(
            _derive(secret, salt=salt, info=info, encryption=enc, newest=place == 0)
            for place, secret in enumerate(secrets)
            for enc in KEY_BYTES
        )
        self._sealing = next(key for key in self._keys if key.encryption == encryption)
        self._header = _header(self._sealing, kid=kid)
        # The first segment of every token that we or Auth.js sealed is one of these: no need to parse it.
        self._by_header = {_header(key, kid=False): self._of(key.encryption) for key in self._keys}
        self._by_header |= {_header(key, kid=True): (key,) for key in reversed(self._keys)}

    def __repr__(self) -> str:
        return f"<KeyRing {self._sealing.encryption} secrets={len(self._keys) // len(KEY_BYTES)}>"

    def seal(self, claims: Mapping[str, Any], *, now: float, expires: float) -> str:
        """The claims as a token. ``iat``, ``exp`` and ``jti`` are set over whatever is there (contract, 1.1).

        Raises TypeError or ValueError for claims that are not JSON.
        """
        return self.seal_known(claims, now=now, expires=expires)[0].decode("ascii")

    def seal_known(self, claims: Mapping[str, Any], *, now: float, expires: float) -> tuple[bytes, Opened]:
        """As ``seal``, and with it what ``open`` would say of the token."""
        ends = int(expires)
        sealed = {**claims, "iat": int(now), "exp": ends, "jti": _random_uuid()}
        plaintext = json_codec.dumps(sealed)
        # What JSON spells otherwise, a name that is no text or a surrogate, is read from there, as everybody else reads it.
        exact = _BACKSLASH not in plaintext or b"\\ud" not in plaintext
        for claim, value in sealed.items():
            if type(claim) is not str:
                exact = False
            elif type(value) not in FLAT:
                sealed[claim] = copied(value)
        return self.seal_bytes(plaintext), Opened(sealed if exact else _claims(plaintext), True, ends=ends)

    def open(self, token: bytes, *, now: float, max_bytes: int = MAX_TOKEN_BYTES) -> Opened:
        """Open a token and judge its times. InvalidTokenError; ExpiredTokenError if it is ours and over."""
        plaintext, newest = self._decrypt(token, max_bytes)
        claims = _claims(plaintext)
        begins, ends = _judged_times(claims, now)
        return Opened(claims, newest, begins, ends)

    def seal_bytes(self, plaintext: bytes) -> bytes:
        """Any bytes, sealed by the first secret. Two seals are never alike."""
        iv = os.urandom(self._sealing.cipher.iv_bytes)
        ciphertext, tag = self._sealing.cipher.encrypt(plaintext, iv=iv, aad=self._header)
        return b".".join((self._header, b"", b64url_encode(iv), b64url_encode(ciphertext), b64url_encode(tag)))

    def open_bytes(self, token: bytes, *, max_bytes: int = MAX_RECORD_BYTES) -> bytes:
        """The inverse of ``seal_bytes``; no claims are judged. Raises InvalidTokenError."""
        return self._decrypt(token, max_bytes)[0]

    def _of(self, encryption: str) -> tuple[_Key, ...]:
        return tuple(key for key in self._keys if key.encryption == encryption)

    def _decrypt(self, token: bytes, max_bytes: int) -> tuple[bytes, bool]:
        if len(token) > max_bytes:
            raise InvalidTokenError(f"The token is {len(token)} bytes long: expected at most {max_bytes}.")
        header, iv, ciphertext, tag = _parts(token)
        keys = self._by_header.get(header) or self._chosen_by(header)
        for key in keys:
            plaintext = key.cipher.decrypt(ciphertext, iv=iv, tag=tag, aad=header)
            if plaintext is not None:
                return plaintext, key.newest
        raise InvalidTokenError(
            "The token does not open: it is damaged, forged, or sealed by a secret that is not here."
        )

    def _chosen_by(self, segment: bytes) -> tuple[_Key, ...]:
        header = _parsed_header(segment)
        keys = self._of(header["enc"])
        if "kid" in header:
            keys = tuple(key for key in keys if key.kid == header["kid"])[:1]
        if not keys:
            raise InvalidTokenError("The token's kid names none of the secrets: it was sealed by another one.")
        return keys


def cookie_key_ring(
    secrets: Sequence[str], *, cookie_name: str, dialect: Dialect, encryption: Encryption = "A256GCM"
) -> KeyRing:
    """The keys of the session cookie with this full name (Auth.js contract, 1.2 and 1.3)."""
    if dialect == "authjs":
        info = f"Auth.js Generated Encryption Key ({cookie_name})"
        return KeyRing(secrets, salt=cookie_name, info=info, encryption=encryption)
    if encryption != "A256GCM":
        raise ConfigurationError(
            f'CookieOptions.encryption is {encryption!r} with dialect="nextauth-v4": NextAuth v4 reads A256GCM only.'
            ' Leave encryption out, or use dialect="authjs".'
        )
    return KeyRing(secrets, salt="", info="NextAuth.js Generated Encryption Key", kid=False)


def sealed_cookie_key_ring(secrets: Sequence[str], *, cookie_name: str, dialect: Dialect) -> KeyRing:
    """The keys of another sealed cookie, such as the state's: salted with its full name in both dialects."""
    if dialect == "authjs":
        return cookie_key_ring(secrets, cookie_name=cookie_name, dialect=dialect)
    info = f"NextAuth.js Generated Encryption Key ({cookie_name})"
    return KeyRing(secrets, salt=cookie_name, info=info, kid=False)


def _derive(secret: str, *, salt: str, info: str, encryption: Encryption, newest: bool) -> _Key:
    try:
        material = secret.encode("utf-8")
    except UnicodeEncodeError:
        material = b""
    if not material:
        raise ConfigurationError("A secret is not valid Unicode text: expected UTF-8. Generate one, and set it anew.")
    length = KEY_BYTES[encryption]
    key = HKDF(SHA256(), length, salt.encode("utf-8"), info.encode("utf-8")).derive(material)
    return _Key(encryption, newest, _thumbprint(key), content_cipher(encryption, key=key))


def _thumbprint(key: bytes) -> str:
    # RFC 7638, 3, of the key as a JWK; Auth.js takes the SHA of the key's own length.
    jwk = b'{"k":"' + b64url_encode(key) + b'","kty":"oct"}'
    digest = hashlib.sha512(jwk) if len(key) == KEY_BYTES["A256CBC-HS512"] else hashlib.sha256(jwk)
    return b64url_encode(digest.digest()).decode("ascii")


def _random_uuid() -> str:
    """RFC 9562, 5.4. As ``uuid4`` makes it, in a third of the time."""
    digits = os.urandom(16).hex()
    variant = _UUID_VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _header(key: _Key, *, kid: bool) -> bytes:
    header = {"alg": "dir", "enc": key.encryption} | ({"kid": key.kid} if kid else {})
    return b64url_encode(json_codec.dumps(header))


def _parts(token: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    # By its dots, which is faster than to split it; a dot too many is found by the base64 that it is in.
    key, tag = token.find(b".."), token.rfind(b".")
    iv = token.find(b".", key + 2)
    try:
        if 0 <= key < iv < tag:
            parts = token[key + 2 : iv], token[iv + 1 : tag], token[tag + 1 :]
            return token[:key], b64url_decode(parts[0]), b64url_decode(parts[1]), b64url_decode(parts[2])
    except ValueError:  # what follows says it
        pass
    raise InvalidTokenError(
        "This is not a token: expected five parts of base64url, the second one empty (RFC 7516, 7.1)."
    )


def _parsed_header(segment: bytes) -> dict[str, Any]:
    """A header that we did not write ourselves, held to the allow-list. What is not understood is refused."""
    header = None
    if len(segment) <= _MAX_HEADER_BYTES:
        try:
            header = _json_object(b64url_decode(segment))
        except ValueError:
            header = None
    if (
        header is None
        or not _HEADER_PARAMETERS.issuperset(header)
        or not all(isinstance(value, str) for value in header.values())
        or header.get("alg") != "dir"
        or header.get("enc") not in KEY_BYTES
    ):
        raise InvalidTokenError(
            "The token's header is refused: expected alg dir, enc A256GCM or A256CBC-HS512, and at most kid, typ, cty."
        )
    return header


def _claims(plaintext: bytes) -> JWT:
    claims = _json_object(plaintext)
    if claims is None:
        raise InvalidTokenError("The token opens, but what it holds is not a JSON object.")
    return claims


def _json_object(text: bytes) -> dict[str, Any] | None:
    try:
        value = json_codec.loads(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _judged_times(claims: JWT, now: float) -> tuple[float, float]:
    """From when and until when the token is valid, by jose's rules (Auth.js contract, 1.1): each time may be absent."""
    _time(claims, "iat", 0)
    begins, ends = _time(claims, "nbf", _ALWAYS), _time(claims, "exp", _NEVER)
    if begins > now + CLOCK_TOLERANCE:
        raise InvalidTokenError("The token is not valid yet. Compare the clocks of the machines that seal and open.")
    if ends <= now - CLOCK_TOLERANCE:
        raise ExpiredTokenError("The token has expired.")
    return begins, ends


def _time(claims: JWT, claim: str, default: float) -> float:
    value: Any = claims.get(claim, default)
    # By type, because a bool is an int to Python.
    if value is not default and (type(value) not in _NUMBERS or not -_LATEST < value < _LATEST):
        raise InvalidTokenError(f"The token's {claim} is not a time: expected a number of seconds since the epoch.")
    return cast("float", value)
