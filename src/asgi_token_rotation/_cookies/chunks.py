"""Cookies on the wire: found among the request's, joined from chunks, cut into ``Set-Cookie`` lines, cleared.

Names are matched exactly: ``name`` and ``name.0``, ``name.1``, … An unrelated cookie that begins alike is none of ours.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, unquote

from asgi_token_rotation.errors import ConfigurationError, CookieError, CookieTooLargeError

MAX_LINE_BYTES = 4096  # of a Set-Cookie line, attributes counted: what every browser and front end takes
MAX_CHUNKS = 4
MAX_COOKIE_BYTES = 32 * 1024  # of all cookies of one name together, to be read
MAX_CANDIDATES = 4
MAX_NAMES = 32  # cookies of one name that are looked at

Headers = Iterable[tuple[bytes, bytes]]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")  # RFC 6265, 4.1.1: a token
_ATTRIBUTE = re.compile(r"[\x21-\x3a\x3c-\x7e]+\Z")  # RFC 6265, 4.1.1, without spaces
_NUMBER = re.compile(rb"\.(0|[1-9][0-9]{0,2})\Z")
# RFC 6265, 4.1.1: no control character, space, quote, comma, semicolon or backslash.
_VALUE_OCTETS = bytes(octet for octet in range(0x21, 0x7F) if octet not in b'",;\\')
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What follows name and value. Raises ConfigurationError for a path or domain that would break the line."""

    path: str = "/"
    domain: str | None = None
    secure: bool
    same_site: Literal["lax", "strict", "none"] = "lax"
    http_only: bool = True
    _rest: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value in (("path", self.path), ("domain", self.domain)):
            if value is not None and not _ATTRIBUTE.match(value):
                raise ConfigurationError(
                    f"The cookie's {name} is {value!r}: expected visible ASCII characters without a semicolon."
                )
        domain = "" if self.domain is None else f"; Domain={self.domain}"
        flags = f"{'; HttpOnly' if self.http_only else ''}{'; Secure' if self.secure else ''}"
        rest = f"{domain}; Path={self.path}{flags}; SameSite={self.same_site.capitalize()}"
        object.__setattr__(self, "_rest", rest.encode("ascii"))

    def suffix(self, max_age: int | None) -> bytes:
        """The attributes as they stand in the line, in Auth.js's order (contract, 2.1). ``max_age`` in seconds."""
        return self._rest if max_age is None else b"; Max-Age=%d" % max_age + self._rest

    def line(self, name: bytes, value: bytes, *, max_age: int | None) -> bytes:
        """One ``Set-Cookie`` value; ``max_age`` None: until the browser closes. CookieError for what could inject."""
        return _line(name, value, self.suffix(max_age))


@dataclass(slots=True)
class Found:
    """A request's cookies of one name: what may be its value, likeliest first, and every name that is present."""

    candidates: list[bytes]
    names: list[bytes]

    def __repr__(self) -> str:
        return f"<Found candidates={len(self.candidates)} names={self.names}>"


def find(headers: Headers, name: bytes) -> Found:
    """Read a cookie that may come in chunks, from all ``cookie`` headers (HTTP/2 splits them).

    Candidates, at most ``MAX_CANDIDATES``: the chunks from 0 on without a gap; the same with the last of a double name;
    the same up to the first chunk that is shorter than the one before (what follows it is stale); then the plain ones.
    None where all values together exceed ``MAX_COOKIE_BYTES``. Names: plain or numbered, ``MAX_NAMES`` at most.
    """
    return assembled(arrived(crumbs(headers), name), name)


def crumbs(headers: Headers) -> list[bytes]:
    """The values of all ``cookie`` headers, of which HTTP/2 may have several (RFC 9113, 8.2.3)."""
    # The common request has no cookie: a look at its headers' lengths is all that it pays.
    return [value for name, value in headers if len(name) == 6 and name.lower() == b"cookie"]


