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
_SHARED = re.compile(rb"\s*(?:public|s-maxage\s*=[^,]*)\s*(?:,|\Z)", re.IGNORECASE)


def amended(message: Message, cookies: Sequence[bytes], *, carried: bool) -> Message:
    """The message with our cookies, and fit for caches (RFC 9111: a Set-Cookie does not stop caching).

    With a cookie of ours ``cache-control: private, no-store``. For a request that carried a session cookie
    ``vary: cookie``, and never ``public`` or ``s-maxage``.
    """
    headers: Headers = [(bytes(name), bytes(value)) for name, value in message.get("headers") or ()]
    if message["type"] != "websocket.accept":
        headers = _never_cached(headers) if cookies else _never_shared(headers) if carried else headers
        if (carried or cookies) and not _varies(headers):
            headers.append((b"vary", b"cookie"))
    headers += [(b"set-cookie", cookie) for cookie in cookies]
    return {**message, "headers": headers}


def _never_cached(headers: Headers) -> Headers:
    kept = [item for item in headers if item[0].lower() not in _CACHE_HEADERS]
    return [*kept, (b"cache-control", b"private, no-store")]


def _never_shared(headers: Headers) -> Headers:
    return [(name, _private(value)) if name.lower() in _CACHE_HEADERS else (name, value) for name, value in headers]


def _private(value: bytes) -> bytes:
    kept, changes = _SHARED.subn(b"", value)
    return b", ".join([b"private", *filter(None, [kept.strip(b" ,")])]) if changes else value


def _varies(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    values = b",".join(value for name, value in headers if name.lower() == b"vary").lower()
    return bool({b"cookie", b"*"} & {value.strip() for value in values.split(b",")})
