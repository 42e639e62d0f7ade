"""The session cookie as one thing: key ring, name, attributes and chunks together."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from asgi_token_rotation.errors import ConfigurationError, CookieTooLargeError, InvalidTokenError

from . import chunks, json_codec
from .chunks import Attributes, Headers
from .jwe import KeyRing, Opened, cookie_key_ring

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from asgi_token_rotation.options import CookieOptions
    from asgi_token_rotation.types import Dialect

DEFAULT_NAMES: Mapping[Dialect, str] = {"authjs": "authjs.session-token", "nextauth-v4": "next-auth.session-token"}

_LEAST_ROOM = 2048  # bytes of a cookie that a token has for itself
_logger = logging.getLogger("asgi_token_rotation")


class SessionCookie:
    """Reads, writes and clears the session cookie. ``name`` is the full one, prefix included.

    Raises ConfigurationError where name, path and domain leave no room for a token.
    """

    def __init__(self, *, name: str, attributes: Attributes, keys: KeyRing) -> None:
        self._name = name
        self._wire_name = name.encode("ascii")
        self._attributes = attributes
        self._keys = keys
        self._warned = False
        if self._count(_LEAST_ROOM, max_age=10**10) > 1:
            raise ConfigurationError(
                f"The session cookie's name, path and domain leave less than {_LEAST_ROOM} of a cookie's"
                f" {chunks.MAX_LINE_BYTES} bytes: expected short ones. Shorten them in CookieOptions."
            )

    @property
    def name(self) -> str:
        """The full name, prefix included."""
        return self._name

    def read(self, headers: Headers, *, now: float) -> tuple[Opened | None, list[bytes]]:
        """The newest candidate that opens and is in its time, and the names of all cookies of ours that are present.

        Parallel answers can leave an older cookie in chunks beside a newer plain one, or the other way round: the later
        sign-in counts, then the higher generation. Of equals the first.
        """
        found = chunks.find(headers, self._wire_name)
        opened = [token for token in (self._opened(candidate, now=now) for candidate in found.candidates) if token]
        return (max(opened, key=_newness) if len(opened) > 1 else opened[0] if opened else None), found.names

    def _opened(self, candidate: bytes, *, now: float) -> Opened | None:
        try:
            return self._keys.open(candidate, now=now)
        except InvalidTokenError:
            return None

    def write(
        self, claims: Mapping[str, Any], *, now: float, expires: float, present: Collection[bytes]
    ) -> list[bytes]:
        """The ``Set-Cookie`` values that put these claims in the place of what is ``present``.

        Raises CookieTooLargeError, which names the largest claims and their sizes; TypeError or ValueError for claims
        that are not JSON. The first token that needs a second cookie logs one warning: many front ends allow 8 KiB.
        """
        token = self._keys.seal(claims, now=now, expires=expires)
        max_age = max(math.ceil(expires - now), 1)  # 0 would clear the cookie
        count = self._count(len(token), max_age=max_age)
        if count > chunks.MAX_CHUNKS:
            raise CookieTooLargeError(
                f"The sealed session takes {len(token)} bytes and does not fit into {chunks.MAX_CHUNKS} cookies of"
                f" {chunks.MAX_LINE_BYTES} bytes. Its largest claims: {_largest(claims, 5)}."
                " Leave out of the token what you do not need."
            )
        if count > 1 and not self._warned:
            self._warned = True
            _logger.warning(
                "A session takes %d bytes and needs %d cookies, which front ends with small header limits refuse"
                " (nginx: 502, others: 431). Its largest claims: %s. Leave out of the token what you do not need,"
                " in the jwt callback, or raise the front end's limits.",
                len(token),
                count,
                _largest(claims, 2),
            )
        return chunks.write(self._wire_name, token, self._attributes, max_age=max_age, present=present)

    def clear(self, present: Collection[bytes]) -> list[bytes]:
        """The ``Set-Cookie`` values that remove the cookies of these names."""
        return chunks.clear(present, self._attributes)

    def _count(self, size: int, *, max_age: int) -> int:
        return chunks.chunk_count(size, name=self._wire_name, attributes=self._attributes, max_age=max_age)


def session_cookie_for(
    secrets: Sequence[str], options: CookieOptions, *, dialect: Dialect, secure: bool
) -> SessionCookie:
    """The session cookie that the options describe, on an origin that is ``secure`` (https) or not.

    ``options.secure`` overrides that. Where the cookie is not Secure it gets no prefix, and ``lax`` for ``none``:
    browsers drop such cookies without Secure (RFC 6265bis, 5.7), so that local http would have no session at all.
    Raises ConfigurationError for an encryption that the dialect can't have.
    """
    secure = secure if options.secure is None else options.secure
    prefix = "__Secure-" if options.prefix is None else options.prefix
    name = (prefix if secure else "") + (options.name or DEFAULT_NAMES[dialect])
    same_site = "lax" if options.same_site == "none" and not secure else options.same_site
    return SessionCookie(
        name=name,
        attributes=Attributes(path=options.path, domain=options.domain, secure=secure, same_site=same_site),
        keys=cookie_key_ring(secrets, cookie_name=name, dialect=dialect, encryption=options.encryption),
    )


def _largest(claims: Mapping[str, Any], count: int) -> str:
    """Names and sizes, never values."""
    sizes = sorted(((len(json_codec.dumps(value)), str(name)) for name, value in claims.items()), reverse=True)
    return ", ".join(f"{name[:40]!r} with {size} bytes" for size, name in sizes[:count])


def _newness(opened: Opened) -> tuple[float, float, float]:
    claims = opened.claims()
    sealed_at = _number(claims.get("iat"))
    return _number(claims.get("signed_in_at")) or sealed_at, _number(claims.get("generation")), sealed_at


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0.0
