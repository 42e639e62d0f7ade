"""Refresh and revocation at an OAuth2 provider, through the whole middleware."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import httpx2
import pytest
import uvicorn

from asgi_token_rotation import (
    JWT,
    Callbacks,
    JWTParams,
    RefreshOptions,
    RefreshUnavailableError,
    TokenRotation,
    TokenRotationMiddleware,
    TokenSet,
)
from asgi_token_rotation.providers import OAuth2
from asgi_token_rotation.providers._http import ProviderHttp, Request
from asgi_token_rotation.providers._revocation import MOST_WAITING, Revocations
from asgi_token_rotation.testing import Clock, TokenServer, session_cookie
from asgi_token_rotation.types import Event
from endpoints.browser import SECRET, application, browsing
from endpoints.idp import Visitor, idp, visiting
from rig import until

CLIENTS = {"app": "a:secret/with 100%"}


@asynccontextmanager
async def signed_in(server: TokenServer, clock: Clock, **options: Any) -> AsyncIterator[Visitor]:
    async with visiting(server, clock=clock, **options) as visitor:
        assert (await visitor.arrive()).headers["location"] == "http://testserver/"
        yield visitor


async def test_one_refresh_for_all() -> None:
    """R1: parallel requests at the expiry are one refresh at the provider, in the standard's form, never with a scope."""
    clock = Clock()
    server = TokenServer(clock=clock, clients=CLIENTS)
    async with signed_in(server, clock, providers=[idp(scopes=["read"])]) as visitor:
        clock.advance(301)
        answers = await asyncio.gather(*(visitor.get("/me") for _ in range(20)))

        assert {answer.json()["session"]["user"]["email"] for answer in answers} == {"ada@example.com"}
        assert not any("error" in answer.json()["session"] for answer in answers)
        assert (server.rotations, server.reuses) == (1, 0)
        assert server.grants[1].keys() == {"grant_type", "refresh_token"}


@pytest.mark.parametrize("omission", ["missing", "null", "empty"])
async def test_the_old_refresh_token_is_kept(omission: Any) -> None:
    """L5: a refresh answer without a refresh token leaves the old one in place."""
    clock = Clock()
    server = TokenServer(clock=clock)
    async with signed_in(server, clock) as visitor:
        for answer in (omission, None):
            server.omit_refresh_token = answer
            clock.advance(301)
            assert "error" not in (await visitor.get("/me")).json()["session"]

        assert [name for name, _ in server.received] == ["1-0", "1-0"]
        assert server.rotations == 1


async def test_what_failures_lead_to() -> None:
    """O1, O5: a refusal is flagged; an outage, a throttle and a wrong secret cost no session."""
    clock = Clock()
    server = TokenServer(clock=clock)
    async with signed_in(server, clock) as visitor:
        errors: list[Any] = []
        for status, body in (
            (503, ""),
            (429, ""),
            (401, {"error": "invalid_client"}),
            (400, {"error": "invalid_grant"}),
        ):
            server.fail_with, server.fail_body = status, body
            clock.advance(3600)
            errors.append((await visitor.get("/me")).json()["session"].get("error"))

        assert errors == ["RefreshUnavailable", "RefreshUnavailable", "RefreshMisconfigured", "RefreshAccessTokenError"]


async def test_a_refresh_function_of_its_own() -> None:
    """refresh= takes the place of the standard's refresh, for servers that have one of their own."""
    clock, seen = Clock(), list[Any]()

    async def refresh(token: JWT) -> TokenSet:
        seen.append(token["provider"])
        return TokenSet("fresh", "next", expires_at=clock() + 300)

    server = TokenServer(clock=clock)
    async with signed_in(server, clock, providers=[idp(refresh=refresh)]) as visitor:
        clock.advance(301)
        await visitor.get("/me")

        assert seen == ["idp"]
        assert server.refresh_calls == 0


async def test_httpx2() -> None:
    """R31: an httpx2 client signs in and refreshes, and its own errors are judged: an outage costs no session."""
    clock = Clock()
    server = TokenServer(clock=clock)
    async with (
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=server)) as client,
        signed_in(server, clock, http_client=client) as visitor,
    ):
        clock.advance(301)
        assert "error" not in (await visitor.get("/me")).json()["session"]
        server.fail_with = 503
        clock.advance(301)
        assert (await visitor.get("/me")).json()["session"]["error"] == "RefreshUnavailable"
        assert server.rotations == 1


