"""The realm that Keycloak imports: one user, one client, each refresh token good once."""

from __future__ import annotations

from typing import Any

DAY = 86_400  # seconds
NAME = "tests"


def realm(order: dict[str, Any]) -> dict[str, Any]:
    """As Keycloak's own export has it. ``revokeRefreshToken`` is the console's *Revoke Refresh Token*."""
    return {
        "realm": NAME,
        "enabled": True,
        "sslRequired": "none",
        "revokeRefreshToken": True,
        "refreshTokenMaxReuse": 0,
        "accessTokenLifespan": order["access_token_seconds"],
        "ssoSessionIdleTimeout": DAY,
        "ssoSessionMaxLifespan": DAY,
        "eventsEnabled": True,
        "eventsListeners": [],
        "enabledEventTypes": ["LOGIN", "LOGOUT", "REFRESH_TOKEN", "REFRESH_TOKEN_ERROR", "REVOKE_GRANT"],
        "users": [_user(order)],
        "clients": [_client(order)],
    }


def _user(order: dict[str, Any]) -> dict[str, Any]:
    name = order["username"]
    return {
        "username": name,
        "enabled": True,
        "email": f"{name}@example.com",
        "emailVerified": True,
        "firstName": name,
        "lastName": "of the tests",
        "credentials": [{"type": "password", "value": order["password"], "temporary": False}],
    }


def _client(order: dict[str, Any]) -> dict[str, Any]:
    return {
        "clientId": order["client_id"],
        "secret": order["client_secret"],
        "enabled": True,
        "protocol": "openid-connect",
        "publicClient": False,
        "standardFlowEnabled": True,
        "directAccessGrantsEnabled": False,
        "redirectUris": order["redirect_uris"],
        "attributes": {
            "pkce.code.challenge.method": "S256",
            "post.logout.redirect.uris": "##".join(order["post_logout_redirect_uris"]),
            "backchannel.logout.url": order["backchannel_logout_uri"],
            "backchannel.logout.session.required": "true",
        },
        "protocolMappers": [
            {
                "name": "audience",
                "protocol": "openid-connect",
                "protocolMapper": "oidc-audience-mapper",
                "config": {"included.custom.audience": order["audience"], "access.token.claim": "true"},
            }
        ],
    }
