"""What people get wrong in the options, with the beginning of the sentence that answers it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import httpx
from litestar import Litestar, get
from litestar.middleware import DefineMiddleware

from asgi_token_rotation import (
    Callbacks,
    CookieOptions,
    Credentials,
    Events,
    Lifetime,
    Pages,
    RefreshOptions,
    TokenRotation,
    TokenRotationMiddleware,
    TokenSet,
)
from asgi_token_rotation.stores import MemoryStore

SECRET = "0123456789abcdef" * 2
Mistake = tuple[str, Callable[[], object]]


def some(credentials: object) -> None:
    """An authorize function, or anything else that takes one argument."""


async def some_async(argument: object) -> Any:
    """The same, async."""


def two(token: object, user: object) -> None:
    """A callback as NextAuth has them in tutorials, with an argument for each thing."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    """An application."""


def rotation(**options: Any) -> TokenRotation:
    return TokenRotation(**{"secret": SECRET, **options})


def middleware(application: Any = app, **options: Any) -> TokenRotationMiddleware:
    return TokenRotationMiddleware(application, **{"secret": SECRET, **options})


def started(*arguments: str, **environment: str) -> TokenRotation:
    """A rotation in a worker of a server that was started so."""
    with patch.object(sys, "argv", [*arguments]), patch.dict(os.environ, environment):
        return rotation()


def refused(start: str, make: Callable[..., object], option: str, *values: Any, **others: Any) -> list[Mistake]:
    """One mistake for each value of the option; all get the same answer."""
    return [(start, lambda value=value: make(**{option: value, **others})) for value in values]


def credentials(**options: Any) -> Credentials:
    return Credentials(**{"authorize": some, **options})


@get("/me", sync_to_thread=False)
def me() -> None:
    """A route of Litestar's."""


def without_redis() -> TokenRotation:
    """A Redis URL where redis-py is not installed."""
    with patch.dict(sys.modules):
        sys.modules.pop("asgi_token_rotation.stores.redis", None)
        sys.modules.update({"redis": None, "redis.asyncio": None})  # type: ignore[dict-item]
        return rotation(store="redis://localhost")


ERRORS: list[Mistake] = [
    (
        "Litestar makes a middleware for each of its route handlers",
        lambda: Litestar(
            [me], middleware=[DefineMiddleware(TokenRotationMiddleware, secret=SECRET)], logging_config=None
        ),
    ),
    ('store is a Redis URL, and the package "redis" is not installed', without_redis),
    ("secret is missing or no text, but None", lambda: rotation(secret=os.environ.get("NO_SUCH_VARIABLE"))),
    ("secret is missing or no text, but a bytes", lambda: rotation(secret=SECRET.encode())),
    ("secret is missing or no text, but a set", lambda: rotation(secret={SECRET})),
    ("secret is missing or no text, but an empty list", lambda: rotation(secret=[])),
    *refused("secret has ", rotation, "secret", "", "secret", "changeme"),
    ("'provider' is no option of TokenRotation", lambda: middleware(provider=[])),
    ("'cookies' is no option of TokenRotation", lambda: middleware(cookies={})),
    ("TokenRotationMiddleware got None as the application", lambda: middleware(None)),
    ("TokenRotationMiddleware has neither rotation nor secret", lambda: TokenRotationMiddleware(rotation)),  # type: ignore[arg-type]
    ("rotation is the class TokenRotation", lambda: TokenRotationMiddleware(app, rotation=TokenRotation)),  # type: ignore[arg-type]
    ("rotation is a dict", lambda: TokenRotationMiddleware(app, rotation={"secret": SECRET})),  # type: ignore[arg-type]
    ("rotation= came together with", lambda: middleware(rotation=rotation())),
    ("providers is a Credentials", lambda: rotation(providers=credentials())),
    ("providers has the class Credentials", lambda: rotation(providers=[Credentials])),
    ("providers has a function", lambda: rotation(providers=[some])),
    ("Two providers have the id", lambda: rotation(providers=[credentials(), credentials()])),
    ("Credentials.authorize is not callable", lambda: credentials(authorize=some({}))),
    (
        "Credentials.authorize can't be called with one argument",
        lambda: rotation(providers=[credentials(authorize=two)]),
    ),
    ("Credentials.refresh can't be called with one argument", lambda: rotation(providers=[credentials(refresh=two)])),
    ("callbacks is the class Callbacks", lambda: rotation(callbacks=Callbacks)),
    ("callbacks is a dict", lambda: rotation(callbacks={"jwt": some})),
    ("callbacks.jwt can't be called with one argument", lambda: rotation(callbacks=Callbacks(jwt=two))),  # type: ignore[arg-type]
    ("callbacks.session is the class Events", lambda: rotation(callbacks=Callbacks(session=Events))),  # type: ignore[arg-type]
    ("events.refreshed can't be called with one argument", lambda: rotation(events=Events(refreshed=two))),  # type: ignore[arg-type]
    ("refresh is a TokenSet", lambda: rotation(refresh=TokenSet("access-1"))),
    ("refresh_options is a dict", lambda: rotation(refresh_options={"margin": 60})),
    ("RefreshOptions.margin is ", lambda: RefreshOptions(margin=timedelta(minutes=1))),  # type: ignore[arg-type]
    ("Lifetime.max_age is ", lambda: Lifetime(max_age="30d")),  # type: ignore[arg-type]
    ("lifetime is a int", lambda: rotation(lifetime=3600)),
    ("store is the class MemoryStore", lambda: rotation(store=MemoryStore)),
    ("store is a 'postgres' URL", lambda: rotation(store="postgres://host/db")),
    ('store is a "sqlite" URL without a file', lambda: rotation(store="sqlite://sessions.db")),
    ("SQLiteStore.path is ", lambda: rotation(store="sqlite:////no/such/folder/sessions.db")),
    ("The URL of a RedisStore can't be used", lambda: rotation(store="redis://localhost:port")),
    ("skip is async", lambda: rotation(skip=some_async)),
    ("skip is a list", lambda: rotation(skip=["/static"])),
    ("clock is an async function", lambda: rotation(clock=some_async)),
    ("clock is the class datetime", lambda: rotation(clock=datetime)),
    ("clock answers a datetime", lambda: rotation(clock=lambda: datetime.now(UTC))),
    ("clock answers no time of day", lambda: rotation(clock=time.monotonic)),
    ("clock answers 1", lambda: rotation(clock=lambda: time.time() * 1000)),
    ("http_client is the class AsyncClient", lambda: rotation(http_client=httpx.AsyncClient)),
    ("http_client is a Client, which blocks", lambda: rotation(http_client=httpx.Client.__new__(httpx.Client))),
    *refused("public_url is ", rotation, "public_url", "", "example.com", "localhost:8000", "https://a.example?b=c"),
    ("public_url is 'https://*.example.com'", lambda: rotation(public_url="https://*.example.com")),
    (
        "public_url is 'https://a.example/api/auth', which ends with base_path",
        lambda: rotation(public_url="https://a.example/api/auth"),
    ),
    *refused("trusted_origins is ", rotation, "trusted_origins", "*", "https://a.example", {"https://a.example"}),
    *refused(
        "trusted_origins has ",
        rotation,
        "trusted_origins",
        *(["*"], ["a.example"], ["https://a.example/x"], ["https://*.a.example"], [None]),
    ),
    *refused("base_path is ", rotation, "base_path", "api/auth", "/api/auth/", "/", "", "/api/auth/*"),
    *refused("dialect is ", rotation, "dialect", "next-auth", "nextauth"),
    ("state_key is ", lambda: rotation(state_key="user-session")),
    *refused("CookieOptions.same_site is ", CookieOptions, "same_site", "Lax", "None"),
    *refused("CookieOptions.domain is ", CookieOptions, "domain", "https://a.example", "a.example:8000", "a.example/x"),
    (
        "CookieOptions.domain is 'b.example', and public_url",
        lambda: rotation(public_url="https://a.example", cookie=CookieOptions(domain="b.example")),
    ),
    ("CookieOptions.secure is False with", lambda: CookieOptions(same_site="none", secure=False)),
    (
        "Pages.sign_in is 'https://b.example/login', whose origin",
        lambda: rotation(pages=Pages(sign_in="https://b.example/login")),
    ),
    ("Pages.sign_in is '/api/auth/signin', which is one", lambda: rotation(pages=Pages(sign_in="/api/auth/signin"))),
]

