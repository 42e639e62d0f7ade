"""The ready-made providers: data, filled in by the rules of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from asgi_token_rotation import ConfigurationError, TokenSet
from asgi_token_rotation.providers import (
    OIDC,
    auth0,
    cognito,
    entra_id,
    github,
    gitlab,
    google,
    keycloak,
    okta,
    ory,
    zitadel,
)
from asgi_token_rotation.providers._authorization import authorization_url, new_checks
from asgi_token_rotation.providers.oidc.discovery import discovery_url, metadata_of
from asgi_token_rotation.providers.oidc.flow import server_of
from endpoints.idp import params_of

TENANT = "0A1b2c3d-0000-1111-2222-333344445555"
PLAIN, OFFLINE = "openid profile email", "openid profile email offline_access"

ALL: dict[str, tuple[OIDC, str, str]] = {
    "keycloak": (
        keycloak("https://sso.test/realms/acme", client_id="app"),
        "https://sso.test/realms/acme/.well-known/openid-configuration",
        PLAIN,
    ),
    "zitadel": (
        zitadel("https://acme.zitadel.cloud", client_id="app"),
        "https://acme.zitadel.cloud/.well-known/openid-configuration",
        OFFLINE,
    ),
    "auth0": (
        auth0("acme.eu.auth0.com", client_id="app"),
        "https://acme.eu.auth0.com/.well-known/openid-configuration",
        OFFLINE,
    ),
    "microsoft-entra-id": (
        entra_id(TENANT, client_id="app"),
        f"https://login.microsoftonline.com/{TENANT.lower()}/v2.0/.well-known/openid-configuration",
        OFFLINE,
    ),
    "google": (google(client_id="app"), "https://accounts.google.com/.well-known/openid-configuration", PLAIN),
    "okta": (
        okta("https://acme.okta.com/oauth2/default", client_id="app"),
        "https://acme.okta.com/oauth2/default/.well-known/openid-configuration",
        OFFLINE,
    ),
    "cognito": (
        cognito("eu-central-1_AbCdEfGhI", client_id="app"),
        "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI/.well-known/openid-configuration",
        PLAIN,
    ),
    "gitlab": (gitlab(client_id="app"), "https://gitlab.com/.well-known/openid-configuration", PLAIN),
    "ory": (
        ory("https://acme.projects.oryapis.com", client_id="app"),
        "https://acme.projects.oryapis.com/.well-known/openid-configuration",
        OFFLINE,
    ),
}


def asked_of(provider: OIDC) -> dict[str, str]:
    """The parameters of its authorization request."""
    at = "https://id.test"
    document = {"authorization_endpoint": f"{at}/a", "token_endpoint": f"{at}/t", "jwks_uri": f"{at}/k"}
    server = server_of(provider, metadata_of(document, provider))
    checks = new_checks(provider.id, callback_url="", now=0, nonce=True)
    return params_of(authorization_url(server, checks, redirect_uri="https://app.test", extra={}))


@pytest.mark.parametrize("name", ALL)
def test_what_is_asked(name: str) -> None:
    """Each asks at its issuer's own document, and for the scopes that bring a refresh token there."""
    provider, address, scope = ALL[name]

    assert (provider.id, provider.type) == (name, "oidc")
    assert discovery_url(provider.issuer) == address
    assert asked_of(provider)["scope"] == scope


def test_google() -> None:
    """Google brings a refresh token by ``access_type=offline`` and ``prompt=consent``; a parameter of one's own wins."""
    asked = asked_of(google(client_id="app", authorization_params={"prompt": "select_account", "hd": "acme.test"}))

    assert asked_of(google(client_id="app"))["prompt"] == "consent"
    assert (asked["access_type"], asked["prompt"], asked["hd"]) == ("offline", "select_account", "acme.test")


def test_auth0() -> None:
    """Auth0's issuer ends with a slash, and an audience names the API."""
    provider = auth0("acme.eu.auth0.com", client_id="app", audience="https://api.acme.test")

    assert provider.issuer == "https://acme.eu.auth0.com/"
    assert asked_of(provider)["audience"] == "https://api.acme.test"


def test_what_is_set_wins() -> None:
    """Options lie over what a function fills in."""
    provider = zitadel("https://z.test", client_id="app", id="staff", name="Staff", scopes=["openid"], userinfo=False)

    assert (provider.id, provider.name, provider.scopes, provider.userinfo) == ("staff", "Staff", ["openid"], False)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: entra_id("common", client_id="app"), "tenant is 'common'"),
        (lambda: entra_id("acme.onmicrosoft.com", client_id="app"), "Directory"),
        (lambda: cognito("AbCdEfGhI", client_id="app"), "expected the region"),
        (lambda: cognito("eu-central-1_AbC", client_id="app", rp_initiated_logout=True), "logout_uri"),
        (lambda: auth0("https://acme.auth0.com/", client_id="app"), "the host alone"),
        (lambda: keycloak("sso.test/realms/x", client_id="app"), "absolute address"),
        (lambda: github(client_id="app", client_secret="s", server="github.test"), "absolute address"),
    ],
)
def test_what_can_not_be(make: Callable[[], Any], told: str) -> None:
    """What can't work is said in a sentence when the provider is made."""
    with pytest.raises(ConfigurationError, match=told):
        make()


def test_github() -> None:
    """GitHub is an OAuth2 with the secret in the form, whose user has a number for an id and maybe neither name nor address."""
    provider = github(client_id="app", client_secret="s")
    assert provider.profile is not None
    user = provider.profile(
        {"id": 7, "login": "ada", "name": None, "email": None, "avatar_url": "https://i"}, TokenSet("a")
    )

    assert (provider.type, provider.auth_method) == ("oauth", "client_secret_post")
    assert user == {"id": 7, "name": "ada", "image": "https://i"}
    assert provider.userinfo_endpoint == "https://api.github.com/user"
    enterprise = github(client_id="app", client_secret="s", server="https://git.acme.test")
    assert enterprise.userinfo_endpoint == "https://git.acme.test/api/v3/user"
