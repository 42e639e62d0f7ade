"""Sign-in at an OAuth 2.0 server: the authorization code with PKCE (RFC 6749, RFC 7636). Data only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ..errors import ConfigurationError
from ..types import RefreshFunction, TokenSet
from ._checked import AuthMethod, auth_method_of, check_endpoint, check_request_data, check_texts, named

ProfileFunction: TypeAlias = Callable[[Mapping[str, Any], TokenSet], Awaitable[Mapping[str, Any]] | Mapping[str, Any]]
"""Takes the userinfo document (empty without a ``userinfo_endpoint``) and the token set; answers the user: a mapping
with ``id``, and whatever is known of ``name``, ``email`` and ``image``. Other keys reach the ``jwt`` callback."""

_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "revocation_endpoint")
_REQUIRED = ("authorization_endpoint", "token_endpoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2:
    """An OAuth 2.0 server with explicit endpoints. Checks itself: ConfigurationError with a sentence.

    State and PKCE S256 are always used. The user's ``id`` is the account's id at the provider: it becomes the token's
    ``sub``, the same at every sign-in. Without ``profile`` the userinfo document gives it, as ``sub`` or ``id``.
    """

    id: str
    name: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)  # None: a public client
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None = None
    revocation_endpoint: str | None = None  # RFC 7009; the refresh token is revoked there when a session ends
    scopes: Sequence[str] = ()
    profile: ProfileFunction | None = field(default=None, repr=False)
    issuer: str | None = None  # what an ``iss`` in the authorization answer must be (RFC 9207)
    authorization_params: Mapping[str, str] = field(default_factory=dict[str, str])  # such as {"prompt": "consent"}
    query_may_set_scope: bool = False  # whether the query of POST signin may ask for another scope
    token_endpoint_auth_method: AuthMethod | None = None  # None: basic with a secret, none without
    refresh: RefreshFunction | None = field(default=None, repr=False)  # in place of the standard's (RFC 6749, 6)
    type: Literal["oauth"] = "oauth"

    def __post_init__(self) -> None:
        name = named("OAuth2", self.id)
        required, optional = ("id", "name", "client_id"), ("client_secret", "issuer")
        check_texts(self, name=name, required=required, optional=optional)
        for endpoint in _ENDPOINTS:
            value: object = getattr(self, endpoint)
            if value is not None or endpoint in _REQUIRED:
                check_endpoint(f"{name}.{endpoint}", value)
        check_request_data(self, name=name)
        if self.profile is not None and not callable(self.profile):
            raise ConfigurationError(
                f"{name}.profile is not callable: expected a function of the userinfo document and the token set."
            )
        if self.profile is None and self.userinfo_endpoint is None:
            raise ConfigurationError(
                f"{name} has neither userinfo_endpoint nor profile, so nobody could tell who signs in: expected one"
                " of them. Give the endpoint, or a function that makes the user from the token set."
            )

    @property
    def auth_method(self) -> AuthMethod:
        """How the client says who it is to the token endpoint (RFC 6749, 2.3.1)."""
        return auth_method_of(self)
