"""TokenRotation: checks the options and builds the parts. Nothing else does."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import httpx

from ._checks import (
    check_accepted,
    check_callables,
    check_kinds,
    check_seconds,
    check_skip,
    check_texts,
    checked_providers,
    checked_secrets,
    warn_of_durations,
)
from ._checks_of_addresses import check_addresses
from ._checks_of_surroundings import check_client, check_clock, opened_store, warn_of_workers
from ._cookies.session_cookie import session_cookie_for
from ._endpoints.router import Endpoint, Router
from ._events import emitter
from ._log import logger
from ._mistakes import look_at_endpoint, look_at_nested, watched_answers, watched_events
from ._origins import Origins
from ._parts import Parts
from ._rotation.claimant import Tools
from ._rotation.ledger import Ledger
from ._rotation.logins import Logins
from ._rotation.rotator import Rotator
from ._rotation.sealing import RecordSeal
from ._rotation.single_flight import PerLoop, Tasks
from ._user_code import UserCode
from ._visit import SCOPE_KEY, SKIPPED_KEY
from .options import CookieOptions, Lifetime, Pages, RefreshOptions
from .providers._calls import ProviderCalls
from .providers.base import Provider
from .stores import MemoryStore, Store
from .types import JWT, Callbacks, Dialect, Events, RefreshFunction, Scope, Session

if TYPE_CHECKING:
    from ._endpoints.backchannel import BackchannelLogout

COUNTED = ("store_failures", "refreshes_alone", "rotations_unpublished", "take_overs")
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
    revocation_check: float | None
    cookie: CookieOptions
    pages: Pages
    dialect: Dialect
    accept_dialects: Sequence[Dialect]
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

    base_path: str  # where the endpoints live; for integrations
    skip: Callable[[Scope], bool] | None  # no cookie work at all; for the middleware
    parts: Parts  # what every visit needs; for the middleware

    def __init__(
        self,
        *,
        secret: str | Sequence[str],  # newest first: the first seals, all open
        public_url: str | Sequence[str] | None = None,  # "https://example.com/app"; None: for loopback hosts only
        providers: Sequence[Provider] = (),
        callbacks: Callbacks = Callbacks(),
        events: Events = Events(),
        refresh: RefreshFunction | None = None,  # for sessions that your own code started with sign_in()
        refresh_options: RefreshOptions = RefreshOptions(),
        lifetime: Lifetime = Lifetime(),
        store: Store | str = "memory://",  # where workers meet
        revocation_check: float | None = None,  # seconds for which a look at the record is trusted
        cookie: CookieOptions = CookieOptions(),
        pages: Pages = Pages(),
        dialect: Literal["authjs", "nextauth-v4"] = "authjs",
        accept_dialects: Sequence[Literal["authjs", "nextauth-v4"]] = (),  # read as well, and sealed anew in dialect
        base_path: str = "/api/auth",
        trusted_origins: Sequence[str] = (),
        skip: Callable[[Scope], bool] | None = None,  # no cookie work at all (static files)
        http_client: httpx.AsyncClient | None = None,  # for providers that speak HTTP themselves; or of that shape
        state_key: str = "session",
        clock: Callable[[], float] = time.time,  # seconds since the epoch
    ) -> None:
        keys, by_id = checked_secrets(secret), checked_providers(providers)
        check_kinds(callbacks=callbacks, events=events, refresh_options=refresh_options, lifetime=lifetime)
        check_kinds(cookie=cookie, pages=pages)
        check_callables(refresh=refresh)
        check_skip(skip)
        check_seconds(revocation_check=revocation_check)
        check_texts(dialect=dialect, base_path=base_path, state_key=state_key)
        check_accepted(accept_dialects, dialect=dialect)
        check_client(http_client)
        check_clock(clock)
        check_addresses(public_url=public_url, trusted_origins=trusted_origins, base_path=base_path, cookie=cookie)
        warn_of_durations(refresh_options, lifetime)
        self.base_path, self.skip, self._shutdown_wait = base_path, skip, refresh_options.shutdown_wait
        self._store, self._owns_store = opened_store(store, clock=clock)
        self._tasks = tasks = PerLoop(Tasks)
        origins = Origins(public_url=public_url, trusted_origins=trusted_origins)
        tools = Tools(clock=clock, monotonic=time.monotonic, sleep=asyncio.sleep, random=random.random)
        ledger = Ledger(store=self._store, seal=RecordSeal(keys), ttl=lifetime.max_age + RECORD_SLACK)
        self._calls = calls = _calls(by_id, http_client, clock=clock, timeout=refresh_options.timeout, tasks=tasks)
        asks, mark, self._counts = _refresh_for(by_id, refresh, calls.refreshes), _mark(self._store), ledger.counts
        emit = calls.heard(watched_events(emitter(events, tasks), refresh_for=asks, clock=clock))
        rotator = Rotator(
            ledger=ledger, options=refresh_options, refresh_for=asks, emit=emit, tools=tools, tasks=tasks, mark=mark,
            revocation_check=revocation_check, revoke=calls.revoke,
        )  # fmt: skip
        session_cookie = partial(session_cookie_for, keys, cookie, dialect=dialect, accept_dialects=accept_dialects)
        self.parts = Parts(
            origins=origins, secure_cookie=session_cookie(secure=True), plain_cookie=session_cookie(secure=False),
            rotator=rotator, code=UserCode(callbacks), options=refresh_options, lifetime=lifetime, emit=emit, tools=tools,
            connect=Router.connect, state_key=state_key, mark=mark,
        )  # fmt: skip
        self._router = Router(
            base_path=base_path, origins=origins, providers=by_id, callbacks=watched_answers(callbacks), pages=pages,
            secrets=keys, cookie=cookie, dialect=dialect, flows=calls.flows, clock=clock,
            backchannel=_backchannel(calls, rotator, store=self._store, secrets=keys, lifetime=lifetime, clock=clock),
        )  # fmt: skip

    def pass_by(self, scope: Scope) -> None:
        """Note why this connection is left alone: ``skip`` said so, or another visit is there. For the middleware."""
        if scope["type"] not in ("http", "websocket"):
            return
        visit = scope.get(SCOPE_KEY)
        if visit is None:
            scope[SKIPPED_KEY] = True
            _hide_session(scope, state_key=self.parts.state_key)
        elif not visit.belongs_to(self.parts):
            look_at_nested(self.parts)

    def endpoint(self, scope: Scope) -> Endpoint | None:
        """What answers this request, if its path is under ``base_path``. For the middleware and integrations."""
        endpoint = self._router.endpoint(scope)
        if endpoint is not None:
            look_at_endpoint(self.parts, scope)
        return endpoint

    @property
    def counts(self) -> dict[str, int]:
        """What went wrong in this process so far, for metrics.

        ``store_failures``, ``refreshes_alone`` (``store_failure="degrade"``), ``rotations_unpublished``, ``take_overs``.
        """
        return {name: self._counts[name] for name in COUNTED}

    async def drain(self) -> bool:
        """Wait for the running loop's refreshes under way, ``shutdown_wait`` seconds at most. Whether all are done."""
        left = await self._tasks.get().drain(self._shutdown_wait)
        if left:
            logger.error("After %g s %d refreshes or notes are still under way.", self._shutdown_wait, left)
        return not left

    async def aclose(self) -> None:
        """Wait for refreshes under way, ``shutdown_wait`` seconds at most, and let go of connections and store."""
        await self.drain()
        await self.let_go()

    async def let_go(self) -> None:
        """Let go of connections and store, without another wait for what hangs. For the middleware."""
        await self._calls.aclose()
        if self._owns_store:
            await self._store.aclose()


