"""The provider's endpoints, by its discovery document (Discovery 1.0, 4; RFC 8414), and by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ...errors import ConfigurationError, SignInError
from .._checked import AuthMethod, auth_method_of, check_endpoint
from .._http import ProviderHttp
from .data import ENDPOINTS, OIDC, is_safe
from .remembered import Remembered, document_at

_NEEDED: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_WELL_KNOWN: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What is known of a provider's endpoints."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    revocation_endpoint: str | None
    end_session_endpoint: str | None
    auth_method: AuthMethod
    tells_issuer: bool  # whether each good authorization answer has an ``iss`` (RFC 9207, 3)


class Discovery:
    """Finds the endpoints when somebody needs them, and remembers them for the process. ``timeout``: seconds for a look."""

    def __init__(self, provider: OIDC, *, http: ProviderHttp, clock: Callable[[], float], timeout: float) -> None:
        self._provider = provider
        self._http = http
        self._clock = clock
        self._set = metadata_of({}, provider) if all(getattr(provider, name) for name in _NEEDED) else None
        self._found = Remembered(self._fetch, what="discovery", clock=clock, timeout=timeout)

    async def metadata(self) -> Metadata:
        """The endpoints.

        SignInError with ``discovery_unavailable``, ``…_timeout``, ``…_too_long``, ``…_misconfigured``, ``…_issuer``,
        ``…_incomplete`` or ``…_insecure``.
        """
        return self._set or await self._found.get()

    async def _fetch(self) -> Metadata:
        url = discovery_url(self._provider.issuer)
        document = await document_at(url, http=self._http, what="discovery", now=self._clock())
        if (
            document.get("issuer") != self._provider.issuer
        ):  # Discovery 1.0, 4.3: exactly, or anybody could stand in for it
            raise SignInError(
                f"The discovery document is that of another issuer than {self._provider.issuer}: expected exactly the"
                " same text, a slash at its end included. Set issuer to what the provider calls itself.",
                code="discovery_issuer",
            )
        return metadata_of(document, self._provider)


def discovery_url(issuer: str) -> str:
    """Where an issuer's document is (Discovery 1.0, 4.1: a slash at the end of the issuer is left out before)."""
    return issuer.removesuffix("/") + _WELL_KNOWN


def metadata_of(document: Mapping[str, Any], provider: OIDC) -> Metadata:
    """The endpoints that a document names, and those set by hand, which win. SignInError for what can't be used."""
    endpoints: dict[str, Any] = {name: getattr(provider, name) or _found(document, name) for name in ENDPOINTS}
    for name in _NEEDED:
        if endpoints[name] is None:
            raise SignInError(
                f"The discovery document names no {name}: expected one. Set it by hand.", code="discovery_incomplete"
            )
    return Metadata(
        **endpoints,
        auth_method=_auth_method(provider, document.get("token_endpoint_auth_methods_supported")),
        tells_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _found(document: Mapping[str, Any], name: str) -> str | None:
    value: object = document.get(name)
    if value is None:
        return None
    try:
        check_endpoint(f"The discovery document's {name}", value)
    except ConfigurationError as error:
        raise SignInError(str(error), code="discovery_incomplete") from error
    url = cast("str", value)
    if not is_safe(url):
        raise SignInError(
            f"The discovery document's {name} is http: expected https, but on this machine. Set it by hand if nobody else is"
            " on the way.",
            code="discovery_insecure",
        )
    return url


def _auth_method(provider: OIDC, supported: object) -> AuthMethod:
    """``client_secret_basic``, unless the document says that only the other one is taken."""
    if provider.token_endpoint_auth_method is not None or provider.client_secret is None:
        return auth_method_of(provider)
    methods = cast("Sequence[object]", supported) if isinstance(supported, list) else ()
    only_post = "client_secret_post" in methods and "client_secret_basic" not in methods
    return "client_secret_post" if only_post else "client_secret_basic"
