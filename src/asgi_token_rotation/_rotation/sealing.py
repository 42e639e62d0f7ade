"""The record as the store sees it: a key that says nothing, and sealed bytes behind a rank."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from .._cookies.jwe import KeyRing
from ..errors import InvalidTokenError
from .record import Claim, Record

KEY_PREFIX = "asgi-token-rotation:"
_KEY_DOMAIN = b"asgi-token-rotation session key\0"
_SEAL_SALT = "asgi-token-rotation.record"
_SEAL_INFO = "asgi-token-rotation record encryption key"
_FOR_EVER = 9_999_999_999
_DEFAULTS: dict[str, Any] = {item.name: item.default for item in fields(Record)}


def key_of(session_id: str) -> str:
    """The store's key of a session. The id is 32 random bytes, so the hash needs no secret."""
    return KEY_PREFIX + hashlib.sha256(_KEY_DOMAIN + session_id.encode("utf-8", "surrogatepass")).hexdigest()


def session_name(key: str) -> str:
    """How log lines and events name a session: 8 hex digits of its key."""
    return key[len(KEY_PREFIX) : len(KEY_PREFIX) + 8]


def rank_of(record: Record) -> str:
    """What a full store may do with the record (``stores/base.py``)."""
    if record.state == "ended":
        return f"e{record.at:.0f}"
    if record.state == "claimed":
        return f"k{_FOR_EVER}"
    if record.token is not None:
        return f"k{record.until:.0f}"
    if record.state == "refused" or record.retry_at is not None:
        return f"b{record.retry_at or record.published:.0f}"
    return "k0"


class RecordSeal:
    """Seals records with the newest secret, opens them with any."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = KeyRing(secrets, salt=_SEAL_SALT, info=_SEAL_INFO)

    def seal(self, key: str, record: Record) -> bytes:
        """The record's bytes for the store, good under this key only. A fresh IV each time, so bytes never repeat."""
        content = {name: value for name, value in asdict(record).items() if value != _DEFAULTS[name]}
        content["key"] = key
        plaintext = json.dumps(content, separators=(",", ":")).encode()
        return rank_of(record).encode() + b":" + self._keys.seal_bytes(plaintext)

    def open(self, key: str, value: bytes) -> Record:
        """The record behind the bytes. InvalidTokenError: sealed with a secret that this process does not have."""
        _, _, sealed = value.partition(b":")
        content = json.loads(self._keys.open_bytes(sealed))
        try:
            if content.pop("key") != key:
                raise InvalidTokenError("The record is another session's.")
            if content.get("before") is not None:
                content["before"] = (content["before"][0], content["before"][1])
            if content.get("claim") is not None:
                content["claim"] = Claim(**content["claim"])
            return Record(**content)
        except (TypeError, AttributeError, LookupError) as error:
            raise InvalidTokenError("The record was written by a newer version of this package.") from error
