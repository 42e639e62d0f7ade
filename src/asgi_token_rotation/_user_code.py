"""The application's ``jwt`` and ``session`` callbacks, and what is held against their answers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

from ._claims import copy_of, restored
from ._present import shows
from .errors import TokenExposedError
from .types import JWT, Callbacks, JWTParams, Session, SessionParams

T = TypeVar("T")


async def settled(value: Awaitable[T] | T) -> T:
    """What a callback answered, sync or async."""
    return cast("T", await value if inspect.isawaitable(value) else value)


class UserCode:
    """Runs the callbacks for one connection. Their exceptions are the application's and pass through."""

    def __init__(self, callbacks: Callbacks, connection: Any) -> None:
        self._callbacks = callbacks
        self._connection = connection

    @property
    def has_jwt(self) -> bool:
        """Whether there is a ``jwt`` callback; without one an update changes nothing."""
        return self._callbacks.jwt is not None

    async def jwt(self, token: JWT, **params: Any) -> JWT | None:
        """The token as the ``jwt`` callback wants it, with what is ours put back; None ends the session.

        TypeError where it answers no token, or a claim that JSON does not have.
        """
        if self._callbacks.jwt is None:
            return token
        full = JWTParams(token=copy_of(token), connection=self._connection, **params)
        answer = cast("object", await settled(self._callbacks.jwt(full)))
        if answer is None:
            return None
        if not isinstance(answer, dict):
            raise TypeError(
                f"The jwt callback answered a {type(answer).__name__}: expected the token (a dict), or None to end the session."
            )
        own = restored(cast("JWT", answer), token)
        if own != token:
            _must_be_json(own)
        return own

    async def session(self, default: Session, token: JWT) -> Session:
        """The session as the ``session`` callback wants it, never with the refresh token in it."""
        if self._callbacks.session is None:
            return default
        error = default.error
        params = SessionParams(session=default, token=copy_of(token), connection=self._connection)
        answer = cast("object", await settled(self._callbacks.session(params)))
        if not isinstance(answer, dict):
            raise TypeError(
                f"The session callback answered a {type(answer).__name__}: expected the session. Return params.session."
            )
        refresh_token = token.get("refresh_token")
        if isinstance(refresh_token, str) and shows(answer, refresh_token):
            raise TokenExposedError(
                "The session callback put the refresh token into the session, where the browser sees it. Leave it out."
            )
        session = Session(cast("JWT", answer), error=error)
        if error is not None and "error" not in answer:
            del session["error"]
        return session


def _must_be_json(token: JWT) -> None:
    for claim, value in token.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"The jwt callback set {claim!r} to something that JSON does not have ({type(value).__name__})."
            ) from error
