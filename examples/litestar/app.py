"""A Litestar application that signs its users in against a token back end, and never thinks about expiry again.

``python examples/demo.py litestar`` runs it. The first half is what your own application needs; the second half is the
page, and ``/demo``, which shows what happens behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
from examples.journal import Journal
from examples.page import PAGE_HEADERS, STATIC, Asset
from examples.panel import panel
from litestar import Litestar, Request, WebSocket, asgi, get, websocket
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.logging import LoggingConfig
from litestar.params import FromPath
from litestar.response import File

from asgi_token_rotation import (
    JWT,
    AccessTokenAuth,
    Callbacks,
    Credentials,
    JWTParams,
    NotSignedInError,
    RefreshError,
    RefreshOptions,
    Session,
    SessionParams,
    SignIn,
    TokenRotation,
    TokenSet,
)
from asgi_token_rotation.integrations.litestar import TokenRotationPlugin, requires_session

# --- Signing in, and refreshing: the only code that knows the back end ------------------------------------------------


async def authorize(api: httpx.AsyncClient, credentials: Mapping[str, str]) -> SignIn | None:
    """Ask the back end who that is. None: wrong password."""
    response = await api.post("/auth/login", json=dict(credentials))
    if response.status_code in (400, 401):
        return None
    data = response.raise_for_status().json()
    return SignIn(user={"id": data["id"], "name": data["name"], "email": data["email"]}, tokens=token_set(data))


async def refresh(api: httpx.AsyncClient, token: JWT) -> TokenSet:
    """Ask for new tokens. Called only when they are due, and once, however many requests wait for them."""
    response = await api.post("/auth/refreshToken", json={"token": token["refresh_token"]})
    return token_set(response.raise_for_status().json())


def token_set(data: Mapping[str, Any]) -> TokenSet:
    """The back end's answer in the package's words. Its expiry is in milliseconds."""
    return TokenSet(
        access_token=data["accessToken"],
        refresh_token=data["refreshToken"],
        expires_at=data["accessTokenExpiry"] / 1000,
    )


async def jwt(params: JWTParams) -> JWT | None:
    """What the encrypted cookie keeps. The user is there at sign-in only; None would end the session."""
    if params.user is not None:
        params.token["id"] = params.user["id"]
    return params.token


async def session(params: SessionParams) -> Session:
    """What the browser may see. The page draws its time line from these; no token is among them."""
    params.session["user"]["id"] = params.token["id"]
    params.session["generation"] = params.token["generation"]
    issued = datetime.fromtimestamp(params.token["issued_at"], UTC)
    params.session["accessTokenIssued"] = issued.isoformat(timespec="milliseconds")
    return params.session


# --- The routes of an ordinary application ----------------------------------------------------------------------------


@get("/api/me", guards=[requires_session])
async def me(session: NamedDependency[Session]) -> dict[str, Any]:
    """The session, for those who have one: the guard answers 401 to all others."""
    return session


@get("/api/profile")
async def profile(request: Request[Any, Any, State], state: State) -> Any:
    """What the back end's own API says of the user, asked with the user's access token."""
    try:
        response = await state.api.get("/api/me", auth=AccessTokenAuth(request))
    except NotSignedInError:
        raise HTTPException("Please sign in.", status_code=401) from None
    except RefreshError as error:
        # No sign-out: the back end may be down for a minute. Only a refusal needs a new sign-in.
        raise HTTPException(error.code, status_code=401 if error.code == "RefreshAccessTokenError" else 503) from None
    return response.raise_for_status().json()


@websocket("/api/hello")
async def hello(socket: WebSocket[Any, Any, State], session: NamedDependency[Session]) -> None:
    """A WebSocket has the session as well, and a rotation at its handshake reaches the cookie."""
    await socket.accept()
    await socket.send_json({"hello": session.user["name"] if session.user else "stranger"})
    await socket.close()


@get("/", include_in_schema=False)
async def index() -> File:
    """The page."""
    return _file("index.html", "text/html")


@get("/static/{name:str}", include_in_schema=False)
async def asset(name: FromPath[Asset]) -> File:
    """The page's script, style and icon."""
    return _file(name, _MEDIA_TYPES[name.rpartition(".")[2]])


_MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def _file(name: str, media_type: str) -> File:
    headers = dict(PAGE_HEADERS)
    return File(STATIC / name, content_disposition_type="inline", media_type=media_type, headers=headers)


def without_session(scope: Any) -> bool:
    """Static files need no session; and looking at the journal must not be what refreshes it."""
    path: str = scope["path"]
    return path.startswith(("/static/", "/demo/"))


# --- Putting it together ----------------------------------------------------------------------------------------------


def create_app(
    *, api: httpx.AsyncClient, secret: str, journal: Journal, clock: Callable[[], float] = time.time
) -> Litestar:
    """The application. ``api`` talks to the token back end, and is closed with the application."""
    rotation = TokenRotation(
        secret=secret,
        # public_url="https://example.com" where browsers come from further away than this machine
        providers=[Credentials(authorize=partial(authorize, api), refresh=journal.timed(partial(refresh, api)))],
        callbacks=Callbacks(jwt=jwt, session=session),
        events=journal.events(),
        refresh_options=RefreshOptions(margin=10),
        skip=without_session,
        clock=clock,
    )
    # No mount: Litestar would take "/demo" off the path before `skip` sees it.
    demo = asgi(["/demo/log", "/demo/back-end"], copy_scope=True)(panel(framework="Litestar", api=api, journal=journal))
    return Litestar(
        [me, profile, hello, index, asset, demo],
        plugins=[TokenRotationPlugin(rotation)],
        state=State({"api": api}),
        on_shutdown=[api.aclose],
        # Litestar's own default prints what every library has to say, down to each request that httpx makes.
        logging_config=LoggingConfig(root={"level": "WARNING", "handlers": []}, log_exceptions="always"),
    )
