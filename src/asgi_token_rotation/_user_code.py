"""The application's ``jwt`` and ``session`` callbacks, and what is held against their answers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable
from math import isfinite
from types import CoroutineType
from typing import Any, TypeVar, cast

from ._claims import copy_of, restored
from ._present import shows
from .errors import TokenExposedError
from .types import JWT, Callbacks, JWTParams, Session, SessionParams

T = TypeVar("T")
_ENCODER = json.JSONEncoder(allow_nan=False)
_ALWAYS_JSON = frozenset((str, int, bool, type(None)))


async def settled(value: Awaitable[T] | T) -> T:
    """What a callback answered, sync or async."""
    if isinstance(value, CoroutineType):  # nearly always, and ten times as fast to find out
        return cast("T", await value)
    return cast("T", await value if inspect.isawaitable(value) else value)


class UserCode:
    """Runs the callbacks. Their exceptions are the application's and pass through.

    ``copy``, where the caller has one, is a copy of the token for the application alone.
    """

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks

    @property
    def has_jwt(self) -> bool:
        """Whether there is a ``jwt`` callback; without one an update changes nothing."""
        return self._callbacks.jwt is not None

    async def jwt(self, token: JWT, *, copy: JWT | None = None, **params: Any) -> JWT | None:
        """The token as the ``jwt`` callback wants it, with what is ours put back; None ends the session.

        The very token where nothing changed. TypeError where it answers no token, or a claim that JSON does not have.
        """
        if self._callbacks.jwt is None:
            return token
        params["token"] = copy_of(token) if copy is None else copy
        full = _made(JWTParams, params)
        called: Any = self._callbacks.jwt(full)
        answer: object = await (called if called.__class__ is CoroutineType else settled(called))
        if answer is None:
            return None
        if not isinstance(answer, dict):
            raise TypeError(
                f"The jwt callback answered a {type(answer).__name__}: expected the token (a dict), or None to end the session."
            )
        # What was returned unchanged needs no work; neither does what differs only in claims that it can't change.
        if answer == token or (own := restored(cast("JWT", answer), token)) == token:
            return token
        _must_be_json(own)
        return own

    async def session(self, default: Session, token: JWT, *, copy: JWT | None = None, connection: Any) -> Session:
        """The session as the ``session`` callback wants it, never with the refresh token in it."""
        if self._callbacks.session is None:
            return default
        error = default.error
        copy = copy_of(token) if copy is None else copy
        params = _made(SessionParams, {"session": default, "token": copy, "connection": connection})
        called: Any = self._callbacks.session(params)
        answer: object = await (called if called.__class__ is CoroutineType else settled(called))
        if not isinstance(answer, dict):
            raise TypeError(
                f"The session callback answered a {type(answer).__name__}: expected the session. Return params.session."
            )
        refresh_token = token.get("refresh_token")
        if isinstance(refresh_token, str) and refresh_token and shows(answer, refresh_token):
            raise TokenExposedError(
                "The session callback put the refresh token into the session, where the browser sees it. Leave it out."
            )
        if answer is default and error is None:
            return default
        session = Session(cast("JWT", answer), error=error)
        if error is not None and "error" not in answer:
            del session["error"]
        return session


def _made(kind: type[T], fields: dict[str, Any]) -> T:
    """A frozen parameter object, without its constructor: that sets each field in a round-about way, which takes 1 µs.

    The fields that are left out are the class's defaults.
    """
    params = object.__new__(kind)
    vars(params).update(fields)
    return params


def _must_be_json(token: JWT) -> None:
    for claim, value in token.items():
        if value.__class__ in _ALWAYS_JSON or (value.__class__ is float and isfinite(value)):
            continue
        try:
            _ENCODER.encode(value)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"The jwt callback set {claim!r} to something that JSON does not have ({type(value).__name__})."
            ) from error
