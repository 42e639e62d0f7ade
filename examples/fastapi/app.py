"""A FastAPI application that signs its users in against a token back end, and never thinks about expiry again.

``python examples/demo.py fastapi`` runs it. The first half is what your own application needs; the second half is the
page, and ``/demo``, which shows what happens behind it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
from examples.journal import Journal
from examples.page import PAGE_HEADERS, STATIC, Asset
from examples.panel import panel
from fastapi import APIRouter, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import FileResponse

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
    TokenRotationMiddleware,
    TokenSet,
)

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

router = APIRouter()


@router.get("/api/me")
async def me(request: Request) -> dict[str, Any]:
    """The session, for those who have one."""
    session: Session = request.state.session
    if not session or session.error == "RefreshAccessTokenError":
        raise HTTPException(401, "Please sign in.")
    return session


@router.get("/api/profile")
async def profile(request: Request) -> Any:
    """What the back end's own API says of the user, asked with the user's access token."""
    try:
        response = await request.app.state.api.get("/api/me", auth=AccessTokenAuth(request))
    except NotSignedInError:
        raise HTTPException(401, "Please sign in.") from None
    except RefreshError as error:
        # No sign-out: the back end may be down for a minute. Only a refusal needs a new sign-in.
        raise HTTPException(401 if error.code == "RefreshAccessTokenError" else 503, error.code) from None
    return response.raise_for_status().json()


@router.websocket("/api/hello")
async def hello(websocket: WebSocket) -> None:
    """A WebSocket has the session as well, and a rotation at its handshake reaches the cookie."""
    await websocket.accept()
    user = websocket.state.session.user
    await websocket.send_json({"hello": user["name"] if user else "stranger"})
    await websocket.close()


@router.get("/", include_in_schema=False)
async def index() -> FileResponse:
    """The page."""
    return FileResponse(STATIC / "index.html", headers=PAGE_HEADERS)


@router.get("/static/{name}", include_in_schema=False)
async def asset(name: Asset) -> FileResponse:
    """The page's script, style and icon."""
    return FileResponse(STATIC / name, headers=PAGE_HEADERS)


def without_session(scope: Any) -> bool:
    """Static files need no session; and looking at the journal must not be what refreshes it."""
    path: str = scope["path"]
    return path.startswith(("/static/", "/demo/"))


# --- Putting it together ----------------------------------------------------------------------------------------------


def create_app(
    *, api: httpx.AsyncClient, secret: str, journal: Journal, clock: Callable[[], float] = time.time
) -> FastAPI:
    """The application. ``api`` talks to the token back end, and is closed with the application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        await api.aclose()

    app = FastAPI(title="Token rotation with FastAPI", lifespan=lifespan)
    app.state.api = api
    app.add_middleware(
        TokenRotationMiddleware,
        secret=secret,
        # public_url="https://example.com" where browsers come from further away than this machine
        providers=[Credentials(authorize=partial(authorize, api), refresh=journal.timed(partial(refresh, api)))],
        callbacks=Callbacks(jwt=jwt, session=session),
        events=journal.events(),
        refresh_options=RefreshOptions(margin=10),
        skip=without_session,
        clock=clock,
    )
    app.include_router(router)
    app.mount("/demo", panel(framework="FastAPI", api=api, journal=journal))
    return app