def single(crumb: bytes, name: bytes) -> bytes | None:
    """The value where the name occurs once only, plainly, and with a value as we and Auth.js write it; else None."""
    at = crumb.find(name)
    after = at + len(name)
    if at < 0 or not crumb.startswith(b"=e", after) or (at and not crumb.startswith(b"; ", at - 2)):
        return None  # an e: {" in base64url
    end = crumb.find(b";", after)
    if end < 0:
        value = crumb[after + 1 :]
    elif crumb.find(name, end) < 0:
        value = crumb[after + 1 : end]
    else:
        return None
    return value if value[-1] > 32 and len(value) <= MAX_COOKIE_BYTES else None


def assembled(cookies: list[tuple[bytes, bytes]], name: bytes) -> Found:
    """What ``find`` makes of the cookies that arrived."""
    if not cookies:
        return Found([], [])
    if len(cookies) == 1 and not cookies[0][0]:  # nearly always
        value = cookies[0][1]
        return Found([value] if 0 < len(value) <= MAX_COOKIE_BYTES else [], [name])
    names = list(dict.fromkeys(name + suffix for suffix, _ in cookies))
    cookies = [(suffix, value) for suffix, value in cookies if value]
    if sum(len(value) for _, value in cookies) > MAX_COOKIE_BYTES:
        return Found([], names)
    first = {suffix: value for suffix, value in reversed(cookies) if suffix}
    joined = _joined(first, dict(cookies)) if first else []
    plain = [value for suffix, value in cookies if not suffix]
    return Found(list(dict.fromkeys(joined + plain))[:MAX_CANDIDATES], names)


def write(
    name: bytes, value: str | bytes, attributes: Attributes, *, max_age: int, present: Collection[bytes]
) -> list[bytes]:
    """The ``Set-Cookie`` values that put ``value`` in the place of what is ``present``; in chunks where it must be.

    No line is longer than ``MAX_LINE_BYTES``; every present name that is not written is cleared; an empty value only
    clears. Auth.js's order: what was present first (contract, 2.3). CookieTooLargeError beyond ``MAX_CHUNKS`` chunks.
    """
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    lines, end = dict.fromkeys(present, b""), attributes.suffix(max_age)
    for suffix, part in _cut(data, len(name), len(end)):
        lines[name + suffix] = _line(name + suffix, part, end)
    return [line or attributes.line(present_name, b"", max_age=0) for present_name, line in lines.items()]


def clear(names: Iterable[bytes], attributes: Attributes) -> list[bytes]:
    """The ``Set-Cookie`` values that remove the cookies of these names."""
    return [attributes.line(name, b"", max_age=0) for name in names]


def read_one(headers: Headers, name: bytes) -> str | None:
    """The value of a cookie that never comes in chunks, or None. The first of several counts.

    Percent-decoded as Auth.js does it: the raw value where that fails (contract, 2.1).
    """
    for suffix, value in arrived(crumbs(headers), name):
        if not suffix:
            return _percent_decoded(value.decode("latin-1")) if len(value) <= MAX_LINE_BYTES else None
    return None


def set_one(name: bytes, value: str, attributes: Attributes, *, max_age: int | None) -> bytes:
    """The ``Set-Cookie`` value of such a cookie, encoded as JavaScript's ``encodeURIComponent`` does it.

    Raises CookieTooLargeError where the line would be longer than ``MAX_LINE_BYTES``.
    """
    encoded = quote(value.encode("utf-8", "replace"), safe="!~*'()").encode("ascii")
    line = attributes.line(name, encoded, max_age=max_age)
    if len(line) > MAX_LINE_BYTES:
        raise CookieTooLargeError(f"A cookie line would be {len(line)} bytes long: expected at most {MAX_LINE_BYTES}.")
    return line


