"""What holds whatever happens: a test for each invariant, and for its corners."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from asgi_token_rotation import (
    JWT,
    Callbacks,
    Credentials,
    JWTParams,
    Lifetime,
    RefreshOptions,
    SignIn,
    TokenRotationMiddleware,
    TokenSet,
    get_session,
    sign_in,
    sign_out,
)
from asgi_token_rotation.stores import MemoryStore
from asgi_token_rotation.testing import Clock, TokenServer, session_cookie
from rig import COOKIE, SECRET, Rig, a_token_set, cleared, token_in, user_of, written


class CountingStore:
    """A store that counts what it is asked, and lets others run meanwhile."""

    def __init__(self, clock: Clock) -> None:
        self.store = MemoryStore(clock=clock)
        self.reads = 0
        self.writes = 0

    async def get(self, key: str) -> bytes | None:
        self.reads += 1
        await asyncio.sleep(0)  # as a store that is asked over a network
        return await self.store.get(key)

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        self.writes += 1
        await asyncio.sleep(0)
        return await self.store.compare_and_set(key, expected, value, ttl)

    async def delete(self, key: str) -> None:
        await self.store.delete(key)

    async def aclose(self) -> None:
        await self.store.aclose()


def two_workers(**options: Any) -> tuple[Rig, Rig]:
    """Two processes' worth of runtime that share clock, token server and store."""
    clock = Clock()
    server, store = TokenServer(clock=clock), CountingStore(clock)
    return Rig(clock=clock, server=server, store=store, **options), Rig(
        clock=clock, server=server, store=store, **options
    )


async def test_i1_nothing_is_written_without_a_reason() -> None:
    """I1: a response writes the session cookie only if something changed."""
    rig = Rig()
    browser = await rig.signed_in()
    for _ in range(3):
        rig.clock.advance(10)
        assert not written(await browser.get("/me"))
        assert not written(await browser.get("/access-token"))

    rig.past_expiry()
    assert written(await browser.get("/me"))
    assert not written(await browser.get("/me"))


async def test_i1_update_age() -> None:
    """I1: once update_age has passed since the seal, a visit seals the cookie anew, and only then."""
    rig = Rig(lifetime=Lifetime(max_age=1000, update_age=100))
    browser = await rig.signed_in()
    rig.clock.advance(99)
    assert not written(await browser.get("/me"))
    rig.clock.advance(1)
    assert written(await browser.get("/me"))


async def test_i2_an_older_cookie_is_never_written() -> None:
    """I2: a slow response in another process writes the newest tokens, though it began before the rotation."""
    one, other = two_workers(lifetime=Lifetime(update_age=1))
    browser = await one.signed_in()
    one.clock.advance(2)
    slow = asyncio.create_task(other.browser(**dict(browser.cookies)).get("/slow"))
    await asyncio.sleep(0.01)
    one.past_expiry()
    await browser.get("/me")
    other.gate.set()
    answer = await slow

    assert token_in(other, answer)["generation"] == 1


async def test_i2_a_replaced_session_is_not_written() -> None:
    """I2: a slow response of a session that a new sign-in replaced writes nothing over the new one."""
    one, other = two_workers(lifetime=Lifetime(update_age=1))
    browser = await one.signed_in()
    one.clock.advance(2)
    slow = asyncio.create_task(other.browser(**dict(browser.cookies)).get("/slow"))
    await asyncio.sleep(0.01)
    await browser.get("/login")
    other.gate.set()

    assert not written(await slow)
    assert [event.reason for event in one.heard("session_ended")] == ["replaced"]


@pytest.mark.parametrize("what", ["expired", "unreadable", "stale"])
async def test_i3_only_an_end_clears_the_cookie(what: str) -> None:
    """I3: an expired, unreadable or stale cookie is left alone."""
    rig = Rig(lifetime=Lifetime(max_age=5000))
    browser = await rig.signed_in()
    old = await rig.copy(browser)
    if what == "expired":
        rig.clock.advance(5016)
    elif what == "unreadable":
        old.cookies.set(COOKIE, "e30..AAAA.AAAA.AAAA", domain="testserver.local")
    else:
        for _ in range(2):
            rig.past_expiry()
            await browser.get("/me")
        rig.clock.advance(31)
    answer = await old.get("/me")

    assert user_of(answer) is None
    assert not cleared(answer)
    assert not written(answer)


