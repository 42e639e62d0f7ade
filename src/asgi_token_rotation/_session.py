"""The helpers behind a connection: they take whatever connection object the framework hands out, or a scope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ._claims import copy_of
from ._visit import SCOPE_KEY, SKIPPED_KEY, Visit
from .errors import MiddlewareMissingError
from .types import JWT, HasScope, Session, SignIn, TokenSet


def get_session(connection: HasScope | Mapping[str, Any]) -> Session:
    """The session of the connection, always there: an anonymous one is empty, hence false.

    MiddlewareMissingError (a RuntimeError) where the middleware is missing or skipped the request.
    """
    return _visit_of(connection).session


def get_token(connection: HasScope | Mapping[str, Any]) -> JWT | None:
    """The current claims, after refresh and callbacks; None where nobody is signed in. For the server side only."""
    token = _visit_of(connection).token
    return None if token is None else copy_of(token)


async def get_access_token(
    connection: HasScope | Mapping[str, Any], *, min_valid_for: float = 0, rejected: str | None = None
) -> str:
    """An access token that is good for ``min_valid_for`` more seconds, refreshed if it is due.

    ``rejected`` is the token that an API answered 401 to: it is refreshed only if it is still the current one. Works
    after the response has started, too: the rotation is published, and the session's next request picks it up.
    Raises NotSignedInError, and RefreshError where no valid access token can be had now.
    """
    return await _visit_of(connection).access_token(min_valid_for=min_valid_for, rejected=rejected)


async def sign_in(
    connection: HasScope | Mapping[str, Any],
    user: Mapping[str, Any],
    tokens: TokenSet | None = None,
    *,
    provider: str | None = None,
) -> Session:
    """Begin a session from your own login route, in place of the one that was there.

    Raises ResponseStartedError, and CookieTooLargeError where the token does not fit.
    """
    visit = _visit_of(connection)
    account = {"provider": provider, "type": "credentials"} if provider else None
    return await visit.sign_in(SignIn(user=user, tokens=tokens), provider=provider, account=account)


async def update_session(connection: HasScope | Mapping[str, Any], data: Any) -> Session:
    """Run the ``jwt`` callback with ``trigger="update"`` and ``data``, and publish what it changed.

    Raises NotSignedInError where the session has ended or is stale, ResponseStartedError, and StoreError.
    """
    return await _visit_of(connection).update(data)


async def sign_out(connection: HasScope | Mapping[str, Any]) -> None:
    """End the session everywhere and clear its cookie. Raises ResponseStartedError."""
    await _visit_of(connection).sign_out()


def _visit_of(connection: HasScope | Mapping[str, Any]) -> Visit:
    scope: object = connection if isinstance(connection, Mapping) else getattr(connection, "scope", None)
    if not isinstance(scope, Mapping):
        raise TypeError(
            f"A helper was given an object of type {type(connection).__name__}: expected the request, the WebSocket, or"
            " their ASGI scope. Hand in what the framework gave to your handler."
        )
    notes = cast("Mapping[str, object]", scope)
    visit = notes.get(SCOPE_KEY)
    if isinstance(visit, Visit):
        if visit.scope is None:
            visit.scope = scope  # the application is done already
        return visit
    if notes.get(SKIPPED_KEY):
        raise MiddlewareMissingError(
            "No session here: skip= told the middleware to leave this request alone. Let skip answer False for this path,"
            " or don't ask for the session here."
        )
    raise MiddlewareMissingError(
        "No session here: TokenRotationMiddleware is missing, comes after this code, or skipped the request."
        " Add it to the application, outside of what asks for the session."
    )
