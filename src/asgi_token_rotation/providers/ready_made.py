"""Providers by name: functions that only fill in data. What each does with refresh tokens stands in docs/providers/."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict, Unpack, cast

from ..errors import ConfigurationError
from ..types import RefreshFunction, TokenSet
from ._checked import AuthMethod, check_endpoint
from .oauth2 import OAuth2, ProfileFunction
from .oidc import OIDC

_SCOPES: Final = ("openid", "profile", "email")
_OFFLINE: Final = (*_SCOPES, "offline_access")  # without which they give no refresh token (OpenID Connect Core, 11)


class OIDCOptions(TypedDict, total=False):
    """What of an OIDC's data may be set beside what a function fills in; what is set here wins."""

    id: str
    name: str
    client_secret: str | None
    scopes: Sequence[str]
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    revocation_endpoint: str
    end_session_endpoint: str
    jwks_uri: str
    algorithms: Sequence[str]
    verify_access_token: str
    userinfo: bool
    profile: ProfileFunction
    authorization_params: Mapping[str, str]
    query_may_set_scope: bool
    token_endpoint_auth_method: AuthMethod
    rp_initiated_logout: bool
    backchannel_logout: bool
    refresh: RefreshFunction


class OAuth2Options(TypedDict, total=False):
    """The same for an OAuth2."""

    id: str
    name: str
    scopes: Sequence[str]
    profile: ProfileFunction
    authorization_params: Mapping[str, str]
    query_may_set_scope: bool
    refresh: RefreshFunction


def keycloak(issuer: str, *, client_id: str, **options: Unpack[OIDCOptions]) -> OIDC:
    """Keycloak. ``issuer``: that of the realm, such as "https://sso.example.com/realms/acme".

    A refresh token comes without ``offline_access``; with it, one that outlives Keycloak's own session.
    """
    return _oidc(options, id="keycloak", name="Keycloak", issuer=issuer, client_id=client_id)


def zitadel(issuer: str, *, client_id: str, **options: Unpack[OIDCOptions]) -> OIDC:
    """Zitadel. ``issuer``: the instance's, such as "https://acme-x1y2z3.zitadel.cloud"."""
    return _oidc(options, id="zitadel", name="ZITADEL", issuer=issuer, client_id=client_id, scopes=_OFFLINE)


def auth0(domain: str, *, client_id: str, audience: str | None = None, **options: Unpack[OIDCOptions]) -> OIDC:
    """Auth0. ``domain``: the tenant's or your own, such as "acme.eu.auth0.com"; ``audience``: the API to be called.

    The issuer has a slash at its end. The API must allow offline access, or there is no refresh token.
    """
    params = {} if audience is None else {"audience": audience}
    return _oidc(
        options, params, id="auth0", name="Auth0", issuer=f"https://{_host('auth0', domain)}/", client_id=client_id,
        scopes=_OFFLINE,
    )  # fmt: skip


def entra_id(tenant: str, *, client_id: str, **options: Unpack[OIDCOptions]) -> OIDC:
    """Microsoft Entra ID. ``tenant``: the directory's id, 32 hex digits with dashes.

    A name, and "common" or "organizations", are refused: the issuer in their documents is another text, and with it
    nobody could tell whose users may come in. The ID token says all, so the userinfo endpoint isn't asked.
    """
    if not _GUID.fullmatch(tenant):
        raise ConfigurationError(
            f"entra_id's tenant is {tenant!r}: expected the directory's id, such as 00000000-0000-0000-0000-000000000000."
            " It stands in the portal's overview as Directory (tenant) ID."
        )
    issuer = f"https://login.microsoftonline.com/{tenant.lower()}/v2.0"
    return _oidc(
        options, id="microsoft-entra-id", name="Microsoft Entra ID", issuer=issuer, client_id=client_id,
        scopes=_OFFLINE, userinfo=False,
    )  # fmt: skip


def google(*, client_id: str, **options: Unpack[OIDCOptions]) -> OIDC:
    """Google. It knows no ``offline_access``: ``access_type=offline`` and ``prompt=consent`` bring a refresh token.

    Without ``prompt`` there is one at a user's first consent only. The ID token says all, so the userinfo endpoint isn't
    asked.
    """
    params = {"access_type": "offline", "prompt": "consent"}
    return _oidc(
        options, params, id="google", name="Google", issuer="https://accounts.google.com", client_id=client_id,
        userinfo=False,
    )  # fmt: skip


