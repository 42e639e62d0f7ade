"""What a provider is, and what its failures mean. Judging is pure; asking is the provider's own affair."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal, Protocol, cast

from ..errors import RefreshRejectedError, RefreshUnavailableError
from ..types import FailureKind, RefreshFunction

LONGEST_RETRY_AFTER = 3600.0  # seconds
_LARGEST_ERROR_BODY = 64 * 1024  # bytes

_MISCONFIGURED = frozenset({"invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type"})
_TEMPORARY = frozenset({"temporarily_unavailable", "server_error", "slow_down", "authorization_pending"})
# Names in httpx and httpx2, whose classes are unrelated, so they are known by name.
_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"})


class Provider(Protocol):
    """Where users sign in, and where their access token is refreshed. Providers are data."""

    @property
    def id(self) -> str:
        """The provider's name in URLs and in the token's ``provider`` claim."""
        ...

    @property
    def name(self) -> str:
        """The provider's name for people."""
        ...

    @property
    def type(self) -> Literal["credentials", "oauth", "oidc"]:
        """Auth.js's word for the kind of provider."""
        ...

    @property
    def refresh(self) -> RefreshFunction | None:
        """Asks for a new token set; None: sessions of this provider can't be refreshed."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failed call to the provider means."""

    kind: FailureKind
    doubtful: bool = False  # a refusal that counts only when a second attempt after the back-off agrees
    retry_after: float | None = None  # seconds, as the provider told
    unexpected: bool = False  # an exception that no rule knows: worth its traceback


def judge(error: BaseException, *, now: float) -> Failure:
    """What an exception out of a ``refresh`` function means, by the table in ``docs/guarantees.md``.

    httpx's and httpx2's errors are known by their names, so neither is imported.
    """
    if isinstance(error, RefreshRejectedError):
        return Failure("refused")
    if isinstance(error, RefreshUnavailableError):
        told = _bounded(error.retry_after)
        return Failure("unavailable" if told is None else "throttled", retry_after=told)
    if isinstance(error, asyncio.CancelledError):
        return Failure("ambiguous")
    try:
        response: Any = getattr(error, "response", None)
        status, headers = getattr(response, "status_code", None), getattr(response, "headers", None)
    except Exception:  # noqa: BLE001 an error whose attributes raise errors is none of httpx's
        return Failure("unavailable", unexpected=True)
    if isinstance(status, int):
        known = cast("Mapping[str, str]", headers if isinstance(headers, Mapping) else {})
        return judge_response(status, known, _body(response), now=now)
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _NEVER_SENT or isinstance(error, ConnectionRefusedError):
        return Failure("unavailable")
    if "TransportError" in names or isinstance(error, TimeoutError | ConnectionError | asyncio.IncompleteReadError):
        return Failure("ambiguous")
    return Failure("unavailable", unexpected=not isinstance(error, OSError))


def judge_response(status: int, headers: Mapping[str, str], body: bytes | None, *, now: float) -> Failure:
    """What an error answer of a token endpoint means (RFC 6749, 5.2, and what real servers do instead)."""
    document = _json(body)
    code = _error_code(document)
    client_error = 400 <= status < 500
    if client_error and code == "invalid_grant":
        return Failure("refused")
    if status == 404 or (client_error and code in _MISCONFIGURED):
        return Failure("misconfigured")
    told = retry_after(headers, now=now)
    if status == 429:
        return Failure("throttled", retry_after=told)
    if status in (400, 401, 403, 422) and (document is _NOT_JSON or code == "invalid_request"):
        return Failure("refused", doubtful=True)
    if status in (400, 401) and code not in _TEMPORARY:
        return Failure("refused")
    return Failure("unavailable", retry_after=told)


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """The seconds to wait that ``Retry-After`` (RFC 9110, 10.2.3) or ``X-Retry-After`` name, an hour at most."""
    text = headers.get("retry-after") or headers.get("x-retry-after")
    if not isinstance(text, str) or not text:  # pyright: ignore[reportUnnecessaryIsInstance] other clients' headers
        return None
    try:
        return _bounded(float(text))
    except ValueError:
        pass
    try:
        return _bounded(parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _bounded(seconds: object) -> float | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds != seconds:  # NaN
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


_NOT_JSON = object()


def _error_code(document: Any) -> str | None:
    try:
        code = document["error"]
    except (TypeError, LookupError):
        return None
    return code if isinstance(code, str) else None  # {"error": {"code": 400, …}} is no OAuth error


def _json(body: bytes | None) -> Any:
    if not body or len(body) > _LARGEST_ERROR_BODY:
        return _NOT_JSON
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _body(response: Any) -> bytes | None:
    try:
        content: object = response.content
        text = content.encode("utf-8", "replace") if isinstance(content, str) else content
        return text if isinstance(text, bytes) else None
    except Exception:  # noqa: BLE001 a streamed answer that nobody read: what it said is unknown
        return None