async def test_i3_an_ended_session_is_cleared_after_the_grace() -> None:
    """I3: the cookie of an ended session is cleared, but not before grace has passed: it could hit a new sign-in."""
    rig = Rig()
    browser = await rig.signed_in()
    old = await rig.copy(browser)
    await browser.get("/logout")
    answer = await old.get("/me")
    assert (user_of(answer), cleared(answer)) == (None, False)

    rig.clock.advance(31)
    assert cleared(await old.get("/me"))


async def test_i4_one_refresh_among_workers() -> None:
    """I4: a refresh token is sent once among all workers that share a store, however their requests fall."""
    one, other = two_workers()
    one.server.latency = 0.05
    browser = await one.signed_in()
    cookies = dict(browser.cookies)
    one.past_expiry()
    answers = await asyncio.gather(*(rig.browser(**cookies).get("/me") for rig in (one, other) for _ in range(20)))

    assert {user_of(answer) for answer in answers} == {"ada@example.com"}
    assert {answer.json()["refused"] for answer in answers} == {None}
    assert (one.server.refresh_calls, one.server.reuses) == (1, 0)


async def test_i4_replayed_after_the_grace() -> None:
    """I4: a cookie replayed after the grace never reaches the provider, so it can't revoke its owner's family."""
    rig = Rig()
    browser = await rig.signed_in()
    thief = await rig.copy(browser)
    for _ in range(2):
        rig.past_expiry()
        await browser.get("/me")
        rig.clock.advance(31)
        await browser.get("/me")
    answer = await thief.get("/me")

    assert (user_of(answer), rig.server.refresh_calls, rig.server.reuses) == (None, 2, 0)
    assert len(rig.heard("stale_cookie")) == 1
    assert user_of(await browser.get("/me")) == "ada@example.com"


async def test_i4_a_stale_cookie_can_end_the_session() -> None:
    """I4: with on_stale="end_session" a replayed cookie ends its owner's session here, and asks no provider."""
    rig = Rig(refresh_options=RefreshOptions(on_stale="end_session"))
    browser = await rig.signed_in()
    thief = await rig.copy(browser)
    for _ in range(2):
        rig.past_expiry()
        await browser.get("/me")
        rig.clock.advance(31)
        await browser.get("/me")
    await thief.get("/me")

    assert user_of(await browser.get("/me")) is None
    assert rig.server.reuses == 0


async def test_i5_a_refresh_is_finished_at_shutdown() -> None:
    """I5: a shutdown waits for the refresh under way, and the session goes on in the next process."""
    one, other = two_workers()
    browser = await one.signed_in()
    one.past_expiry()
    one.server.hold("after")
    request = asyncio.create_task(browser.get("/me"))
    await one.server.arrived()
    request.cancel()
    closing = asyncio.create_task(one.rotation.aclose())
    await asyncio.sleep(0.01)
    assert not closing.done()
    one.server.release()
    await closing
    answer = await other.browser(**dict(browser.cookies)).get("/me")

    assert (user_of(answer), answer.json()["refused"]) == ("ada@example.com", None)
    assert (one.server.refresh_calls, one.server.reuses) == (1, 0)


async def test_i5_a_shutdown_does_not_wait_for_ever() -> None:
    """I5: a shutdown waits for shutdown_wait seconds at most."""
    rig = Rig(refresh_options=RefreshOptions(shutdown_wait=0.05))
    browser = await rig.signed_in()
    rig.past_expiry()
    rig.server.hold("before")
    request = asyncio.create_task(browser.get("/me"))
    await rig.server.arrived()

    await asyncio.wait_for(rig.rotation.aclose(), 1)
    rig.server.release()
    await request


async def test_i6_a_sign_out_during_the_refresh() -> None:
    """I6: a refresh that ends after the sign-out brings nothing back: its tokens are dropped."""
    rig = Rig()
    browser = await rig.signed_in()
    other = await rig.copy(browser)
    rig.into_margin()
    rig.server.hold("after")
    flying = asyncio.create_task(other.get("/me"))
    await rig.server.arrived()
    await browser.get("/logout")
    rig.server.release()
    answer = await flying

    assert (user_of(answer), written(answer)) == (None, False)
    assert user_of(await other.get("/me")) is None


async def test_i6_another_process_refuses_from_its_next_look_on() -> None:
    """I6: in another process the ended session is refused from its next due refresh on."""
    one, other = two_workers()
    browser = await one.signed_in()
    elsewhere = other.browser(**dict(browser.cookies))
    await browser.get("/logout")
    one.past_expiry()

    assert user_of(await elsewhere.get("/me")) is None
    assert one.server.refresh_calls == 0