async def test_a_clients_own_credentials_stay_at_home() -> None:
    """A client's own auth, and its following of redirects, are not for the provider."""
    clock = Clock()
    server = TokenServer(clock=clock, clients=CLIENTS)
    transport = httpx.ASGITransport(server)
    async with (
        httpx.AsyncClient(transport=transport, auth=("eve", "x"), follow_redirects=True) as client,
        signed_in(server, clock, http_client=client),
    ):
        assert len(server.grants) == 1


async def test_revoked_at_sign_out() -> None:
    """S1: a sign-out revokes the newest refresh token at the provider, once."""
    clock = Clock()
    server = TokenServer(clock=clock, clients=CLIENTS)
    async with signed_in(server, clock) as visitor:
        clock.advance(301)
        await visitor.get("/me")
        await visitor.post("signout")
        await until(lambda: server.revoked == ["1-1"], seconds=30)
        await visitor.post("signout")

        assert server.revoked == ["1-1"]


async def test_revoked_when_the_jwt_callback_ends_the_session() -> None:
    """A session that the jwt callback ends is revoked, too."""
    clock, over = Clock(), list[bool]()

    def jwt(params: JWTParams) -> JWT | None:
        return None if over else params.token

    server = TokenServer(clock=clock)
    async with signed_in(server, clock, callbacks=Callbacks(jwt=jwt)) as visitor:
        over.append(True)
        await visitor.get("/me")
        await until(lambda: server.revoked == ["1-0"], seconds=30)


