"""The server of the React application: its three files, an API, and the endpoints that ``next-auth/react`` asks.

``python examples/react/demo.py`` runs it. Signing in, refreshing and the API are those of the FastAPI example; React adds
one option, the dialect: ``nextauth-v4`` for next-auth 4, ``authjs`` for 5.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import httpx
from examples.fastapi.app import authorize, profile, refresh
from examples.journal import Journal
from examples.page import PAGE_HEADERS
from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse

from asgi_token_rotation import Credentials, Pages, TokenRotation, TokenRotationMiddleware

HERE = Path(__file__).resolve().parent
HEADERS = MappingProxyType(
    {**PAGE_HEADERS, "content-security-policy": f"{PAGE_HEADERS['content-security-policy']}; img-src 'self' data:"}
)

Dialect = Literal["authjs", "nextauth-v4"]

router = APIRouter()
router.add_api_route("/api/profile", profile)


@router.get("/", include_in_schema=False)
@router.get("/login", include_in_schema=False)
async def page() -> FileResponse:
    """Both pages are one document; React looks at the path."""
    return FileResponse(HERE / "index.html", headers=HEADERS)


@router.get("/assets/style.css", include_in_schema=False)
async def style() -> FileResponse:
    """The style."""
    return FileResponse(HERE / "style.css", headers=HEADERS)


def without_session(scope: Any) -> bool:
    """The page's own files need no session: they are the same for everybody."""
    path: str = scope["path"]
    return path in ("/", "/login") or path.startswith("/assets/")


def create_app(
    *,
    api: httpx.AsyncClient,
    secret: str,
    journal: Journal,
    dialect: Dialect = "authjs",
    clock: Callable[[], float] = time.time,
) -> TokenRotationMiddleware:
    """The application. ``api`` talks to the token back end, and is closed with the application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        await api.aclose()

    app = FastAPI(title="Token rotation with React", lifespan=lifespan)
    app.state.api = api
    app.include_router(router)

    @app.get("/assets/app.js", include_in_schema=False)
    async def bundle() -> FileResponse:
        """The application, on the client that speaks our dialect."""
        return FileResponse(HERE / "build" / f"{dialect}.js", headers=HEADERS)

    rotation = TokenRotation(
        secret=secret,
        # public_url="https://example.com" where browsers come from further away than this machine
        providers=[Credentials(authorize=partial(authorize, api), refresh=journal.timed(partial(refresh, api)))],
        events=journal.events(),
        pages=Pages(sign_in="/login", error="/login"),
        dialect=dialect,
        skip=without_session,
        clock=clock,
    )
    return TokenRotationMiddleware(app, rotation=rotation)