def okta(issuer: str, *, client_id: str, **options: Unpack[OIDCOptions]) -> OIDC:
    """Okta. ``issuer``: the authorization server's, such as "https://acme.okta.com/oauth2/default"."""
    return _oidc(options, id="okta", name="Okta", issuer=issuer, client_id=client_id, scopes=_OFFLINE)


def cognito(user_pool_id: str, *, client_id: str, **options: Unpack[OIDCOptions]) -> OIDC:
    """Amazon Cognito. ``user_pool_id``: such as "eu-central-1_AbCdEfGhI"; the region stands in it.

    A refresh token comes without ``offline_access``. ``rp_initiated_logout`` is refused: Cognito's sign-out is its own.
    """
    found = _POOL.fullmatch(user_pool_id)
    if found is None:
        raise ConfigurationError(
            f"cognito's user_pool_id is {user_pool_id!r}: expected the region and the id, such as eu-central-1_AbCdEfGhI."
        )
    if options.get("rp_initiated_logout"):
        raise ConfigurationError(
            "cognito can't have rp_initiated_logout: its /logout takes client_id and logout_uri, not what OpenID Connect"
            " says. Leave it out, and send the browser there yourself after the sign-out."
        )
    issuer = f"https://cognito-idp.{found.group(1)}.amazonaws.com/{user_pool_id}"
    return _oidc(options, id="cognito", name="Cognito", issuer=issuer, client_id=client_id)


def gitlab(server: str = "https://gitlab.com", *, client_id: str, **options: Unpack[OIDCOptions]) -> OIDC:
    """GitLab, or your own ``server``, whose address is the issuer. A refresh token comes without ``offline_access``."""
    return _oidc(options, id="gitlab", name="GitLab", issuer=server, client_id=client_id)


def ory(issuer: str, *, client_id: str, **options: Unpack[OIDCOptions]) -> OIDC:
    """Ory Hydra, or Ory Network: "https://acme.projects.oryapis.com". Your own Hydra's issuer often has a slash at its end."""
    return _oidc(options, id="ory", name="Ory", issuer=issuer, client_id=client_id, scopes=_OFFLINE)


def github(
    *, client_id: str, client_secret: str, server: str = "https://github.com", **options: Unpack[OAuth2Options]
) -> OAuth2:
    """GitHub, or your own GitHub Enterprise ``server``. It is no OpenID provider for users, so this is an OAuth2.

    Tokens of an OAuth app do not expire; those of a GitHub app do, and are refreshed, if that is turned on there. The
    e-mail address is there only where the user shows it.
    """
    check_endpoint("github's server", server)
    api = "https://api.github.com" if server == "https://github.com" else f"{server}/api/v3"
    given: dict[str, Any] = {
        "id": "github",
        "name": "GitHub",
        "authorization_endpoint": f"{server}/login/oauth/authorize",
        "token_endpoint": f"{server}/login/oauth/access_token",
        "userinfo_endpoint": f"{api}/user",
        "scopes": ("read:user", "user:email"),
        "profile": _github_user,
        "token_endpoint_auth_method": "client_secret_post",
    }
    given |= cast("dict[str, Any]", options)
    return OAuth2(**given, client_id=client_id, client_secret=client_secret)


def _github_user(document: Mapping[str, Any], tokens: TokenSet) -> Mapping[str, Any]:
    shown = {"name": document.get("name") or document.get("login"), "email": document.get("email")}
    user = {**shown, "image": document.get("avatar_url")}
    return {"id": document.get("id"), **{key: value for key, value in user.items() if value is not None}}


_GUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_POOL: Final = re.compile(r"([a-z]{2}(?:-[a-z]+)+-\d)_[A-Za-z0-9]+")
_HOST: Final = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


def _host(function: str, domain: str) -> str:
    if not _HOST.fullmatch(domain):
        raise ConfigurationError(
            f"{function}'s domain is {domain!r}: expected the host alone, such as acme.eu.auth0.com. Leave out https and slashes."
        )
    return domain


def _oidc(options: OIDCOptions, params: Mapping[str, str] | None = None, /, **given: Any) -> OIDC:
    fields = given | cast("dict[str, Any]", options)
    fields["authorization_params"] = {**(params or {}), **options.get("authorization_params", {})}
    return OIDC(**fields)
