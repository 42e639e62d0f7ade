"""The words: what the application hands in, and what it gets back. Times are seconds since the epoch, sizes bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import jwt

# The only alias set that mypy and pyright accept, both strict, for every framework and server.
Scope: TypeAlias = Any
Message: TypeAlias = Any
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

JWT: TypeAlias = dict[str, Any]
"""What the cookie holds, opened: ``sub name email picture provider access_token refresh_token id_token
expires_at refresh_expires_at scope error``, ours (``session_id generation signed_in_at issued_at``), and yours."""

Trigger: TypeAlias = Literal["signIn", "signUp", "update"]
FailureKind: TypeAlias = Literal["refused", "unavailable", "throttled", "ambiguous", "misconfigured", "store"]
Dialect: TypeAlias = Literal["authjs", "nextauth-v4"]

MILLISECONDS_FROM = 1e11  # seconds: the year 5138; as milliseconds: 1973


class HasScope(Protocol):
    """Whatever a framework calls a request, a WebSocket or a connection."""

    @property
    def scope(self) -> Any:
        """The ASGI connection scope."""
        ...


class Session(dict[str, Any]):
    """What the application and, through ``GET session``, the browser may see: what the ``session`` callback returned.

    Always there; an anonymous one is empty, hence false. ``json.dumps(session)`` is what ``GET session`` answers.
    """

    __slots__ = ("_error",)

    def __init__(self, *args: Any, error: str | None = None, **claims: Any) -> None:
        if args or claims:  # most are empty at first
            super().__init__(*args, **claims)
        self._error = error
        if error is not None:
            self["error"] = error

    @property
    def user(self) -> dict[str, Any] | None:
        """``name``, ``email`` and ``image`` of who is signed in, as far as they are known, or what the callback put there."""
        return self.get("user")

    @property
    def expires(self) -> str | None:
        """When the session ends if nobody comes back (ISO 8601)."""
        return self.get("expires")

    @property
    def error(self) -> str | None:
        """Why the access token is not fresh, or None. From the token, even when the callback dropped the key."""
        return getattr(self, "_error", None)

    def __repr__(self) -> str:
        # The access token may be among the values, so they stay out.
        return f"<Session keys={list(self)} error={self.error!r}>" if self else "<Session anonymous>"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Pydantic's protocol: to FastAPI a session is a dict, so a handler may say ``-> Session``."""
        return handler(dict[str, Any])

    def __copy__(self) -> Session:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        # hypercorn's ProxyFixMiddleware deep-copies the scope; the application must still see this object.
        return self


def _masked(secret: str | None) -> str:
    return "None" if secret is None else f"<{len(secret)} characters>"


@dataclass(frozen=True, slots=True, repr=False)
class TokenSet:
    """What a token endpoint answered (RFC 6749, 5.1). Secrets are masked in its repr.

    Raises ValueError for an empty access token, and for an expiry that can only be milliseconds.
    """

    access_token: str
    refresh_token: str | None = None
    expires_at: float | None = None
    id_token: str | None = None
    refresh_expires_at: float | None = None
    scope: str | None = None
    token_type: str = "Bearer"  # noqa: S105 RFC 6750's word
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if not isinstance(self.access_token, str) or not self.access_token:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(
                "access_token is missing: expected a non-empty string. Check the names in the back end's answer."
            )
        for name in ("expires_at", "refresh_expires_at"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise ValueError(f"{name} is a {type(value).__name__}: expected seconds since the epoch as a number.")
            if value is not None and not -MILLISECONDS_FROM < value < MILLISECONDS_FROM:
                raise ValueError(
                    f"{name} is {value:.0f}: that can only be milliseconds; seconds are expected. Divide it by 1000."
                )

    def __repr__(self) -> str:
        return (
            f"TokenSet(access_token={_masked(self.access_token)}, refresh_token={_masked(self.refresh_token)}, "
            f"expires_at={self.expires_at!r}, id_token={_masked(self.id_token)}, scope={self.scope!r})"
        )

    @classmethod
    def from_response(cls, response: Mapping[str, Any], *, now: float) -> TokenSet:
        """Read an RFC 6749 answer received at ``now``.

        ``expires_in`` may be an int, a float or a string. Where it is missing, ``expires_at`` counts, then the access
        token's own ``exp`` if it is a JWT; else the expiry is unknown, which never triggers a refresh by time. A
        ``refresh_expires_in`` of 0 means "not told" (Keycloak's offline tokens). An empty refresh token means none.
        """
        access_token = response.get("access_token")
        if not isinstance(access_token, str) or not access_token:
            raise ValueError(
                "The token endpoint's answer has no access_token: expected a JSON object as in RFC 6749, 5.1."
            )
        lifetime = _seconds(response.get("expires_in"))
        expires_at = _seconds(response.get("expires_at")) if lifetime is None else now + lifetime
        refresh_lifetime = _seconds(response.get("refresh_expires_in") or response.get("refresh_token_expires_in"))
        return cls(
            access_token=access_token,
            refresh_token=_text(response.get("refresh_token")),
            expires_at=_own_expiry(access_token) if expires_at is None else expires_at,
            id_token=_text(response.get("id_token")),
            refresh_expires_at=now + refresh_lifetime if refresh_lifetime else None,
            scope=_text(response.get("scope")),
            token_type=_text(response.get("token_type")) or "Bearer",
            extra={key: value for key, value in response.items() if key not in _STANDARD},
        )


_STANDARD = frozenset(
    {
        "access_token",
        "refresh_token",
        "expires_in",
        "expires_at",
        "id_token",
        "refresh_expires_in",
        "refresh_token_expires_in",
        "scope",
        "token_type",
    }
)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):  # JSON has integers that no float holds
        return None
    return number if abs(number) < float("inf") else None  # also refuses NaN


