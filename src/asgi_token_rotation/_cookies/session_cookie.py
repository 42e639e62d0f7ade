"""The session cookie as one thing: key ring, name, attributes and chunks together."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from asgi_token_rotation._claims import with_session_id
from asgi_token_rotation.errors import ConfigurationError, CookieTooLargeError, InvalidTokenError

from . import chunks, json_codec
from .chunks import Attributes
from .jwe import KeyRing, Opened, cookie_key_ring
from .seen import SeenCookies

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from asgi_token_rotation.options import CookieOptions
    from asgi_token_rotation.types import Dialect

DEFAULT_NAMES: Mapping[Dialect, str] = {"authjs": "authjs.session-token", "nextauth-v4": "next-auth.session-token"}

_LEAST_ROOM = 2048  # bytes of a cookie that a token has for itself
_logger = logging.getLogger("asgi_token_rotation")


class SessionCookie:
    """Reads, writes and clears the session cookie. ``name`` is the full one, prefix included.

    ``accepted`` are full names and keys of another dialect's cookie: read, never written. What they open is not newest.
    ``keep``: seconds for which a cookie that opened is known again.
    Raises ConfigurationError where name, path and domain leave no room for a token.
    """

    def __init__(
        self,
        *,
        name: str,
        attributes: Attributes,
        keys: KeyRing,
        accepted: Sequence[tuple[str, KeyRing]] = (),
        keep: float = 0,
    ) -> None:
        self._name = name
        self._wire_name = name.encode("ascii")
        self._present = (self._wire_name,)  # what nearly every signed-in request carries
        self._attributes = attributes
        self._keys = keys
        self._other_keys = tuple(other for other_name, other in accepted if other_name == name)
        self._other_names = tuple((other.encode("ascii"), ring) for other, ring in accepted if other != name)
        self._seen = SeenCookies(keep=keep)
        self._keeps = keep > 0
        self._last: tuple[Mapping[str, Any], tuple[int, int], bytes] | None = None  # what was sealed last
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

    def read(self, crumbs: Sequence[bytes], now: float) -> tuple[Opened | None, Sequence[bytes]]:
        """The newest candidate that opens and is in its time, and the names of all cookies of ours that are present.

        ``crumbs``: the values of the request's ``cookie`` headers.
        Parallel answers can leave an older cookie in chunks beside a newer plain one, or the other way round, or one
        dialect's beside the other's. At most ``MAX_CANDIDATES`` a name are tried, once by each secret of each dialect.
        """
        if len(crumbs) == 1 and not self._other_names:  # nearly always
            value = chunks.single(crumbs[0], self._wire_name)
            if value is not None:
                return self._seen.get(value, now) or self._opened(value, now), self._present
        found = chunks.assembled(chunks.arrived(crumbs, self._wire_name), self._wire_name)
        opened = [token for token in (self._known(candidate, now) for candidate in found.candidates) if token]
        for name, keys in self._other_names:
            other = chunks.assembled(chunks.arrived(crumbs, name), name)
            opened += [token for token in (_accepted(keys, value, now=now) for value in other.candidates) if token]
            found.names.extend(other.names)
        return (_newest(opened) if len(opened) > 1 else opened[0] if opened else None), found.names

    def _known(self, candidate: bytes, now: float) -> Opened | None:
        return self._seen.get(candidate, now) or self._opened(candidate, now)

    def _opened(self, candidate: bytes, now: float) -> Opened | None:
        try:
            opened = self._keys.open(candidate, now=now)
        except InvalidTokenError:
            return next((token for keys in self._other_keys if (token := _accepted(keys, candidate, now=now))), None)
        self._seen.put(candidate, opened, now=now)
        return opened

    def write(
        self, claims: Mapping[str, Any], *, now: float, expires: float, present: Collection[bytes]
    ) -> list[bytes]:
        """The ``Set-Cookie`` values that put these claims in the place of what is ``present``.

        Raises CookieTooLargeError, which names the largest claims and their sizes; TypeError or ValueError for claims
        that are not JSON. The first token that needs a second cookie logs one warning: many front ends allow 8 KiB.
        """
        token = self._sealed(claims, now=now, expires=expires)
        max_age = max(math.ceil(expires - now), 1)  # 0 would clear the cookie
        try:
            lines = chunks.write(self._wire_name, token, self._attributes, max_age=max_age, present=present)
        except CookieTooLargeError:
            raise CookieTooLargeError(
                f"The sealed session takes {len(token)} bytes and does not fit into {chunks.MAX_CHUNKS} cookies of"
                f" {chunks.MAX_LINE_BYTES} bytes. Its largest claims: {_largest(claims, 5)}."
                " Leave out of the token what you do not need."
            ) from None
        if len(lines) > 1 and not self._warned and (count := self._count(len(token), max_age=max_age)) > 1:
            self._warned = True
            _logger.warning(
                "A session takes %d bytes and needs %d cookies, which front ends with small header limits refuse"
                " (nginx: 502, others: 431). Its largest claims: %s. Leave out of the token what you do not need,"
                " in the jwt callback, or raise the front end's limits.",
                len(token),
                count,
                _largest(claims, 2),
            )
        return lines

    def _sealed(self, claims: Mapping[str, Any], *, now: float, expires: float) -> bytes:
        """The token; the same for all who write these very claims in one second, as those do who waited for one refresh."""
        last, times = self._last, (int(now), int(expires))
        if last is not None and last[0] is claims and last[1] == times:
            return last[2]
        token, opened = self._keys.seal_known(claims, now=now, expires=expires)
        if self._keeps:
            self._last = (claims, times, token)
        if "nbf" not in claims:  # that one nobody has judged yet
            self._seen.put(token, opened, now=now)
        return token

    def clear(self, present: Collection[bytes]) -> list[bytes]:
        """The ``Set-Cookie`` values that remove the cookies of these names."""
        return chunks.clear(present, self._attributes)

    def _count(self, size: int, *, max_age: int) -> int:
        return chunks.chunk_count(size, name=self._wire_name, attributes=self._attributes, max_age=max_age)


def session_cookie_for(
    secrets: Sequence[str],
    options: CookieOptions,
    *,
    dialect: Dialect,
    secure: bool,
    accept_dialects: Sequence[Dialect] = (),
) -> SessionCookie:
    """The session cookie that the options describe, on an origin that is ``secure`` (https) or not.

    ``options.secure`` overrides that. Where the cookie is not Secure it gets no prefix, and ``lax`` for ``none``:
    browsers drop such cookies without Secure (RFC 6265bis, 5.7), so that local http would have no session at all.
    ``accept_dialects`` are read as well, under the names that the same options give in them.
    Raises ConfigurationError for an encryption that the dialect can't have.
    """
    secure = secure if options.secure is None else options.secure
    prefix = "__Secure-" if options.prefix is None else options.prefix
    names = {each: (prefix if secure else "") + (options.name or default) for each, default in DEFAULT_NAMES.items()}
    name = names[dialect]
    same_site = "lax" if options.same_site == "none" and not secure else options.same_site
    return SessionCookie(
        name=name,
        attributes=Attributes(path=options.path, domain=options.domain, secure=secure, same_site=same_site),
        keys=cookie_key_ring(secrets, cookie_name=name, dialect=dialect, encryption=options.encryption),
        accepted=[
            (names[each], cookie_key_ring(secrets, cookie_name=names[each], dialect=each)) for each in accept_dialects
        ],
        keep=options.cache,
    )


def _largest(claims: Mapping[str, Any], count: int) -> str:
    """Names and sizes, never values."""
    sizes = sorted(((len(json_codec.dumps(value)), str(name)) for name, value in claims.items()), reverse=True)
    return ", ".join(f"{name[:40]!r} with {size} bytes" for size, name in sizes[:count])


def _accepted(keys: KeyRing, candidate: bytes, *, now: float) -> Opened | None:
    try:
        return replace(keys.open(candidate, now=now), newest=False)
    except InvalidTokenError:
        return None


def _newest(opened: list[Opened]) -> Opened:
    """The later sign-in counts, then the higher generation, then the later seal. Of equals the first.

    Auth.js tells no sign-in and seals anew at every read, so a cookie of its own making is no later sign-in than
    another cookie of the same session.
    """
    began: dict[str, float] = {}
    ranks: list[tuple[str, float, float]] = []
    for token in opened:
        claims = with_session_id(token.parsed)
        session_id, sealed_at = claims["session_id"], _number(claims.get("iat"))
        signed_in_at = _number(claims.get("signed_in_at")) or sealed_at
        began[session_id] = min(began.get(session_id, signed_in_at), signed_in_at)
        ranks.append((session_id, _number(claims["generation"]), sealed_at))
    return max(zip(opened, ranks, strict=True), key=lambda pair: (began[pair[1][0]], *pair[1][1:]))[0]


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0.0