def _hide_session(scope: Scope, *, state_key: str) -> None:
    """Take out another request's session where a skipped one shares its state (asgi-lifespan has one for all)."""
    state = scope.get("state")
    if state and isinstance(state.get(state_key), Session):
        scope["state"] = {key: value for key, value in state.items() if key != state_key}


def _refresh_for(
    providers: Mapping[str, Provider], refresh: RefreshFunction | None, refreshes: Mapping[str, RefreshFunction]
) -> Callable[[JWT], RefreshFunction | None]:
    def refresh_for(token: JWT) -> RefreshFunction | None:
        provider = str(token.get("provider"))
        return refreshes.get(provider) if provider in providers else refresh

    return refresh_for


def _calls(
    providers: Mapping[str, Provider], client: Any, *, clock: Callable[[], float], timeout: float, tasks: PerLoop[Tasks]
) -> ProviderCalls:
    def spawn(work: Awaitable[None]) -> None:
        tasks.get().spawn(work)

    return ProviderCalls(providers, client=client, clock=clock, timeout=timeout, spawn=spawn)


def _backchannel(
    calls: ProviderCalls,
    rotator: Rotator,
    *,
    store: Store,
    secrets: Sequence[str],
    lifetime: Lifetime,
    clock: Callable[[], float],
) -> BackchannelLogout | None:
    if not calls.logouts:
        return None
    from ._endpoints.backchannel import BackchannelLogout

    async def end(token: JWT, reason: str) -> None:
        await rotator.end(token, reason=reason)

    logins = Logins(store=store, secrets=secrets, clock=clock, ttl=lifetime.max_age + RECORD_SLACK)
    return BackchannelLogout(calls.logouts, logins=logins, end=end)


def _mark(store: Store) -> str | None:
    """The mark of this process in the tokens that it rotates, where no other process sees its store."""
    if not isinstance(store, MemoryStore):
        return None
    warn_of_workers()
    return secrets.token_hex(4)
