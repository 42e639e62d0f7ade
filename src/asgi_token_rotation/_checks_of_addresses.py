"""Checks of the addresses among TokenRotation's options, and of what the cookie makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

from ._log import logger
from ._origins import Origins, Site, parse_origin, parse_site
from .errors import ConfigurationError
from .options import CookieOptions


def check_addresses(*, public_url: object, trusted_origins: object, base_path: str, cookie: CookieOptions) -> None:
    """Refuse addresses that browsers could not use, and a cookie that they would drop; warn of one without TLS."""
    _check_trusted(trusted_origins)
    sites = [_checked_site(url, base_path=base_path) for url in _listed(public_url)]
    for site in sites:
        _check_domain(site, cookie)
        _warn_of_path(site, cookie, base_path=base_path)
        _warn_of_transport(site, cookie)


def _listed(public_url: object) -> list[object]:
    if public_url is None:
        return []
    if isinstance(public_url, str) or not isinstance(public_url, Sequence):
        return [public_url]
    return list(cast("Sequence[object]", public_url))


def _check_trusted(trusted_origins: object) -> None:
    if isinstance(trusted_origins, str) or not isinstance(trusted_origins, Sequence):
        raise ConfigurationError(
            f"trusted_origins is {trusted_origins!r}: expected a list of origins. Put it in brackets."
        )
    for origin in cast("Sequence[object]", trusted_origins):
        parsed = parse_origin(origin) if isinstance(origin, str) else None
        parts = urlsplit(origin) if parsed and isinstance(origin, str) else None
        if parts is None or "*" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
            raise ConfigurationError(
                f'trusted_origins has {origin!r}: expected an origin with its scheme, without a path and without "*", such as'
                ' "https://app.example.com". Name each one.'
            )


def _checked_site(url: object, *, base_path: str) -> Site:
    site = parse_site(url)
    if "*" in site.origin:
        raise ConfigurationError(
            f'public_url is {url!r}: expected the address that browsers use, without "*". Give a list where there are several.'
        )
    if site.path.endswith(base_path):
        raise ConfigurationError(
            f"public_url is {url!r}, which ends with base_path: expected the address of the application itself, since"
            f" {base_path} is put behind it. Leave that out."
        )
    return site


def _check_domain(site: Site, cookie: CookieOptions) -> None:
    if cookie.domain is None:
        return
    domain, host = cookie.domain.lower().removeprefix("."), _host(site)
    if host != domain and not host.endswith(f".{domain}"):
        raise ConfigurationError(
            f"CookieOptions.domain is {cookie.domain!r}, and public_url has the host {host!r}, which is not below it: browsers"
            " drop such a cookie. Leave domain out, or name a domain that the host belongs to."
        )


def _warn_of_path(site: Site, cookie: CookieOptions, *, base_path: str) -> None:
    endpoints, path = f"{site.path}{base_path}/", cookie.path.rstrip("/")
    if not endpoints.startswith(f"{path}/"):
        logger.warning(
            "CookieOptions.path is %r, and the endpoints are at %r: browsers will not send the session cookie there. Use a path"
            " that both begin with.",
            cookie.path,
            endpoints,
        )


def _warn_of_transport(site: Site, cookie: CookieOptions) -> None:
    if site.secure:
        if cookie.secure is False:
            logger.warning(
                "CookieOptions.secure is False, and public_url is https: the cookie would travel over http, too. Leave it out."
            )
        return
    if not _is_loopback(site):
        logger.warning(
            "public_url is %r, which is neither https nor on this machine: the session cookie travels in the clear, where"
            " anybody on the way can take it. Use https, and give public_url as browsers see it, before the proxy.",
            site.origin,
        )
    if cookie.same_site == "none" and cookie.secure is not True:
        logger.warning(
            'CookieOptions.same_site is "none", which browsers take with https only, and public_url is %r: "lax" is used'
            " instead. Use https, or one site for front end and application.",
            site.origin,
        )


def _host(site: Site) -> str:
    return urlsplit(site.origin).hostname or ""


def _is_loopback(site: Site) -> bool:
    host = site.origin.partition("://")[2].encode()
    return Origins(public_url=None, trusted_origins=()).site({"headers": [(b"host", host)]}) is not None
