"""What is to be known of an OpenID provider. Data only: asking it is ``flow.py``'s affair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Literal, cast
from urllib.parse import urlsplit

from ...errors import ConfigurationError
from ...types import RefreshFunction
from .._checked import AuthMethod, check_endpoint, check_request_data, check_texts, named
from ..oauth2 import ProfileFunction

# Signatures by public keys. Never "none", and never HS256, which takes whatever is public for a secret (RFC 8725, 3.1).
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

ENDPOINTS: Final = (
    "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "revocation_endpoint", "end_session_endpoint",
    "jwks_uri",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OIDC:
    """An OpenID provider, found by its issuer. Checks itself: ConfigurationError with a sentence.

    Endpoints come from the discovery document (Discovery 1.0, 4), which is asked for when somebody needs it; one that is
    set here wins. With ``authorization_endpoint``, ``token_endpoint`` and ``jwks_uri`` set it is never asked for.
    ``issuer`` is compared exactly, a slash at its end included. State, PKCE S256 and nonce are always used.

    The user's ``id``, the account's ``providerAccountId`` and the token's ``sub`` are the ID token's ``sub``, unless
    ``profile`` answers another ``id``. ``profile`` gets the claims of the ID token, laid over those of the userinfo
    endpoint. ``rp_initiated_logout``: after a sign-out the browser goes on to the provider's own (RP-Initiated
    Logout 1.0), with the ID token in the address, and comes back to where the sign-out was to lead, which must be
    registered there. ``backchannel_logout``: the provider may end sessions by ``POST {base_path}/backchannel-logout``
    (Back-Channel Logout 1.0). ``verify_access_token``: the audience that the access token must name, which then must be
    a JWT (RFC 9068, 4) of this issuer, user and signature, at a sign-in and at a refresh; None: it is opaque, and not
    looked at. It has no say in requests between those.
    """

    id: str
    name: str
    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)  # None: a public client
    scopes: Sequence[str] = ("openid", "profile", "email")
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    revocation_endpoint: str | None = None  # RFC 7009; the refresh token is revoked there when a session ends
    end_session_endpoint: str | None = None
    jwks_uri: str | None = None
    algorithms: Sequence[str] = ALGORITHMS  # that may sign an ID token, and an access token that is verified
    verify_access_token: str | None = None  # such as "https://api.example.com"
    userinfo: bool = True  # whether the userinfo endpoint is asked at sign-in, where there is one
    profile: ProfileFunction | None = field(default=None, repr=False)
    authorization_params: Mapping[str, str] = field(default_factory=dict[str, str])  # such as {"prompt": "consent"}
    query_may_set_scope: bool = False  # whether the query of POST signin may ask for another scope
    token_endpoint_auth_method: AuthMethod | None = (
        None  # None: none without a secret, else basic, or post by discovery
    )
    rp_initiated_logout: bool = False
    backchannel_logout: bool = False  # each sign-in is noted in the store, under sid and sub
    refresh: RefreshFunction | None = field(default=None, repr=False)  # in place of the standard's (RFC 6749, 6)
    type: Literal["oidc"] = "oidc"

    def __post_init__(self) -> None:
        name = named("OIDC", self.id)
        check_texts(self, name=name, required=("id", "name", "issuer", "client_id"), optional=("client_secret",))
        check_endpoint(f"{name}.issuer", self.issuer)
        _check_issuer(name, self.issuer)
        for endpoint in ENDPOINTS:
            if getattr(self, endpoint) is not None:
                check_endpoint(f"{name}.{endpoint}", getattr(self, endpoint))
        check_request_data(self, name=name)
        if "openid" not in self.scopes:
            raise ConfigurationError(
                f"{name}.scopes has no 'openid', so the provider would send no ID token: expected it among them (OpenID"
                " Connect Core, 3.1.2.1). Add it, or use OAuth2."
            )
        _check_algorithms(name, self.algorithms)
        for flag in ("userinfo", "query_may_set_scope", "rp_initiated_logout", "backchannel_logout"):
            if not isinstance(getattr(self, flag), bool):
                raise ConfigurationError(f"{name}.{flag} is {getattr(self, flag)!r}: expected True or False.")
        _check_audience(name, self.verify_access_token)
        if self.profile is not None and not callable(self.profile):
            raise ConfigurationError(
                f"{name}.profile is not callable: expected a function of the claims and the token set."
            )


def is_safe(url: str) -> bool:
    """Whether what is sent there is read by nobody on the way: https, or this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check_issuer(name: str, issuer: str) -> None:
    if not is_safe(issuer):
        raise ConfigurationError(
            f"{name}.issuer is {issuer!r}: expected https, or a loopback address for trying things out (Discovery 1.0, 4)."
        )
    if urlsplit(issuer).query or "?" in issuer:
        raise ConfigurationError(f"{name}.issuer has a query: expected the address alone (OpenID Connect Core, 2).")
    if issuer.endswith("/.well-known/openid-configuration"):
        raise ConfigurationError(
            f"{name}.issuer is the address of a discovery document: expected the issuer that stands in it. Leave out"
            " /.well-known/openid-configuration."
        )


def _check_audience(name: str, given: object) -> None:
    if given is not None and (not isinstance(given, str) or not given.strip()):
        raise ConfigurationError(
            f"{name}.verify_access_token is {given!r}: expected the audience (aud) that access tokens must be made for, such"
            ' as "https://api.example.com", or None for access tokens that are not looked at. Name it as the provider does.'
        )


def _check_algorithms(name: str, given: object) -> None:
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise ConfigurationError(f'{name}.algorithms is {given!r}: expected a list, such as ["RS256"].')
    for algorithm in cast("Sequence[object]", given):
        if algorithm not in ALGORITHMS:
            raise ConfigurationError(
                f"{name}.algorithms has {algorithm!r}: expected signatures by public keys: {', '.join(ALGORITHMS)}."
            )
