"""The small cookies beside the session's: the CSRF token's and the callback URL's, and what the state's is called (Auth.js contract, 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from .._cookies.chunks import Attributes, read_one, set_one
from ..errors import CookieTooLargeError
from ..options import CookieOptions
from ..types import Dialect, Scope

_STEMS: Final[Mapping[Dialect, str]] = {"authjs": "authjs", "nextauth-v4": "next-auth"}


@dataclass(frozen=True, slots=True)
class SideCookie:
    """A cookie that lives until the browser closes."""

    name: bytes
    attributes: Attributes

    def read(self, scope: Scope) -> str | None:
        """Its value in the request, or None."""
        return read_one(scope["headers"], self.name)

    def line(self, value: str) -> bytes | None:
        """The ``Set-Cookie`` value, or None where it would be longer than browsers take."""
        try:
            return set_one(self.name, value, self.attributes, max_age=None)
        except CookieTooLargeError:
            return None


@dataclass(frozen=True, slots=True)
class SideCookies:
    """Both, for one kind of connection."""

    csrf: SideCookie
    callback_url: SideCookie


def state_cookie_name(dialect: Dialect, *, secure: bool) -> str:
    """Auth.js's name of the state cookie (contract, 2.1)."""
    return f"{'__Secure-' if secure else ''}{_STEMS[dialect]}.state"


def side_cookies_for(options: CookieOptions, *, dialect: Dialect, secure: bool) -> SideCookies:
    """The cookies on an origin that is ``secure`` (https) or not; ``options.secure`` overrides that.

    ``__Host-`` ties the CSRF cookie to this very host, so that a sub-domain can't plant one; browsers take it only
    without a domain and with the path "/" (RFC 6265bis, 4.1.3.2). ``strict`` becomes ``lax``: a visitor who follows a link
    to the sign-in page would get a second CSRF cookie, and the form in his other tab would fail.
    """
    secure = secure if options.secure is None else options.secure
    same_site: Literal["none", "lax"] = "none" if options.same_site == "none" and secure else "lax"
    attributes = Attributes(path=options.path, domain=options.domain, secure=secure, same_site=same_site)
    host_only = options.domain is None and options.path == "/"
    prefixes = ("__Host-" if host_only else "__Secure-", "__Secure-") if secure else ("", "")
    stem = _STEMS[dialect]
    return SideCookies(
        csrf=SideCookie(f"{prefixes[0]}{stem}.csrf-token".encode(), attributes),
        callback_url=SideCookie(f"{prefixes[1]}{stem}.callback-url".encode(), attributes),
    )
