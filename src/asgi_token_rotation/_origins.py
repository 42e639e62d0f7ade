"""Which origins are ours, and where a redirect may go: pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from .errors import ConfigurationError
from .types import Scope

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")  # browsers drop tabs and newlines, and read a backslash as a slash
_LOOPBACK = re.compile(r"(localhost|[a-z0-9-]+\.localhost|127(\.\d{1,3}){3}|\[::1\]|testserver)(:\d{1,5})?\Z")


@dataclass(frozen=True, slots=True)
class Site:
    """One address of the application. ``origin`` has no trailing slash; ``path`` is "" or starts with one."""

    origin: str
    path: str = ""

    @property
    def secure(self) -> bool:
        """Whether browsers reach it over TLS."""
        return self.origin.startswith("https://")


def parse_origin(url: str) -> str | None:
    """The origin of an absolute http(s) URL, in the form that browsers send, or None."""
    if _UNSAFE.search(url) or not re.match(r"https?://[^/?#]", url, re.IGNORECASE):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    netloc = parts.netloc.lower()
    if "@" in netloc or not parts.hostname:
        return None
    return f"{parts.scheme}://{netloc.removesuffix(_DEFAULT_PORTS[parts.scheme])}"


def parse_site(url: object, *, option: str = "public_url") -> Site:
    """A ``public_url``. ConfigurationError where it is no absolute http(s) URL of a plain place."""
    origin = parse_origin(url) if isinstance(url, str) else None
    parts = urlsplit(url) if origin and isinstance(url, str) else None
    if origin is None or parts is None or parts.query or parts.fragment:
        raise ConfigurationError(
            f'{option} is {url!r}: expected the address that browsers use, such as "https://example.com/app".'
        )
    return Site(origin, parts.path.rstrip("/"))


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that lower-case name."""
    for key, value in scope["headers"]:
        if key.lower() == name:
            return bytes(value).decode("latin-1")
    return None


class Origins:
    """Our own and trusted origins."""

    def __init__(self, *, public_url: str | Sequence[str] | None, trusted_origins: Sequence[str]) -> None:
        if not isinstance(public_url, str | Sequence | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f'public_url is a {type(public_url).__name__}: expected the address that browsers use, such as "https://example.com".'
            )
        urls = [] if public_url is None else [public_url] if isinstance(public_url, str) else list(public_url)
        if public_url is not None and not urls:
            raise ConfigurationError(
                "public_url is an empty list: expected at least one address, or None for loopback hosts only."
            )
        self._sites = tuple(parse_site(url) for url in urls)
        self._trusted = frozenset(self._trusted_origin(origin) for origin in trusted_origins)
        self._own = frozenset(site.origin for site in self._sites)
        self._always_secure = all(site.secure for site in self._sites) if self._sites else None

    @property
    def known(self) -> frozenset[str]:
        """The origins of ``public_url``, and the trusted ones."""
        return self._own | self._trusted

    def secure(self, scope: Scope) -> bool:
        """Whether the browser's side of the connection is TLS, by ``public_url``; without one, by the server's word."""
        if self._always_secure is None:
            return scope.get("scheme") in ("https", "wss")
        site = None if self._always_secure else self.site(scope)
        return self._always_secure or (site is not None and site.secure)

    def site(self, scope: Scope) -> Site | None:
        """Where this request came in; None without a ``public_url`` on a host that is not loopback.

        Absolute URLs are built from ``public_url`` only, never from a foreign ``Host``.
        """
        host = (header(scope, b"host") or "").lower()
        if self._sites:
            for site in self._sites:
                if host == site.origin.partition("://")[2]:
                    return site
            return self._sites[0]
        if not _LOOPBACK.match(host):
            return None
        scheme = "https" if self.secure(scope) else "http"
        return Site(f"{scheme}://{host.removesuffix(_DEFAULT_PORTS[scheme])}", _prefix(scope))

    def accepts(self, origin: str, scope: Scope) -> bool:
        """Whether an ``Origin`` header names us or somebody trusted."""
        parsed = parse_origin(origin)
        if parsed is None:
            return False
        if parsed in self._trusted or parsed in self._own:
            return True
        site = None if self._sites else self.site(scope)
        return site is not None and parsed.partition("://")[2] == site.origin.partition("://")[2]

    def target(self, url: str, *, site: Site, scope: Scope) -> str | None:
        """The absolute URL to redirect to, or None where it leads away from our own and trusted origins."""
        if _UNSAFE.search(url):
            return None
        if url.startswith("/"):
            return None if url.startswith("//") else site.origin + _quoted(url)
        return _quoted(url) if self.accepts(url, scope) else None

    @staticmethod
    def _trusted_origin(origin: object) -> str:
        site = parse_site(origin, option="trusted_origins")
        if site.path:
            raise ConfigurationError(
                f'trusted_origins has {origin!r}: expected an origin without a path, such as "https://example.com".'
            )
        return site.origin


def _prefix(scope: Scope) -> str:
    # Daphne takes it from a client's header (R28). Without its slash it would go on with the host's name.
    root: str = scope.get("root_path") or ""
    return quote(root.rstrip("/"), errors="replace") if root.startswith("/") else ""


def _quoted(url: str) -> str:
    return quote(url, safe="%/:?#[]@!$&'()*+,;=~-._")