def chunk_count(size: int, *, name: bytes, attributes: Attributes, max_age: int) -> int:
    """How many cookies a value of ``size`` bytes takes; ``MAX_CHUNKS`` + 1 where it fits into none."""
    single, chunk = _room(len(name), len(attributes.suffix(max_age)))
    if size <= single:
        return 1
    return min(-(-size // chunk), MAX_CHUNKS + 1) if chunk > 0 else MAX_CHUNKS + 1


def _line(name: bytes, value: bytes, end: bytes) -> bytes:
    if not _NAME.match(name):
        raise CookieError("The cookie's name has characters that no cookie may have (RFC 6265, 4.1.1).")
    if value.translate(None, _VALUE_OCTETS):
        raise CookieError("The cookie's value has characters that no cookie may have (RFC 6265, 4.1.1).")
    return name + b"=" + value + end


def _room(name_bytes: int, suffix_bytes: int) -> tuple[int, int]:
    single = MAX_LINE_BYTES - name_bytes - 1 - suffix_bytes  # 1: the equals sign
    return single, single - 2  # 2: a dot and one digit, as there are at most MAX_CHUNKS


def _cut(data: bytes, name_bytes: int, suffix_bytes: int) -> list[tuple[bytes, bytes]]:
    single, chunk = _room(name_bytes, suffix_bytes)
    if len(data) <= single:
        return [(b"", data)] if data else []
    if len(data) > MAX_CHUNKS * chunk:
        raise CookieTooLargeError(
            f"The cookie's value is {len(data)} bytes long: expected at most {max(MAX_CHUNKS * chunk, 0)},"
            f" in {MAX_CHUNKS} cookies. Keep less in it."
        )
    return [(b".%d" % place, data[at : at + chunk]) for place, at in enumerate(range(0, len(data), chunk))]


def arrived(crumbs: Iterable[bytes], name: bytes) -> list[tuple[bytes, bytes]]:
    """Suffix and value of each cookie of this name, in order of arrival."""
    found: list[tuple[bytes, bytes]] = []
    for crumb in crumbs:
        at = crumb.find(name)
        if at >= 0:
            _scan(crumb, name, at, found)
    return found


def _scan(header: bytes, name: bytes, at: int, found: list[tuple[bytes, bytes]]) -> None:
    """Looks only where the name occurs, first at ``at``: linear in the header, without splitting it."""
    end = 0
    while at >= 0 and len(found) < MAX_NAMES:
        after = at + len(name)
        if not (at == 0 or header.endswith(b"; ", end, at)) and not _begins(header, at, end):
            end = after  # it is inside of another name, or of a value
        else:
            end = header.find(b";", after)
            end = len(header) if end < 0 else end
            if header.startswith(b"=", after):
                found.append((b"", _unquoted(header[after + 1 : end])))
            else:
                suffix, equals, value = header[after:end].partition(b"=")
                suffix = suffix.rstrip(b" \t")
                if equals and (not suffix or _NUMBER.match(suffix)):
                    found.append((suffix, _unquoted(value)))
        at = header.find(name, end)


def _begins(header: bytes, at: int, end: int) -> bool:
    """Whether a cookie's name begins at ``at``: nothing but blanks since the last semicolon from ``end`` on."""
    begin = header.rfind(b";", end, at) + 1
    return bool(begin or end == 0) and not header[begin:at].strip(b" \t")


def _unquoted(value: bytes) -> bytes:
    value = value.strip(b" \t")
    return value[1:-1] if value.startswith(b'"') and len(value) >= 2 and value.endswith(b'"') else value


def _joined(first: dict[bytes, bytes], last: dict[bytes, bytes]) -> list[bytes]:
    count = next(number for number in range(len(first) + 1) if b".%d" % number not in first)
    suffixes = [b".%d" % number for number in range(count)]
    shorter = next((n for n in range(1, count) if len(first[suffixes[n]]) < len(first[suffixes[n - 1]])), count)
    sets = [[first[suffix] for suffix in suffixes], [last[suffix] for suffix in suffixes]]
    sets.append([first[suffix] for suffix in suffixes[: shorter + 1]])
    return [b"".join(parts) for parts in sets if parts]


def _percent_decoded(text: str) -> str:
    if "%" not in text or _BAD_ESCAPE.search(text):
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