async def test_i7_nothing_secret_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """I7: no token, secret or cookie in a log line, a repr, an error or the store, not even from user code's words."""
    caplog.set_level(logging.DEBUG, logger="asgi_token_rotation")
    clock = Clock()
    store = MemoryStore(clock=clock)
    told: list[str] = []
    given: list[str] = [SECRET]

    async def refresh(token: JWT) -> TokenSet:
        given.append(token["refresh_token"])
        raise LookupError(f"user code says {token['refresh_token']}")

    async def jwt(params: JWTParams) -> JWT:
        told.append(repr(params))
        return params.token

    provider = Credentials(authorize=lambda _: None, refresh=refresh)
    rig = Rig(clock=clock, store=store, providers=[provider], callbacks=Callbacks(jwt=jwt))
    browser = await rig.signed_in()
    given += [*browser.cookies.values(), (await browser.get("/token")).json()["access_token"]]
    rig.past_expiry()
    for path in ("/me", "/access-token", "/logout"):
        await browser.get(path)
    told += [repr(event) for event in rig.events]
    told += [
        repr(item)
        for item in (rig.rotation, store, provider, TokenSet("access-1", "refresh-1"), SignIn({}, a_token_set(clock)))
    ]
    told += [record.getMessage() + str(record.exc_info) for record in caplog.records]
    text = "\n".join(told)

    assert [secret for secret in [*given, "access-1", "refresh-1", "ada@example.com"] if secret in text] == []
    assert caplog.records


async def test_i8_a_provider_that_is_down_costs_no_session() -> None:
    """I8: a provider that is down for hours signs nobody out, and is asked once for each window."""
    rig = Rig()
    browser = await rig.signed_in()
    rig.server.fail_with = 503
    rig.past_expiry()
    for _ in range(200):
        rig.clock.advance(30)
        assert user_of(await browser.get("/me")) == "ada@example.com"
    assert rig.server.refresh_calls <= 200 * 30 / (60 * 0.8) + 5

    rig.server.fail_with = None
    rig.clock.advance(73)
    assert (await browser.get("/me")).json()["refused"] is None


async def test_i9_an_ordinary_request_touches_nothing() -> None:
    """I9: a request that neither is due nor writes a cookie touches neither store nor provider."""
    clock = Clock()
    store = CountingStore(clock)
    rig = Rig(clock=clock, store=store)
    browser = await rig.signed_in()
    before = (store.reads, store.writes)
    for _ in range(20):
        rig.clock.advance(5)
        await browser.get("/me")

    assert (store.reads, store.writes) == before
    assert rig.server.refresh_calls == 0


async def test_i9_a_delivery_is_noted_once_in_the_background() -> None:
    """I9: the note that a generation was delivered is made once, and no request waits for it."""
    clock = Clock()
    store = CountingStore(clock)
    rig = Rig(clock=clock, store=store)
    browser = await rig.signed_in()
    rig.past_expiry()
    await browser.get("/me")
    before = (store.reads, store.writes)
    rig.clock.advance(31)
    for _ in range(10):
        await browser.get("/me")
    await rig.rotation.drain()

    assert (store.reads - before[0], store.writes - before[1]) == (1, 1)


async def test_three_round_trips_for_a_refresh() -> None:
    """A refresh is a get, a claim and a publication, for fifty requests as for one."""
    clock = Clock()
    store = CountingStore(clock)
    rig = Rig(clock=clock, store=store)
    browser = await rig.signed_in()
    before = (store.reads, store.writes)
    rig.past_expiry()
    await asyncio.gather(*(browser.get("/me") for _ in range(50)))

    assert (store.reads - before[0], store.writes - before[1]) == (1, 2)


HOSTILE = [
    b"", b"=", b";;;", b"\xff\xfe", f"{COOKIE}=".encode(), f"{COOKIE}=....".encode(), f"{COOKIE}={'A' * 40_000}".encode(),
    f"{COOKIE}.0=a; {COOKIE}.2=b".encode(), b"; ".join(f"{COOKIE}.{n}=x".encode() for n in range(2000)),
    f"{COOKIE}=eyJhbGciOiJub25lIn0..a.b.c".encode(), f'{COOKIE}="quoted"; {COOKIE}=x'.encode(),
]  # fmt: skip


@pytest.mark.parametrize("cookie", HOSTILE, ids=range(len(HOSTILE)))
async def test_i10_hostile_cookies(cookie: bytes) -> None:
    """I10: no cookie header gives a 500; what is not ours is nobody's session."""
    answer = await Rig().browser().get("/me", headers=[(b"cookie", cookie)])

    assert (answer.status_code, user_of(answer)) == (200, None)
    assert not answer.headers.get_list("set-cookie")


