"""Dependencies for FastAPI, for routes and WebSocket routes.

::

    @app.get("/me")
    async def me(session: RequiredSession): ...

    @app.get("/orders")
    async def orders(access_token: AccessToken): ...

    @app.get("/dashboard", dependencies=[Depends(require_session(redirect_to="/api/auth/signin"))])
    async def dashboard(): ...

Each shows the session cookie in the OpenAPI document, under the name that Auth.js gives it without TLS.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, TypeAlias
from urllib.parse import quote

from fastapi import Depends, HTTPException, Security, WebSocketException, status
from fastapi.security import APIKeyCookie
from starlette.requests import HTTPConnection

from .._session import get_access_token, get_session
from ..errors import ConfigurationError, NotSignedInError, RefreshError
from ..types import Session
from ._access import is_final, refusal

_RETRY_AFTER = 5.0  # seconds: the first back-off of a refresh that failed

_cookie_scheme = APIKeyCookie(
    name="authjs.session-token",
    scheme_name="SessionCookie",
    description="The encrypted session cookie. Browsers send it by themselves after a sign-in.",
    auto_error=False,  # whether somebody is signed in is for the middleware to say, not for a cookie's presence
)
# Only for OpenAPI: FastAPI lists the schemes that it finds among the dependencies of a dependency.
_Documented: TypeAlias = Annotated[str | None, Security(_cookie_scheme)]


def current_session(connection: HTTPConnection, _cookie: _Documented = None) -> Session:
    """The session, which is empty for somebody anonymous. MiddlewareMissingError where the middleware did not run."""
    return get_session(connection)


def require_session(
    redirect_to: str | None = None, allow_error: bool = False
) -> Callable[[HTTPConnection, Session], Session]:
    """A dependency that lets signed-in people pass, and gives their session.

    Anybody else gets a 401; a browser that wants a page is sent to ``redirect_to`` (a path, or an http(s) URL) with
    ``callbackUrl``, as NextAuth's sign-in page expects it; a WebSocket is closed with 1008. A session whose refresh
    token was refused for good does not pass either, unless ``allow_error``. One whose provider is only unavailable
    does: ``session.error`` says so. ConfigurationError where ``redirect_to`` is no address.
    """
    if redirect_to is not None and not re.match(r"/(?![/\\])|https?://", redirect_to):
        raise ConfigurationError(
            f'redirect_to is {redirect_to!r}: expected a path that starts with "/", or an http(s) URL.'
        )

    def required_session(connection: HTTPConnection, session: Annotated[Session, Depends(current_session)]) -> Session:
        reason = refusal(session, allow_error=allow_error)
        if reason is None:
            return session
        if redirect_to is not None and _wants_page(connection):
            raise HTTPException(status.HTTP_303_SEE_OTHER, headers={"Location": _sign_in_at(redirect_to, connection)})
        raise _unauthorized(connection, reason)

    return required_session


async def access_token(connection: HTTPConnection, _cookie: _Documented = None) -> str:
    """A valid access token, refreshed if it is due: for calls to your API.

    401 where nobody is signed in or the refresh token was refused for good, 503 with ``Retry-After`` where the provider
    can't answer now; a WebSocket is closed with 1008, or 1013.
    """
    try:
        return await get_access_token(connection)
    except NotSignedInError as error:
        raise _unauthorized(connection, "Not authenticated") from error
    except RefreshError as error:
        if is_final(error.code):
            raise _unauthorized(connection, error.code) from error
        if connection.scope["type"] == "websocket":
            raise WebSocketException(status.WS_1013_TRY_AGAIN_LATER, error.code) from error
        seconds = getattr(error, "retry_after", None) or _RETRY_AFTER
        headers = {"Retry-After": str(math.ceil(seconds))}
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, error.code, headers) from error


CurrentSession: TypeAlias = Annotated[Session, Depends(current_session)]
"""The session, which is empty for somebody anonymous."""

RequiredSession: TypeAlias = Annotated[Session, Depends(require_session())]
"""The session of somebody who is signed in; anybody else gets a 401. See ``require_session``."""

AccessToken: TypeAlias = Annotated[str, Depends(access_token)]
"""A valid access token, refreshed if it is due. See ``access_token``."""


def _unauthorized(connection: HTTPConnection, reason: str) -> HTTPException | WebSocketException:
    if connection.scope["type"] == "websocket":
        return WebSocketException(status.WS_1008_POLICY_VIOLATION, reason)
    # RFC 9110, 15.5.2: a 401 names a scheme; FastAPI's cookie schemes call theirs APIKey.
    return HTTPException(status.HTTP_401_UNAUTHORIZED, reason, {"WWW-Authenticate": "APIKey"})


def _wants_page(connection: HTTPConnection) -> bool:
    scope = connection.scope
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and "text/html" in connection.headers.get("accept", "")
    )


def _sign_in_at(redirect_to: str, connection: HTTPConnection) -> str:
    scope = connection.scope
    root, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    if path != root and not path.startswith(f"{root}/"):
        path = root + path  # servers differ in whether the path has the root path in it
    # A browser would take a second slash, or a backslash, for the beginning of a foreign host.
    page = quote("/" + path.lstrip("/\\"))
    if scope.get("query_string"):
        page += "?" + scope["query_string"].decode("latin-1")
    return f"{redirect_to}{'&' if '?' in redirect_to else '?'}callbackUrl={quote(page, safe='')}"
