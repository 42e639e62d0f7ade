"""The option objects. Each checks itself, with a sentence, when it is made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .errors import ConfigurationError

DAY = 86_400
_COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")  # RFC 6265, 4.1.1: a token
_DOMAIN = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z")
_ATTRIBUTE = re.compile(r"[\x20-\x3a\x3c-\x7e]*\Z")  # RFC 6265, 4.1.1: no control characters, no semicolon


def number(name: str, value: object, *, at_least: float = 0, unit: str = "seconds") -> float:
    """The value, if it is a number of that size."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not at_least <= value < float("inf"):
        raise ConfigurationError(f"{name} is {value!r}: expected a number of {unit}, {at_least:g} or more.")
    return value


def _text(name: str, value: object, *, such_as: str) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} is a {type(value).__name__}: expected a string, such as {such_as!r}.")


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{name} is {value!r}: expected one of {', '.join(map(repr, allowed))}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshOptions:
    """When and how the access token is refreshed. All times in seconds."""

    margin: float | None = None  # before expiry, at most half of the token's lifetime; None: min(60, 20 % of it)
    timeout: float = 30  # for one call to the provider; its task outlives the request
    wait: float = 10  # that a request waits for it, at most
    grace: float = 30  # in which the previous cookie still gets the newest tokens, once the new one was seen
    undelivered: float = 3 * DAY  # for which a rotation that never reached the browser is kept
    lease: float = 6  # without a beat after which a claim may be taken over; less than wait
    shutdown_wait: float = 10  # that a shutdown waits for refreshes under way
    concurrency: int = 100  # calls to the provider at one time, per process
    refused_code: str = "RefreshAccessTokenError"  # v5 front ends: "RefreshTokenError"
    on_refused: Literal["flag", "end"] = "flag"
    on_stale: Literal["anonymous", "end_session"] = "anonymous"
    store_failure: Literal["refuse", "degrade"] = "refuse"  # "degrade": for one worker, or reusable refresh tokens

    def __post_init__(self) -> None:
        if self.margin is not None:
            number("RefreshOptions.margin", self.margin)
        for name in ("grace", "undelivered", "shutdown_wait"):
            number(f"RefreshOptions.{name}", getattr(self, name))
        for name in ("timeout", "wait", "lease"):
            number(f"RefreshOptions.{name}", getattr(self, name), at_least=0.001)
        number("RefreshOptions.concurrency", self.concurrency, at_least=1, unit="calls")
        if self.concurrency != int(self.concurrency):
            raise ConfigurationError(
                f"RefreshOptions.concurrency is {self.concurrency!r}: expected a whole number of calls."
            )
        if self.lease >= self.wait:
            raise ConfigurationError(
                f"RefreshOptions.lease is {self.lease:g} and wait is {self.wait:g}: a request must be able to outwait a dead"
                " owner's claim. Make lease smaller than wait."
            )
        if not isinstance(self.refused_code, str) or not self.refused_code:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"RefreshOptions.refused_code is {self.refused_code!r}: expected the error code as a string."
            )
        _one_of("RefreshOptions.on_refused", self.on_refused, ("flag", "end"))
        _one_of("RefreshOptions.on_stale", self.on_stale, ("anonymous", "end_session"))
        _one_of("RefreshOptions.store_failure", self.store_failure, ("refuse", "degrade"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """How long a session lives. All times in seconds."""

    max_age: float = 30 * DAY  # without a visit
    absolute_max_age: float | None = None  # since the sign-in, whatever happens
    update_age: float | None = None  # after which a visit writes the cookie anew; None: max_age / 10, at most a day

    def __post_init__(self) -> None:
        number("Lifetime.max_age", self.max_age, at_least=1)
        if self.absolute_max_age is not None:
            number("Lifetime.absolute_max_age", self.absolute_max_age, at_least=1)
        if self.update_age is None:
            return
        number("Lifetime.update_age", self.update_age)
        if self.update_age > self.max_age / 2:
            raise ConfigurationError(
                f"Lifetime.update_age is {self.update_age:g} and max_age {self.max_age:g}: a session would end under a user who"
                " is there. Make update_age at most half of max_age."
            )

    @property
    def roll_after(self) -> float:
        """Seconds since the cookie was sealed after which a visit seals it anew."""
        return min(self.max_age / 10, DAY) if self.update_age is None else self.update_age


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieOptions:
    """The session cookie. Its name is also the salt of its key (Auth.js): another name signs everybody out."""

    name: str | None = None  # without prefix; None: the dialect's
    domain: str | None = None  # None: this host only
    path: str = "/"
    secure: bool | None = None  # None: as public_url says
    same_site: Literal["lax", "strict", "none"] = "lax"
    prefix: Literal["", "__Secure-", "__Host-"] | None = None  # None: "__Secure-" where secure
    encryption: Literal["A256GCM", "A256CBC-HS512"] = "A256GCM"
    cache: float = 60  # seconds for which a process knows a cookie again that it opened; 0: it opens each anew

    def __post_init__(self) -> None:
        number("CookieOptions.cache", self.cache)
        self._check_texts()
        if self.secure is not None and not isinstance(self.secure, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"CookieOptions.secure is {self.secure!r}: expected True, False or None.")
        _one_of("CookieOptions.same_site", self.same_site, ("lax", "strict", "none"))
        _one_of("CookieOptions.encryption", self.encryption, ("A256GCM", "A256CBC-HS512"))
        if self.prefix is not None:
            _one_of("CookieOptions.prefix", self.prefix, ("", "__Secure-", "__Host-"))
        if self.secure is False and (self.prefix or self.same_site == "none"):
            raise ConfigurationError(
                'CookieOptions.secure is False with a prefix or same_site="none": browsers drop such a cookie. Leave secure out, or the other.'
            )
        if self.prefix == "__Host-" and (self.domain is not None or self.path != "/"):
            raise ConfigurationError(
                'CookieOptions.prefix "__Host-" allows no domain and only path "/": browsers drop the cookie. Use "__Secure-", or leave them out.'
            )

    def _check_texts(self) -> None:
        for option, example in (("name", "session"), ("domain", "example.com"), ("path", "/")):
            value: object = getattr(self, option)
            if value is not None or option == "path":
                _text(f"CookieOptions.{option}", value, such_as=example)
        if self.name is not None and not _COOKIE_NAME.match(self.name):
            raise ConfigurationError(f"CookieOptions.name is {self.name!r}: expected letters, digits and - . _ only.")
        if self.name is not None and self.name.startswith(("__Secure-", "__Host-")):
            raise ConfigurationError(
                f"CookieOptions.name is {self.name!r}: give the name without its prefix, and the prefix as prefix=."
            )
        if not self.path.startswith("/") or not _ATTRIBUTE.match(self.path):
            raise ConfigurationError(f'CookieOptions.path is {self.path!r}: expected a path that starts with "/".')
        if self.domain is not None and not _DOMAIN.match(self.domain):
            raise ConfigurationError(
                f'CookieOptions.domain is {self.domain!r}: expected a host name without scheme, port and path, such as "example.com".'
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Your own pages in place of the built-in ones: paths on our origin, or URLs on a trusted one."""

    sign_in: str | None = None  # gets ?callbackUrl= and ?error=
    sign_out: str | None = None
    error: str | None = None  # gets ?error=

    def __post_init__(self) -> None:
        for name in ("sign_in", "sign_out", "error"):
            value = getattr(self, name)
            if value is not None:
                _text(f"Pages.{name}", value, such_as="/sign-in")
            if value is not None and not re.match(r"/(?![/\\])|https?://", value):
                raise ConfigurationError(
                    f'Pages.{name} is {value!r}: expected a path that starts with "/", or an http(s) URL.'
                )
