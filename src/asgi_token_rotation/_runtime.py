"""TokenRotation: checks the options and builds the parts. Nothing else does."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import re
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict

import httpx

from ._cookies.session_cookie import session_cookie_for
from ._endpoints.router import Endpoint, Router
from ._events import emitter
from ._log import Once, logger
from ._origins import Origins
from ._rotation.claimant import Tools
from ._rotation.ledger import Ledger
from ._rotation.rotator import Rotator
from ._rotation.sealing import RecordSeal
from ._rotation.single_flight import PerLoop, Tasks
from ._visit import Parts, Visit
from .errors import ConfigurationError
from .options import CookieOptions, Lifetime, Pages, RefreshOptions
from .providers.base import Provider
from .stores import MemoryStore, Store, store_from_url
from .types import JWT, Callbacks, Dialect, Events, RefreshFunction, Scope

SHORTEST_SECRET = 16  # characters
SHORT_SECRET = 32  # characters
MAKE_ONE = "Make one with: openssl rand -base64 33"
RECORD_SLACK = 60.0  # seconds for which a record outlives the last cookie that it may be needed for


class TokenRotationOptions(TypedDict, total=False):
    """The options of TokenRotation, for the middleware's flat form."""

    secret: str | Sequence[str]
    public_url: str | Sequence[str] | None
    providers: Sequence[Provider]
    callbacks: Callbacks
    events: Events
    refresh: RefreshFunction | None
    refresh_options: RefreshOptions
    lifetime: Lifetime
    store: Store | str
    cookie: CookieOptions
    pages: Pages
    dialect: Dialect
    base_path: str
    trusted_origins: Sequence[str]
    skip: Callable[[Scope], bool] | None
    http_client: httpx.AsyncClient | None
    state_key: str
    clock: Callable[[], float]


class TokenRotation:
    """Configuration and runtime in one. Making it checks every option and does no I/O.

    One object serves any number of middleware instances and event loops. ``await aclose()`` where no lifespan reaches
    the middleware. ConfigurationError where an option is wrong.
    """

    def __init__(
        self,
        *,
        secret: str | Sequence[str],  # newest first: the first seals, all open
        public_url: str
        | Sequence[str]
        | None = None,  # "https://example.com/app"; None: only loopback and "testserver"
        providers: Sequence[Provider] = (),
        callbacks: Callbacks = Callbacks(),
        events: Events = Events(),
        refresh: RefreshFunction | None = None,  # for sessions that your own code started with sign_in()
        refresh_options: RefreshOptions = RefreshOptions(),
        lifetime: Lifetime = Lifetime(),
        store: Store | str = "memory://",  # where workers meet
        cookie: CookieOptions = CookieOptions(),
        pages: Pages = Pages(),
        dialect: Literal["authjs", "nextauth-v4"] = "authjs",
        base_path: str = "/api/auth",
        trusted_origins: Sequence[str] = (),
        skip: Callable[[Scope], bool] | None = None,  # no cookie work at all (static files)
        http_client: httpx.AsyncClient | None = None,  # for providers that speak HTTP themselves; or of that shape
        state_key: str = "session",
        clock: Callable[[], float] = time.time,  # seconds since the epoch
    ) -> None:
        keys = _checked_secrets(secret)
        _check_kinds(
            callbacks=callbacks,
            events=events,
            refresh_options=refresh_options,
            lifetime=lifetime,
            cookie=cookie,
            pages=pages,
        )
        _check_callables(refresh=refresh, skip=skip, clock=clock)
        by_id = _checked_providers(providers)
        _check_texts(dialect=dialect, base_path=base_path, state_key=state_key)
        if isinstance(trusted_origins, str):
            raise ConfigurationError(
                f"trusted_origins is the string {trusted_origins!r}: expected a list of origins. Put it in brackets."
            )
        if http_client is not None and not callable(getattr(http_client, "request", None)):
            raise ConfigurationError(
                "http_client has no request method: expected an httpx.AsyncClient, or an object of that shape."
            )

        self._store, self._owns_store = _opened_store(store, clock=clock)
        self.base_path = base_path  # where the endpoints live; for integrations
        self._skip = skip
        self._shutdown_wait = refresh_options.shutdown_wait
        self._tasks: PerLoop[Tasks] = PerLoop(Tasks)
        emit = emitter(events, self._tasks)
        in_memory = isinstance(self._store, MemoryStore)
        mark = secrets.token_hex(4) if in_memory else None
        origins = Origins(public_url=public_url, trusted_origins=trusted_origins)

        def refresh_for(token: JWT) -> RefreshFunction | None:
            provider = by_id.get(str(token.get("provider")))
            return refresh if provider is None else provider.refresh

        self._parts = Parts(
            origins=origins,
            secure_cookie=session_cookie_for(keys, cookie, dialect=dialect, secure=True),
            plain_cookie=session_cookie_for(keys, cookie, dialect=dialect, secure=False),
            rotator=Rotator(
                ledger=Ledger(store=self._store, seal=RecordSeal(keys), ttl=lifetime.max_age + RECORD_SLACK),
                options=refresh_options,
                refresh_for=refresh_for,
                emit=emit,
                tools=Tools(clock=clock, monotonic=time.monotonic, sleep=asyncio.sleep, random=random.random),
                tasks=self._tasks,
                mark=mark,
            ),
            callbacks=callbacks,
            options=refresh_options,
            lifetime=lifetime,
            emit=emit,
            once=Once(),
            clock=clock,
            monotonic=time.monotonic,
            state_key=state_key,
            mark=mark,
        )
        self._router = Router(
            base_path=base_path,
            origins=origins,
            providers=by_id,
            callbacks=callbacks,
            pages=pages,
            secrets=keys,
            cookie=cookie,
            dialect=dialect,
        )
        if in_memory and _workers() > 1:
            logger.warning(
                "WEB_CONCURRENCY is %d and the store is memory://, which each worker has for itself: rotations will get lost."
                ' Use store="sqlite:///path.db" on one host, or store="redis://…" on several.',
                _workers(),
            )

    def skips(self, scope: Scope) -> bool:
        """Whether the application wants no cookie work for this connection."""
        return self._skip is not None and self._skip(scope)

    def visit(self, scope: Scope, connection: Any) -> Visit:
        """The hold of one connection on its session, noted in the scope. For the middleware and integrations."""
        return Visit(self._parts, scope, connection)

    def endpoint(self, scope: Scope) -> Endpoint | None:
        """What answers this request, if its path is under ``base_path``. For the middleware and integrations."""
        return self._router.endpoint(scope)

    async def aclose(self) -> None:
        """Wait for refreshes under way, ``shutdown_wait`` seconds at most, and let go of the store."""
        left = await self._tasks.get().drain(self._shutdown_wait)
        if left:
            logger.error("Shutdown after %g s with %d refreshes or notes still under way.", self._shutdown_wait, left)
        if self._owns_store:
            await self._store.aclose()


