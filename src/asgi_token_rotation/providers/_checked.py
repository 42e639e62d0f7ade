"""What the data of OAuth 2.0 and OpenID Connect providers must be: the checks that both share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, cast
from urllib.parse import parse_qsl, urlsplit

from ..errors import ConfigurationError
from ._authorization import RESERVED_PARAMS

AuthMethod: TypeAlias = Literal["client_secret_basic", "client_secret_post", "none"]


class ClientData(Protocol):
    """What OAuth2 and OIDC have in common."""

    @property
    def client_secret(self) -> str | None:
        """None: a public client."""
        ...

    @property
    def scopes(self) -> Sequence[str]:
        """What is asked for."""
        ...

    @property
    def authorization_endpoint(self) -> str | None:
        """Where users are sent."""
        ...

    @property
    def authorization_params(self) -> Mapping[str, str]:
        """What the application adds to the authorization request."""
        ...

    @property
    def token_endpoint_auth_method(self) -> AuthMethod | None:
        """None: by whether there is a secret."""
        ...


def named(kind: str, provider_id: object) -> str:
    """How a sentence names the provider."""
    return f"{kind}({provider_id!r})" if isinstance(provider_id, str) else kind


def auth_method_of(provider: ClientData) -> AuthMethod:
    """How the client says who it is to the token endpoint (RFC 6749, 2.3.1)."""
    if provider.token_endpoint_auth_method is not None:
        return provider.token_endpoint_auth_method
    return "none" if provider.client_secret is None else "client_secret_basic"


def check_request_data(provider: ClientData, *, name: str) -> None:
    """ConfigurationError for authorization parameters or an authentication method that can't be. Addresses come first."""
    _check_params(provider, name=name)
    _check_method(provider, name=name)


def check_texts(provider: ClientData, *, name: str, required: Iterable[str], optional: Iterable[str]) -> None:
    """ConfigurationError for what is no text, or empty, and for scopes that are none."""
    given = tuple(optional)
    for option in (*required, *given):
        value: object = getattr(provider, option)
        if value is None and option in given:
            continue
        if not isinstance(value, str) or not value:
            kind = "empty" if value == "" else f"a {type(value).__name__}"
            raise ConfigurationError(
                f"{name}.{option} is {kind}: expected a text that is not empty. Is the environment variable set that"
                " it is read from?"
            )
    _check_scopes(provider.scopes, name=name)


def check_endpoint(option: str, value: object) -> None:
    """ConfigurationError for what is no absolute address."""
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


def _check_scopes(given: object, *, name: str) -> None:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigurationError(
            f'{name}.scopes is a {type(given).__name__}: expected a list, such as ["read", "write"]. Split it.'
        )
    for scope in cast("Sequence[object]", given):
        if not isinstance(scope, str) or not scope or not scope.isascii() or len(scope.split()) != 1:
            raise ConfigurationError(f"{name}.scopes has {scope!r}: expected one scope for each entry, without spaces.")


def _check_params(provider: ClientData, *, name: str) -> None:
    if not isinstance(provider.authorization_params, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f'{name}.authorization_params is no mapping: expected {{"prompt": "consent"}}.')
    for param, value in provider.authorization_params.items():
        if not isinstance(param, str) or not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"{name}.authorization_params[{param!r}] is no text: expected texts only.")
    endpoint = provider.authorization_endpoint or ""
    queried = [param for param, _ in parse_qsl(urlsplit(endpoint).query, keep_blank_values=True)]
    reserved = (RESERVED_PARAMS - {"response_mode"}) | {"scope"}
    for param in (*provider.authorization_params, *queried):
        if param in reserved:
            raise ConfigurationError(
                f"{name} sets {param!r} in the authorization request, which the sign-in sets itself: expected other"
                " parameters. Leave it out; scopes have an option of their own."
            )
    if provider.authorization_params.get("response_mode", "query") not in ("query", "form_post"):
        raise ConfigurationError(
            f'{name}.authorization_params has a response_mode that no server sees: expected "query" or "form_post".'
        )


def _check_method(provider: ClientData, *, name: str) -> None:
    given = provider.token_endpoint_auth_method
    if given not in (None, "client_secret_basic", "client_secret_post", "none"):
        raise ConfigurationError(
            f"{name}.token_endpoint_auth_method is {given!r}: expected 'client_secret_basic', 'client_secret_post' or 'none'."
        )
    method = auth_method_of(provider)
    if method != "none" and provider.client_secret is None:
        raise ConfigurationError(
            f"{name}.token_endpoint_auth_method is {method!r}, and there is no client_secret: expected"
            " both, or neither."
        )


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) and "@" not in value else f"a {type(value).__name__}"