async def test_i11_a_cross_origin_socket_does_nothing() -> None:
    """I11: a WebSocket handshake from a foreign origin is anonymous: nothing is read, written or refreshed."""
    rig = Rig()
    browser = await rig.signed_in()
    rig.past_expiry()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items()).encode()
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(get_session(scope))
        await send({"type": "websocket.accept"})

    async def handshake(origin: bytes | None) -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        headers = [(b"host", b"testserver"), (b"cookie", cookie), *([(b"origin", origin)] if origin else [])]
        scope = {"type": "websocket", "scheme": "ws", "path": "/", "headers": headers}
        await TokenRotationMiddleware(app, rotation=rig.rotation)(scope, receive, send)
        return sent

    foreign = await handshake(b"https://evil.example")
    assert (dict(seen[0]), foreign, rig.server.refresh_calls) == ({}, [{"type": "websocket.accept"}], 0)
    for origin in (None, b"http://testserver"):
        sent = await handshake(origin)
        assert seen[-1]["user"]["email"] == "ada@example.com"
        assert any(name == b"set-cookie" for name, _ in sent[0]["headers"])
    assert rig.server.refresh_calls == 1


async def test_the_message_is_copied() -> None:
    """A response's message is copied with all its keys and never changed in place; the body is not touched."""
    rig = Rig()
    browser = await rig.signed_in()
    rig.past_expiry()
    start = {"type": "http.response.start", "status": 200, "headers": ((b"x", b"1"),), "trailers": True}
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send({"type": "http.response.body", "body": b"x", "more_body": False})

    async def send(message: Any) -> None:
        sent.append(message)

    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items()).encode()
    scope = {
        "type": "http",
        "scheme": "http",
        "method": "GET",
        "path": "/",
        "headers": [(b"host", b"testserver"), (b"cookie", cookie)],
    }
    await TokenRotationMiddleware(app, rotation=rig.rotation)(scope, None, send)  # type: ignore[arg-type]

    assert start["headers"] == ((b"x", b"1"),)
    assert sent[0]["trailers"] is True
    assert (b"x", b"1") in sent[0]["headers"]
    assert sent[1] == {"type": "http.response.body", "body": b"x", "more_body": False}


async def test_two_sign_ins_and_a_sign_out_in_one_request() -> None:
    """The last word of a request counts: after a sign-in and a sign-out no session is left, and none comes back."""
    rig = Rig()

    async def both(request: Request) -> Response:
        await sign_in(request, {"name": "x"}, a_token_set(rig.clock))
        await sign_out(request)
        return JSONResponse(get_session(request))

    rig.routes["both"] = both
    browser = await rig.signed_in()
    answer = await browser.get("/at/both")

    assert (answer.json(), written(answer)) == ({}, False)
    assert dict(browser.cookies) == {}


async def test_cookies_of_auth_js_are_taken_over() -> None:
    """A cookie that Auth.js made gets a session id derived from its refresh token, so parallel requests agree."""
    rig = Rig()
    signed_in = await rig.server.authorize({"username": "ada", "password": "lovelace"})
    assert signed_in is not None
    assert signed_in.tokens is not None
    cookies = session_cookie(secret=SECRET, user=signed_in.user, tokens=signed_in.tokens, clock=rig.clock)
    from asgi_token_rotation._cookies.jwe import cookie_key_ring

    ring = cookie_key_ring([SECRET], cookie_name=COOKIE, dialect="authjs", encryption="A256CBC-HS512")
    claims = ring.open(cookies[COOKIE].encode(), now=rig.clock()).claims()
    for claim in ("session_id", "generation", "signed_in_at", "issued_at"):
        del claims[claim]
    foreign = {COOKIE: ring.seal(claims, now=rig.clock(), expires=rig.clock() + 90_000)}

    plain = await rig.browser(**foreign).get("/me")
    assert (user_of(plain), written(plain)) == ("ada@example.com", False)
    rig.past_expiry()
    answers = await asyncio.gather(*(rig.browser(**foreign).get("/me") for _ in range(20)))
    assert {user_of(answer) for answer in answers} == {"ada@example.com"}
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


async def test_a_500_carries_the_cookie_when_wrapped() -> None:
    """Wrapped around the application, the middleware's cookie is on the 500 of a handler that raised."""
    rig = Rig()
    browser = await rig.signed_in()
    rig.past_expiry()
    answer = await browser.get("/raise")

    assert (answer.status_code, written(answer)) == (500, True)
    assert isinstance(browser, httpx.AsyncClient)