def _own_expiry(access_token: str) -> float | None:
    try:
        claims = jwt.decode(access_token, options={"verify_signature": False, "verify_exp": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError):  # it is opaque to us, whatever it looks like
        return None
    return _seconds(claims.get("exp"))


RefreshFunction: TypeAlias = Callable[[JWT], Awaitable[TokenSet] | TokenSet]
"""Takes the token, asks the back end once, returns the new token set. Says more by raising
``RefreshRejectedError`` or ``RefreshUnavailableError``; httpx's errors are understood as they are."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who signed in, and with which tokens: what ``authorize`` answers."""

    user: Mapping[str, Any]  # "id", "name", "email", "image"; anything else reaches the jwt callback
    tokens: TokenSet | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a credentials form."""

    label: str
    type: str = "text"  # HTML's input types
    placeholder: str = ""
    autocomplete: str = ""


@dataclass(frozen=True, kw_only=True)
class JWTParams:
    """What the ``jwt`` callback gets. ``user``, ``account`` and ``profile`` only at sign-in; ``session`` only at an update."""

    token: JWT = field(repr=False)
    user: Mapping[str, Any] | None = field(default=None, repr=False)
    account: Mapping[str, Any] | None = field(default=None, repr=False)
    profile: Mapping[str, Any] | None = field(default=None, repr=False)
    trigger: Trigger | None = None
    session: Any = field(default=None, repr=False)  # what the client sent to update: hostile until checked
    is_new_user: bool | None = None
    connection: Any = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class SessionParams:
    """What the ``session`` callback gets: the session as it would be, and the token behind it."""

    session: Session
    token: JWT = field(repr=False)
    connection: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInParams:
    """What the ``sign_in`` callback gets: who is about to be signed in."""

    user: Mapping[str, Any] = field(repr=False)
    account: Mapping[str, Any] | None = field(default=None, repr=False)
    profile: Mapping[str, Any] | None = field(default=None, repr=False)
    credentials: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedirectParams:
    """What the ``redirect`` callback gets: where a client wants to go, and the application's own origin."""

    url: str
    base_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """The application's decisions, named as NextAuth names them; each sync (run in the loop) or async.

    ``sign_in`` answers True, False (refused) or a URL to go to. ``redirect`` answers a URL, held to our own and trusted
    origins. ``jwt`` answers the token, or None to end the session; it runs at every request, so it must be idempotent.
    ``session`` answers what application and browser may see.
    """

    sign_in: Callable[[SignInParams], Awaitable[bool | str] | bool | str] | None = None
    redirect: Callable[[RedirectParams], Awaitable[str] | str] | None = None
    jwt: Callable[[JWTParams], Awaitable[JWT | None] | JWT | None] | None = None
    session: Callable[[SessionParams], Awaitable[Session] | Session] | None = None


EventName: TypeAlias = Literal["sign_in", "sign_out", "refreshed", "refresh_failed", "session_ended", "stale_cookie"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What an event handler gets. ``session`` names the session as log lines do: 8 hex digits of its key."""

    name: EventName
    session: str
    token: JWT = field(default_factory=dict[str, Any], repr=False)
    user: Mapping[str, Any] | None = field(default=None, repr=False)
    account: Mapping[str, Any] | None = field(default=None, repr=False)
    kind: FailureKind | None = None  # of a failed refresh
    retry_at: float | None = None  # the earliest next attempt
    reason: str | None = None  # why a session ended


EventHandler: TypeAlias = Callable[[Event], Awaitable[None] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """What the application may want to hear of. Exceptions in handlers are logged, never raised."""

    sign_in: EventHandler | None = None
    sign_out: EventHandler | None = None
    refreshed: EventHandler | None = None
    refresh_failed: EventHandler | None = None
    session_ended: EventHandler | None = None
    stale_cookie: EventHandler | None = None