async def test_a_sign_out_does_not_wait() -> None:
    """A provider that hangs keeps nobody from signing out; a shutdown waits for the revocation."""
    clock, gate = Clock(), asyncio.Event()
    server = TokenServer(clock=clock)

    async def slow(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/revoke":
            await gate.wait()
        async with server.client() as client:
            return await client.request(
                request.method, str(request.url), content=request.content, headers=request.headers
            )

    async with httpx.AsyncClient(transport=httpx.MockTransport(slow)) as client:
        rotation = TokenRotation(secret=SECRET, providers=[idp()], http_client=client, clock=clock)
        app = TokenRotationMiddleware(application, rotation=rotation)
        transport = httpx.ASGITransport(app)
        async with (
            server.client() as provider,
            httpx.AsyncClient(transport=transport, base_url="http://testserver") as web,
        ):
            visitor = Visitor(web, provider)
            await visitor.arrive()
            assert (await visitor.post("signout")).json() == {"url": "http://testserver/"}
            assert await visitor.session() is None
            assert server.revoked == []
            gate.set()
            await rotation.aclose()

            assert server.revoked == ["1-0"]


def found(provider: OAuth2) -> Callable[[], Awaitable[OAuth2]]:
    """A provider whose endpoints are known."""

    async def server() -> OAuth2:
        return provider

    return server


class Endpoint:
    """A revocation endpoint that answers what it is told to, and what is remembered of it."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.calls = 0
        self.pauses: list[float] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        self.revocations = Revocations(
            {"idp": found(idp()), "none": found(idp(id="none", revocation_endpoint=None))},
            http=ProviderHttp(self.client, timeout=5),
            spawn=self.spawn,
            sleep=self.sleep,
            clock=lambda: 0.0,
            timeout=5,
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        answer = self.answers[self.calls]
        self.calls += 1
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer, json={"error": "invalid_request"})

    def spawn(self, work: Any) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def hears(self, *, reason: str = "sign_out", provider: str = "idp", **token: Any) -> None:
        held = {"refresh_token": "refresh-1", **token, "provider": provider}
        self.revocations.hear(Event(name="session_ended", session="0123abcd", token=held, reason=reason))
        await asyncio.gather(*self.tasks)
        await self.client.aclose()


@pytest.mark.parametrize(
    ("answers", "calls", "kind"),
    [
        ((200,), 1, None),
        ((503, 200), 2, "unavailable"),
        ((503, 503), 2, "unavailable"),
        ((429, 200), 2, "throttled"),
        ((httpx.ReadError("cut"), 200), 2, "ambiguous"),
        ((httpx.ConnectError("down"), 200), 2, "unavailable"),
        ((400,), 1, "refused"),
        ((404,), 1, "misconfigured"),
    ],
)
async def test_one_attempt_and_one_retry(
    answers: tuple[Any, ...], calls: int, kind: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A revocation is tried once more where that may help, and its failure is logged by session and kind, without the token."""
    endpoint = Endpoint(*answers)
    await endpoint.hears()

    assert (endpoint.calls, len(endpoint.pauses)) == (calls, calls - 1)
    assert (f"session 0123abcd: its refresh token was not revoked ({kind})" in caplog.text) is (kind is not None)
    assert "refresh-1" not in caplog.text


@pytest.mark.parametrize(
    ("reason", "provider", "refresh_token"),
    [
        ("replaced", "idp", "r"),
        ("refused", "idp", "r"),
        ("sign_out", "none", "r"),
        ("sign_out", "gone", "r"),
        ("sign_out", "idp", None),
        ("sign_out", "idp", ""),
    ],
)
async def test_not_revoked(reason: str, provider: str, refresh_token: str | None) -> None:
    """Replaced sessions are not revoked (a shared grant would die), nor dead tokens, nor where there is no endpoint."""
    endpoint = Endpoint()
    await endpoint.hears(reason=reason, provider=provider, refresh_token=refresh_token)

    assert endpoint.calls == 0


def test_revocations_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """No more than a bounded number of revocations waits for a provider that hangs."""
    waiting: list[Any] = []
    http = ProviderHttp(timeout=5)
    revocations = Revocations(
        {"idp": found(idp())}, http=http, spawn=waiting.append, sleep=asyncio.sleep, clock=lambda: 0.0, timeout=5
    )
    for _ in range(MOST_WAITING + 1):
        revocations.revoke({"provider": "idp", "refresh_token": "r"}, session="0123abcd")
    for work in waiting:
        work.close()

    assert len(waiting) == MOST_WAITING
    assert caplog.text.count("its refresh token is not revoked") == 1


async def test_answers_are_bounded_while_they_come() -> None:
    """An endless answer is let go of after 64 KiB, whatever its Content-Length says."""
    sent, let_go = 0, threading.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not let_go.is_set():
            await send({"type": "http.response.body", "body": b"x" * 1024, "more_body": True})
            sent += 1
            await asyncio.sleep(0)

    with served(endless) as address:
        http = ProviderHttp(timeout=5)
        with pytest.raises(RefreshUnavailableError, match="longer than 65536 bytes"):
            await http.ask(Request(method="GET", url=address, headers={}))
        let_go.set()
        await http.aclose()

    assert sent < 100_000


@contextmanager
def served(app: Any) -> Iterator[str]:
    """An ASGI application on a free port of this machine."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)


def test_one_client_for_each_loop() -> None:
    """R21, R22: without http_client one runtime serves event loops that come and go, over real sockets, and leaks none."""
    clock = Clock()
    server = TokenServer(clock=clock)
    with served(server) as address:
        names = {"authorization": "authorize", "token": "token", "userinfo": "userinfo", "revocation": "revoke"}
        provider = idp(**{f"{name}_endpoint": f"{address}/oauth/{path}" for name, path in names.items()})
        rotation = TokenRotation(secret=SECRET, providers=[provider], clock=clock)
        app = TokenRotationMiddleware(application, rotation=rotation)

        async def visit(*, close: bool) -> None:
            transport = httpx.ASGITransport(app)
            async with (
                httpx.AsyncClient() as idp_client,
                httpx.AsyncClient(transport=transport, base_url="http://testserver") as web,
            ):
                visitor = Visitor(web, idp_client)
                await visitor.arrive()
                clock.advance(301)
                answers = await asyncio.gather(*(visitor.get("/me") for _ in range(5)))
                assert not any("error" in answer.json()["session"] for answer in answers)
                await visitor.post("signout")
            if close:
                await rotation.aclose()
            else:
                await rotation.drain()

        for close in (False, True, False):
            asyncio.run(visit(close=close))

    assert (server.rotations, server.reuses) == (3, 0)
    assert server.revoked == ["1-1", "2-1", "3-1"]


async def test_a_slow_provider_is_not_asked_twice_at_once() -> None:
    """RefreshOptions.timeout bounds the call; the session goes on with its valid token, and nobody is signed out."""
    clock = Clock()
    server = TokenServer(clock=clock)
    options = RefreshOptions(timeout=0.05, wait=5, lease=1)
    async with signed_in(server, clock, refresh_options=options) as visitor:
        server.hold()
        clock.advance(280)
        answer = (await visitor.get("/me")).json()["session"]
        server.release()

        assert "error" not in answer
        assert server.concurrent_max == 1


async def test_signed_in_cookies_of_tests_refresh() -> None:
    """testing.session_cookie with the provider's id gives a session that the provider refreshes."""
    clock = Clock()
    server = TokenServer(clock=clock)
    signed = await server.authorize({"username": "ada", "password": "lovelace"})
    assert signed is not None
    cookies = session_cookie(secret=SECRET, user=signed.user, tokens=signed.tokens, provider="idp", clock=clock)
    async with server.client() as provider, browsing(providers=[idp()], clock=clock, http_client=provider) as browser:
        for name, value in cookies.items():
            browser.client.cookies.set(name, value, domain="testserver.local")
        clock.advance(301)
        await browser.get("/me")

        assert server.rotations == 1