def _workers() -> int:
    text = os.environ.get("WEB_CONCURRENCY", "")
    return int(text) if text.isdecimal() else 1


def _checked_secrets(secret: object) -> list[str]:
    keys = [secret] if isinstance(secret, str) else list(secret) if isinstance(secret, Sequence) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if not keys or not all(isinstance(key, str) for key in keys):  # pyright: ignore[reportUnknownVariableType]
        raise ConfigurationError(
            f"secret is missing or no text: expected a string, or a list of strings, newest first. {MAKE_ONE}"
        )
    texts = [str(key) for key in keys]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    shortest = min(len(text) for text in texts)
    if shortest < SHORTEST_SECRET:
        raise ConfigurationError(
            f"secret has {shortest} characters: expected {SHORT_SECRET} or more, at random. {MAKE_ONE}"
        )
    if shortest < SHORT_SECRET:
        logger.warning(
            "secret has %d characters: %d or more, at random, are safe. %s", shortest, SHORT_SECRET, MAKE_ONE
        )
    return texts


def _check_kinds(**options: object) -> None:
    kinds = {
        "callbacks": Callbacks,
        "events": Events,
        "refresh_options": RefreshOptions,
        "lifetime": Lifetime,
        "cookie": CookieOptions,
        "pages": Pages,
    }
    for name, value in options.items():
        if not isinstance(value, kinds[name]):
            raise ConfigurationError(f"{name} is a {type(value).__name__}: expected {kinds[name].__name__}(…).")
        if isinstance(value, Callbacks | Events):
            _check_callables(**{f"{name}.{item.name}": getattr(value, item.name) for item in dataclasses.fields(value)})


def _check_callables(**options: object) -> None:
    for name, value in options.items():
        if value is not None and not callable(value):
            raise ConfigurationError(f"{name} is a {type(value).__name__}: expected a function.")


def _checked_providers(providers: Sequence[Provider]) -> dict[str, Provider]:
    by_id: dict[str, Provider] = {}
    for provider in providers:
        if not all(hasattr(provider, name) for name in ("id", "name", "type", "refresh")):
            raise ConfigurationError(
                f"providers has a {type(provider).__name__}: expected providers such as Credentials(authorize=…)."
            )
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", provider.id):
            raise ConfigurationError(
                f"A provider's id is {provider.id!r}: expected letters, digits, - and _, since it stands in URLs."
            )
        if provider.id in by_id:
            raise ConfigurationError(
                f"Two providers have the id {provider.id!r}: expected different ones. Give one of them id=…."
            )
        by_id[provider.id] = provider
    return by_id


def _check_texts(*, dialect: object, base_path: object, state_key: object) -> None:
    if dialect not in ("authjs", "nextauth-v4"):
        raise ConfigurationError(f'dialect is {dialect!r}: expected "authjs" (Auth.js v5) or "nextauth-v4".')
    if not isinstance(base_path, str) or not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", base_path):
        raise ConfigurationError(
            f'base_path is {base_path!r}: expected a path such as "/api/auth", without a slash at its end.'
        )
    if not isinstance(state_key, str) or not state_key.isidentifier():
        raise ConfigurationError(
            f'state_key is {state_key!r}: expected a name, since it becomes request.state.<name>, such as "session".'
        )


def _opened_store(store: object, *, clock: Callable[[], float]) -> tuple[Store, bool]:
    if isinstance(store, str):
        return store_from_url(store, clock=clock), True
    if not all(callable(getattr(store, name, None)) for name in ("get", "compare_and_set", "delete", "aclose")):
        raise ConfigurationError(
            f'store is a {type(store).__name__}: expected a URL such as "memory://", or an object with the methods of Store.'
        )
    return store, False  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # checked above
