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
_new = object.__new__


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
        self.callbacks = callbacks

    async def jwt(self, token: JWT, *, copy: JWT | None = None, **params: Any) -> JWT | None:
        """The token as the ``jwt`` callback wants it, with what is ours put back; None ends the session.

        The very token where nothing changed. TypeError where it answers no token, or a claim that JSON does not have.
        """
        if self.callbacks.jwt is None:
            return token
        full = JWTParams(token=copy_of(token) if copy is None else copy, **params)
        return self.judged(await settled(self.callbacks.jwt(full)), token)

    @staticmethod
    def judged(answer: object, token: JWT) -> JWT | None:
        """What a ``jwt`` callback answered, as ``jwt`` says it."""
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
        return copy_of(own)  # what the application keeps of it, it may change

    async def session(self, default: Session, token: JWT, *, copy: JWT | None = None, connection: Any) -> Session:
        """The session as the ``session`` callback wants it, never with the refresh token in it."""
        if self.callbacks.session is None:
            return default
        params = session_params(default, copy_of(token) if copy is None else copy, connection)
        return self.shown(await settled(self.callbacks.session(params)), default, token)

    @staticmethod
    def shown(answer: object, default: Session, token: JWT) -> Session:
        """What a ``session`` callback answered, as ``session`` says it."""
        if not isinstance(answer, dict):
            raise TypeError(
                f"The session callback answered a {type(answer).__name__}: expected the session. Return params.session."
            )
        refresh_token = token.get("refresh_token")
        if refresh_token and isinstance(refresh_token, str) and shows(answer, refresh_token):
            raise TokenExposedError(
                "The session callback put the refresh token into the session, where the browser sees it. Leave it out."
            )
        if answer is default and "error" not in answer:
            return default
        error = default.error
        session = Session(cast("JWT", answer), error=error)
        if error is not None and "error" not in answer:
            del session["error"]
        return session


# Both without the constructor, which sets each field of a frozen object in a round-about way that takes 1 µs. The fields
# that are left out are the class's defaults.


def jwt_params(token: JWT, connection: Any) -> JWTParams:
    """What the ``jwt`` callback gets at an ordinary request."""
    params = _new(JWTParams)
    fields = params.__dict__
    fields["token"], fields["connection"] = token, connection
    return params


def session_params(session: Session, token: JWT, connection: Any) -> SessionParams:
    """What the ``session`` callback gets."""
    params = _new(SessionParams)
    fields = params.__dict__
    fields["session"], fields["token"], fields["connection"] = session, token, connection
    return params


def _must_be_json(token: JWT) -> None:
    for claim, value in token.items():
        if type(value) in _ALWAYS_JSON or (type(value) is float and isfinite(value)):
            continue
        try:
            _ENCODER.encode(value)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"The jwt callback set {claim!r} to something that JSON does not have ({type(value).__name__})."
            ) from error