WARNINGS: list[Mistake] = [
    ("WEB_CONCURRENCY is 4 and the store is memory://", lambda: started("app.py", WEB_CONCURRENCY="4")),
    ("--workers is 4 and the store is memory://", lambda: started("/bin/uvicorn", "main:app", "--workers", "4")),
    ("secret has 23 characters", lambda: rotation(secret="k9GhM2pQ7xYwT4vLzR8sNbC")),
    *refused(
        "secret looks like the placeholder",
        rotation,
        "secret",
        *(
            "changeme-changeme-changeme-changeme",
            "your-own-secret-of-thirty-two-characters",
            "openssl rand -base64 33, and then some",
        ),
    ),
    *refused("secret begins or ends with", rotation, "secret", f"{SECRET}\n", f' "{SECRET}"', f"'{SECRET}'"),
    ("clock answers 12345, which is long ago", lambda: rotation(clock=lambda: 12345.0)),
    ("public_url is 'http://a.example', which is neither", lambda: rotation(public_url="http://a.example")),
    (
        "CookieOptions.secure is False, and public_url is https",
        lambda: rotation(public_url="https://a.example", cookie=CookieOptions(secure=False)),
    ),
    (
        'CookieOptions.same_site is "none", which browsers take with https only',
        lambda: rotation(public_url="http://localhost:8000", cookie=CookieOptions(same_site="none")),
    ),
    (
        "CookieOptions.path is '/app', and the endpoints are at '/api/auth/'",
        lambda: rotation(public_url="https://a.example", cookie=CookieOptions(path="/app")),
    ),
    (
        "RefreshOptions.timeout is 30000 seconds",
        lambda: rotation(refresh_options=RefreshOptions(timeout=30_000)),
    ),
    (
        "Lifetime.max_age is 2.592e+09 seconds",
        lambda: rotation(lifetime=Lifetime(max_age=30 * 86_400 * 1000)),
    ),
]

RIGHT: list[Callable[[], object]] = [
    lambda: rotation(skip=lambda scope: False, refresh=some_async, callbacks=Callbacks(jwt=some_async, session=some)),  # type: ignore[arg-type]
    lambda: rotation(
        public_url=["https://a.example/app", "http://localhost:8000"], trusted_origins=["https://b.example/"]
    ),
    lambda: rotation(public_url="https://www.a.example", cookie=CookieOptions(domain=".a.example", path="/api")),
    lambda: rotation(public_url="https://a.example/app", cookie=CookieOptions(path="/app", same_site="none")),
    lambda: rotation(events=Events(refreshed=[].append), http_client=httpx.AsyncClient.__new__(httpx.AsyncClient)),
    lambda: rotation(secret=[SECRET, SECRET[::-1]], clock=time.time, store=MemoryStore()),
    lambda: middleware(public_url="http://127.0.0.1:8000"),
]
