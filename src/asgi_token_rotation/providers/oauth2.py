"""Sign-in at an OAuth 2.0 server: the authorization code with PKCE (RFC 6749, RFC 7636). Data only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import parse_qsl, urlsplit

from ..errors import ConfigurationError
from ..types import RefreshFunction, TokenSet
from ._authorization import RESERVED_PARAMS

ProfileFunction: TypeAlias = Callable[[Mapping[str, Any], TokenSet], Awaitable[Mapping[str, Any]] | Mapping[str, Any]]
"""Takes the userinfo document (empty without a ``userinfo_endpoint``) and the token set; answers the user: a mapping
with ``id``, and whatever is known of ``name``, ``email`` and ``image``. Other keys reach the ``jwt`` callback."""

AuthMethod: TypeAlias = Literal["client_secret_basic", "client_secret_post", "none"]

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
        self._check_texts()
        for name in _ENDPOINTS:
            value: object = getattr(self, name)
            if value is not None or name in _REQUIRED:
                _check_url(f"{self._named}.{name}", value)
        self._check_params()
        self._check_method()
        if self.profile is not None and not callable(self.profile):
            raise ConfigurationError(
                f"{self._named}.profile is not callable: expected a function of the userinfo document and the token set."
            )
        if self.profile is None and self.userinfo_endpoint is None:
            raise ConfigurationError(
                f"{self._named} has neither userinfo_endpoint nor profile, so nobody could tell who signs in: expected one"
                " of them. Give the endpoint, or a function that makes the user from the token set."
            )

    @property
    def auth_method(self) -> AuthMethod:
        """How the client says who it is to the token endpoint (RFC 6749, 2.3.1)."""
        if self.token_endpoint_auth_method is not None:
            return self.token_endpoint_auth_method
        return "none" if self.client_secret is None else "client_secret_basic"

    @property
    def _named(self) -> str:
        return f"OAuth2({self.id!r})" if isinstance(self.id, str) else "OAuth2"  # pyright: ignore[reportUnnecessaryIsInstance]

    def _check_texts(self) -> None:
        for name in ("id", "name", "client_id", "client_secret", "issuer"):
            value: object = getattr(self, name)
            if value is None and name in ("client_secret", "issuer"):
                continue
            if not isinstance(value, str) or not value:
                kind = "empty" if value == "" else f"a {type(value).__name__}"
                raise ConfigurationError(
                    f"{self._named}.{name} is {kind}: expected a text that is not empty. Is the environment variable set that"
                    " it is read from?"
                )
        scopes = cast("object", self.scopes)
        if isinstance(scopes, str) or not isinstance(scopes, Sequence):
            raise ConfigurationError(
                f'{self._named}.scopes is a {type(scopes).__name__}: expected a list, such as ["read", "write"]. Split it.'
            )
        for scope in cast("Sequence[object]", scopes):
            if not isinstance(scope, str) or not scope or not scope.isascii() or len(scope.split()) != 1:
                raise ConfigurationError(
                    f"{self._named}.scopes has {scope!r}: expected one scope for each entry, without spaces."
                )

    def _check_params(self) -> None:
        if not isinstance(self.authorization_params, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f'{self._named}.authorization_params is no mapping: expected {{"prompt": "consent"}}.'
            )
        for name, value in self.authorization_params.items():
            if not isinstance(name, str) or not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigurationError(
                    f"{self._named}.authorization_params[{name!r}] is no text: expected texts only."
                )
        queried = [name for name, _ in parse_qsl(urlsplit(self.authorization_endpoint).query, keep_blank_values=True)]
        reserved = (RESERVED_PARAMS - {"response_mode"}) | {"scope"}
        for name in (*self.authorization_params, *queried):
            if name in reserved:
                raise ConfigurationError(
                    f"{self._named} sets {name!r} in the authorization request, which the sign-in sets itself: expected other"
                    " parameters. Leave it out; scopes have an option of their own."
                )
        if self.authorization_params.get("response_mode", "query") not in ("query", "form_post"):
            raise ConfigurationError(
                f'{self._named}.authorization_params has a response_mode that no server sees: expected "query" or "form_post".'
            )

    def _check_method(self) -> None:
        if self.token_endpoint_auth_method not in (None, "client_secret_basic", "client_secret_post", "none"):
            raise ConfigurationError(
                f"{self._named}.token_endpoint_auth_method is {self.token_endpoint_auth_method!r}: expected"
                " 'client_secret_basic', 'client_secret_post' or 'none'."
            )
        if self.auth_method != "none" and self.client_secret is None:
            raise ConfigurationError(
                f"{self._named}.token_endpoint_auth_method is {self.auth_method!r}, and there is no client_secret: expected"
                " both, or neither."
            )


def _check_url(option: str, value: object) -> None:
    parts = None
    if isinstance(value, str) and value.isascii() and not any(character <= " " for character in value):
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f'{option} is {_shown(value)}: expected an absolute address, such as "https://id.example.com/oauth/token".'
        )
    if "@" in parts.netloc or parts.fragment:
        raise ConfigurationError(
            f"{option} has a user name or a fragment in it: expected the address alone (RFC 6749, 3.1). Leave that out."
        )


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) and "@" not in value else f"a {type(value).__name__}"
