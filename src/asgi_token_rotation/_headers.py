"""What a response that belongs to one user says to caches. Messages are copied, never changed in place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from .types import Message

Headers: TypeAlias = list[tuple[bytes, bytes]]

_CACHE_HEADERS = frozenset(
    {b"cache-control", b"cdn-cache-control", b"cloudflare-cdn-cache-control", b"surrogate-control"}
)
_LENGTHS = frozenset(map(len, (*_CACHE_HEADERS, b"vary")))
_VARY = (b"vary", b"cookie")
_VARYING = frozenset((b"cookie", b"*"))
_SHARED = re.compile(rb"\s*(?:public|s-maxage\s*=[^,]*)\s*(?:,|\Z)", re.IGNORECASE)


def varied(message: Message) -> Message:
    """The message for a request that carried a session cookie and gets none, fit for caches as ``amended`` says."""
    given = message.get("headers")
    if given.__class__ is not list or message["type"] == "websocket.accept":
        return amended(message, (), carried=True)
    # Nearly always ``vary`` is all that is missing. Most headers are told apart by their names' lengths alone.
    for name, _ in given:
        if len(name) in _LENGTHS:
            return amended(message, (), carried=True)
    return {**message, "headers": [*given, _VARY]}


def amended(message: Message, cookies: Sequence[bytes], *, carried: bool) -> Message:
    """The message with our cookies, and fit for caches (RFC 9111: a Set-Cookie does not stop caching).

    With a cookie of ours ``cache-control: private, no-store``. For a request that carried a session cookie
    ``vary: cookie``, and never ``public`` or ``s-maxage``.
    """
    headers: Headers = [(bytes(name), bytes(value)) for name, value in message.get("headers") or ()]
    if (carried or cookies) and message["type"] != "websocket.accept":
        told = [name.lower() for name, _ in headers]
        if not _CACHE_HEADERS.isdisjoint(told):
            headers = _without_cache(headers) if cookies else _never_shared(headers)
        if cookies:
            headers.append((b"cache-control", b"private, no-store"))
        if b"vary" not in told or not _varies(headers):
            headers.append(_VARY)
    if cookies:
        headers += [(b"set-cookie", cookie) for cookie in cookies]
    return {**message, "headers": headers}


def _without_cache(headers: Headers) -> Headers:
    return [item for item in headers if item[0].lower() not in _CACHE_HEADERS]


def _never_shared(headers: Headers) -> Headers:
    return [(name, _private(value)) if name.lower() in _CACHE_HEADERS else (name, value) for name, value in headers]


def _private(value: bytes) -> bytes:
    kept, changes = _SHARED.subn(b"", value)
    return b", ".join([b"private", *filter(None, [kept.strip(b" ,")])]) if changes else value


def _varies(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    values = b",".join(value for name, value in headers if name.lower() == b"vary").lower()
    return not _VARYING.isdisjoint(value.strip() for value in values.split(b","))
