"""How refresh goes wrong in the field: each line is a way in which real users were signed out or exposed."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from asgi_token_rotation import (
    JWT,
    Callbacks,
    CookieOptions,
    Credentials,
    JWTParams,
    Lifetime,
    RefreshOptions,
    RefreshRejectedError,
    Session,
    SessionParams,
    TokenSet,
    get_access_token,
)
from asgi_token_rotation.stores import MemoryStore
from asgi_token_rotation.testing import Clock, TokenServer, session_cookie
from rig import COOKIE, SECRET, Rig, cleared, token_in, until, user_of, written


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_two_tabs(rig: Rig) -> None:
    """R1: two tabs and a page that fans out spend one refresh token once, and nobody sees a revoked family."""
    browser = await rig.signed_in()
    tab = await rig.copy(browser)
    rig.past_expiry()

    answers = await asyncio.gather(*(client.get("/me") for client in (browser, tab) for _ in range(10)))

    assert {user_of(answer) for answer in answers} == {"ada@example.com"}
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


async def test_just_after_the_refresh(rig: Rig) -> None:
    """R2: a request with the old cookie that arrives just after the refresh gets the new tokens and spends nothing."""
    browser = await rig.signed_in()
    late = await rig.copy(browser)
    rig.past_expiry()
    await browser.get("/me")
    rig.clock.advance(0.04)

    answer = await late.get("/me")

    assert user_of(answer) == "ada@example.com"
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


async def test_the_loser_does_not_delete(rig: Rig) -> None:
    """R3: whoever loses the race neither answers "signed out" nor clears the winner's cookie."""
    browser = await rig.signed_in()
    loser = await rig.copy(browser)
    rig.past_expiry()
    await browser.get("/me")
    rig.server.refuse_refresh = True

    answer = await loser.get("/me")

    assert not cleared(answer)
    assert answer.json()["refused"] is None


@pytest.mark.parametrize("writes", ["rolls", "callback"])
async def test_a_slow_response_does_not_write_the_old_cookie(writes: str) -> None:
    """R4: a slow response that began before the rotation writes the new tokens, or nothing."""

    async def jwt(params: JWTParams) -> JWT:
        if writes == "callback" and params.connection.url.path == "/slow":
            params.token["seen"] = "slow"
        return params.token

    rig = Rig(callbacks=Callbacks(jwt=jwt), lifetime=Lifetime(update_age=1) if writes == "rolls" else Lifetime())
    browser = await rig.signed_in()
    rig.clock.advance(2)
    slow = asyncio.create_task((await rig.copy(browser)).get("/slow"))
    await asyncio.sleep(0.01)
    rig.past_expiry()
    await browser.get("/me")
    rig.gate.set()
    answer = await slow

    token = token_in(rig, answer)
    assert token["generation"] == 1
    assert token.get("seen") == ("slow" if writes == "callback" else None)
    rig.past_expiry()
    await browser.get("/me")
    assert (rig.server.refresh_calls, rig.server.reuses) == (2, 0)


async def test_sign_out_in_flight() -> None:
    """R5: a request in flight during the sign-out does not write the session back."""
    rig = Rig(lifetime=Lifetime(update_age=1))
    browser = await rig.signed_in()
    rig.clock.advance(2)
    slow = asyncio.create_task((await rig.copy(browser)).get("/slow"))
    await asyncio.sleep(0.01)
    await browser.get("/logout")
    rig.gate.set()

    assert not written(await slow)


async def test_a_late_request_gets_the_cookie(rig: Rig) -> None:
    """R6: a late request that is served from the grace period gets the new cookie too, and lives on with it."""
    browser = await rig.signed_in()
    late = await rig.copy(browser)
    rig.past_expiry()
    await browser.get("/me")
    assert written(await late.get("/me"))
    await browser.aclose()

    rig.past_expiry()
    answer = await late.get("/me")

    assert user_of(answer) == "ada@example.com"
    assert (rig.server.refresh_calls, rig.server.reuses) == (2, 0)


async def test_waiters_go_on_with_the_new_token(rig: Rig) -> None:
    """R8: who waited for the refresh goes on with what it brought, not with what was read before."""
    browser = await rig.signed_in()
    rig.past_expiry()

    answers = await asyncio.gather(*(browser.get("/access-token") for _ in range(20)))
    tokens = {answer.json() for answer in answers}

    assert len(tokens) == 1
    async with rig.server.client() as client:
        me = await client.get("/api/me", headers={"authorization": f"Bearer {tokens.pop()}"})
    assert me.status_code == 200


async def test_the_first_caller_is_cancelled(rig: Rig) -> None:
    """R9: the first caller's cancellation cancels the refresh for nobody."""
    browser = await rig.signed_in()
    rig.past_expiry()
    rig.server.hold("after")
    first = asyncio.create_task(browser.get("/me"))
    await rig.server.arrived()
    others = [asyncio.create_task(browser.get("/me")) for _ in range(5)]
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    rig.server.release()

    assert {user_of(await other) for other in others} == {"ada@example.com"}
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


@pytest.mark.parametrize("back_after", [0, 3600])
@pytest.mark.parametrize("stage", ["before", "after"])
async def test_the_client_disconnects(rig: Rig, back_after: float, stage: str) -> None:
    """L1: a client that goes away while the provider answers comes back, at once or an hour later, and goes on."""
    browser = await rig.signed_in()
    rig.past_expiry()
    rig.server.hold(stage)  # type: ignore[arg-type]
    request = asyncio.create_task(browser.get("/me"))
    await rig.server.arrived()
    request.cancel()
    await asyncio.sleep(0.01)
    rig.server.release()
    if back_after:
        await until(lambda: rig.server.rotations == 1)
        await asyncio.sleep(0.01)
        rig.clock.advance(back_after)

    answer = await browser.get("/me")

    assert user_of(answer) == "ada@example.com"
    assert answer.json()["refused"] is None
    assert written(answer)
    assert rig.server.reuses == 0


async def test_the_handler_raises(rig: Rig) -> None:
    """L2: a handler that raises after the rotation loses nothing, though its 500 may carry no cookie."""
    browser = await rig.signed_in()
    rig.past_expiry()
    response = await browser.get("/raise")
    assert response.status_code == 500

    rig.past_expiry()

    assert user_of(await browser.get("/me")) == "ada@example.com"
    assert (rig.server.refresh_calls, rig.server.reuses) == (2, 0)


async def test_refreshed_in_a_stream(rig: Rig) -> None:
    """L3: a refresh after the headers are sent is published, and the session's next request picks it up."""

    async def stream(request: Request) -> Response:
        async def body():  # type: ignore[no-untyped-def]
            rig.past_expiry()
            yield await get_access_token(request)

        return StreamingResponse(body())

    rig.routes["stream"] = stream
    browser = await rig.signed_in()
    answer = await browser.get("/at/stream")

    assert not written(answer)
    rig.clock.advance(1000)
    assert user_of(await browser.get("/me")) == "ada@example.com"
    assert rig.server.reuses == 0


async def test_the_refresh_token_is_saved(rig: Rig) -> None:
    """L4: the rotated refresh token is kept with the access token, rotation after rotation."""
    browser = await rig.signed_in()
    for _ in range(5):
        rig.past_expiry()
        assert user_of(await browser.get("/me")) == "ada@example.com"

    assert (rig.server.rotations, rig.server.reuses) == (5, 0)
    assert (await browser.get("/token")).json()["generation"] == 5


@pytest.mark.parametrize("omitted", ["missing", "null", "empty"])
async def test_the_answer_has_no_refresh_token(rig: Rig, omitted: str) -> None:
    """L5: an answer whose refresh token is missing, null or empty keeps the old one."""
    browser = await rig.signed_in()
    before = (await browser.get("/token")).json()["refresh_token"]
    rig.server.omit_refresh_token = omitted  # type: ignore[assignment]
    rig.past_expiry()
    await browser.get("/me")

    token = (await browser.get("/token")).json()
    assert (token["refresh_token"], token["generation"]) == (before, 1)
    rig.past_expiry()
    assert (await browser.get("/me")).json()["refused"] is None


@pytest.mark.parametrize("callback", ["jwt", "session"])
async def test_user_code_raises(callback: str) -> None:
    """L6: user code that raises after the rotation does not lose it."""
    failing = True

    async def jwt(params: JWTParams) -> JWT:
        if failing and callback == "jwt" and params.token["generation"]:
            raise LookupError
        return params.token

    async def session(params: SessionParams) -> Session:
        if failing and callback == "session" and params.token["generation"]:
            raise LookupError
        return params.session

    rig = Rig(callbacks=Callbacks(jwt=jwt, session=session))
    browser = await rig.signed_in()
    rig.past_expiry()
    with pytest.raises(LookupError):
        await httpx.AsyncClient(
            transport=httpx.ASGITransport(rig.app), base_url="http://testserver", cookies=browser.cookies
        ).get("/me")
    failing = False

    answer = await browser.get("/me")

    assert user_of(answer) == "ada@example.com"
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


class FailingStore:
    """A store that can't be written, or can't be used at all, while it is told so."""

    def __init__(self, clock: Clock) -> None:
        self.store = MemoryStore(clock=clock)
        self.failing: set[str] = set()
        self.after_writes: int | None = None

    async def get(self, key: str) -> bytes | None:
        if "get" in self.failing:
            raise ConnectionError
        return await self.store.get(key)

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        if self.after_writes == 0 or "set" in self.failing:
            raise ConnectionError
        if self.after_writes is not None:
            self.after_writes -= 1
        return await self.store.compare_and_set(key, expected, value, ttl)

    async def delete(self, key: str) -> None:
        await self.store.delete(key)

    async def aclose(self) -> None:
        await self.store.aclose()


async def test_the_rotation_could_not_be_stored() -> None:
    """L7: a rotation that the store does not take is tried again, and then the answer's cookie is its holder."""
    clock = Clock()
    store = FailingStore(clock)
    rig = Rig(clock=clock, store=store)
    browser = await rig.signed_in()
    rig.past_expiry()
    store.after_writes = 1  # the claim, not the publication

    answer = await browser.get("/me")

    assert user_of(answer) == "ada@example.com"
    assert written(answer)
    store.after_writes = None
    rig.past_expiry()
    assert user_of(await browser.get("/me")) == "ada@example.com"
    assert (rig.server.refresh_calls, rig.server.reuses) == (2, 0)


async def test_the_store_is_down() -> None:
    """L7: while the record can't be read or claimed the provider is not asked, and the session stays."""
    clock = Clock()
    store = FailingStore(clock)
    rig = Rig(clock=clock, store=store)
    browser = await rig.signed_in()
    for operation in ("get", "set"):
        store.failing = {operation}
        rig.into_margin()
        assert (await browser.get("/me")).json()["refused"] is None
        rig.clock.advance(60)
        assert (await browser.get("/me")).json()["refused"] == "RefreshUnavailable"
        assert rig.server.refresh_calls == (0 if operation == "get" else 1)
        store.failing = set()
        assert (await browser.get("/me")).json()["refused"] is None


def outage(server: TokenServer, kind: str) -> None:
    if kind == "cut":
        server.cut = "before"
    elif kind == "garbage":
        server.garbage = True
    else:
        server.fail_with = int(kind)
        server.retry_after = 40 if kind == "429" else None
        server.fail_body = b"<html>down</html>"


@pytest.mark.parametrize("kind", ["500", "502", "503", "408", "429", "404", "cut", "garbage"])
async def test_an_outage_signs_nobody_out(rig: Rig, kind: str) -> None:
    """O1: a 5xx, a 429, a cut or nonsense at the token endpoint signs nobody out, and is over when it is over."""
    browser = await rig.signed_in()
    outage(rig.server, kind)
    rig.past_expiry()
    answer = await browser.get("/me")

    assert user_of(answer) == "ada@example.com"
    assert answer.json()["refused"] == ("RefreshMisconfigured" if kind == "404" else "RefreshUnavailable")
    assert not answer.headers.get_list("set-cookie")
    rig.server.fail_with, rig.server.cut, rig.server.garbage = None, None, False
    rig.clock.advance(73)
    answer = await browser.get("/me")
    assert (user_of(answer), answer.json()["refused"]) == ("ada@example.com", None)


@pytest.mark.parametrize("kind", ["500", "429", "cut", "garbage"])
async def test_inside_the_margin_nobody_notices(rig: Rig, kind: str) -> None:
    """O2: a refresh that fails while the access token is valid fails no request and shows no error."""
    browser = await rig.signed_in()
    outage(rig.server, kind)
    rig.into_margin()

    answers = await asyncio.gather(*(browser.get("/me") for _ in range(5)))

    assert [answer.json()["refused"] for answer in answers] == [None] * 5
    assert not any(written(answer) for answer in answers)


@pytest.mark.parametrize(("kind", "window"), [("500", 4), ("429", 39), ("404", 4), ("garbage", 4)])
async def test_one_attempt_for_each_window(rig: Rig, kind: str, window: float) -> None:
    """O3: an outage is asked about once for each session and back-off window, however many requests there are."""
    browser = await rig.signed_in()
    outage(rig.server, kind)
    rig.past_expiry()
    await asyncio.gather(*(browser.get("/me") for _ in range(20)))
    rig.clock.advance(window - 0.1)
    await asyncio.gather(*(browser.get("/me") for _ in range(20)))
    assert rig.server.refresh_calls == 1

    rig.clock.advance(window)
    await asyncio.gather(*(browser.get("/me") for _ in range(20)))
    assert rig.server.refresh_calls == 2


async def test_a_dead_refresh_token_is_not_asked_again(rig: Rig) -> None:
    """O3: a dead refresh token is sent once, and never again on later requests, whichever cookie they carry."""
    browser = await rig.signed_in()
    old = await rig.copy(browser)
    rig.server.refuse_refresh = True
    rig.past_expiry()
    assert (await browser.get("/me")).json()["refused"] == "RefreshAccessTokenError"
    for _ in range(5):
        rig.clock.advance(100)
        assert (await browser.get("/me")).json()["refused"] == "RefreshAccessTokenError"
        assert (await old.get("/me")).json()["refused"] == "RefreshAccessTokenError"

    assert rig.server.refresh_calls == 1


async def test_the_flag_is_cleared_by_a_success(rig: Rig) -> None:
    """O4: the error flag is gone at the next sign-in, and a success that another worker published clears it too."""
    browser = await rig.signed_in()
    rig.server.refuse_refresh = True
    rig.past_expiry()
    await browser.get("/me")
    rig.server.refuse_refresh = False
    await browser.get("/login")

    answer = await browser.get("/me")

    assert (answer.json()["refused"], "error" in answer.json()) == (None, False)


async def test_the_operators_fault_signs_nobody_out() -> None:
    """O5: invalid_client is the operator's fault: loud in the log, and every session stays."""

    async def refresh(token: JWT) -> TokenSet:
        response = httpx.Response(
            401, json={"error": "invalid_client"}, request=httpx.Request("POST", "http://x/token")
        )
        response.raise_for_status()
        raise AssertionError

    rig = Rig(providers=[Credentials(authorize=lambda _: None, refresh=refresh)])
    browser = await rig.signed_in()
    rig.past_expiry()
    answer = await browser.get("/me")

    assert (user_of(answer), answer.json()["refused"]) == ("ada@example.com", "RefreshMisconfigured")
    assert not answer.headers.get_list("set-cookie")


@pytest.mark.parametrize("size", [100, 2000, 2900, 3000, 6000, 9000])
async def test_every_line_fits(size: int) -> None:
    """C1: every Set-Cookie line has at most 4096 bytes, attributes counted, and the session comes back whole."""

    async def jwt(params: JWTParams) -> JWT:
        return params.token | {"large": "x" * size}

    rig = Rig(callbacks=Callbacks(jwt=jwt), cookie=CookieOptions(domain="testserver.local"))
    browser = httpx.AsyncClient(transport=httpx.ASGITransport(rig.app), base_url="http://app.testserver.local")
    lines = (await browser.get("/login")).headers.get_list("set-cookie")

    assert max(len(line) for line in lines) <= 4096
    assert len((await browser.get("/token")).json()["large"]) == size


async def test_stale_chunks_go() -> None:
    """C2: when a session shrinks its stale chunks are cleared, and what is left opens."""
    size = 9000

    async def jwt(params: JWTParams) -> JWT:
        return params.token | {"large": "x" * size}

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    browser = await rig.signed_in()
    assert set(browser.cookies) == {f"{COOKIE}.0", f"{COOKIE}.1", f"{COOKIE}.2", f"{COOKIE}.3"}
    size = 10
    await browser.get("/me")

    assert set(browser.cookies) == {COOKIE}
    assert user_of(await browser.get("/me")) == "ada@example.com"


async def test_chunks_beside_a_plain_cookie() -> None:
    """C2: whichever parallel answers left beside each other, an older cookie in chunks never hides a newer plain one."""
    size = 9000

    async def jwt(params: JWTParams) -> JWT:
        return params.token | {"large": "x" * size}

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    ended = await rig.signed_in()
    in_chunks = dict(ended.cookies)
    await ended.get("/logout")
    size = 10
    rig.clock.advance(60)
    jar = await rig.signed_in()
    for name, value in in_chunks.items():
        jar.cookies.set(name, value, domain="testserver.local")

    assert len(in_chunks) > 1
    answer = await jar.get("/me")
    assert (user_of(answer), cleared(answer)) == ("ada@example.com", False)


async def test_chunks_in_numeric_order(rig: Rig) -> None:
    """C3: chunks are joined by number, whatever order the browser sends them in; ten comes after two."""
    cookies = session_cookie(secret=SECRET, user={"name": "x" * 9000, "email": "ada@example.com"}, clock=rig.clock)
    browser = rig.browser()
    header = "; ".join(f"{name}={value}" for name, value in reversed(cookies.items()))

    assert user_of(await browser.get("/me", headers={"cookie": header})) == "ada@example.com"


async def test_foreign_cookies_are_harmless(rig: Rig) -> None:
    """C4: other cookies with our prefix are neither glued on nor crash the reader."""
    browser = await rig.signed_in()
    foreign = {f"{COOKIE}-legacy": "x", f"{COOKIE}.x": "y", f"{COOKIE}.01": "z", f"x{COOKIE}": "w", f"{COOKIE}.7": "v"}
    for name, value in foreign.items():
        browser.cookies.set(name, value)

    assert user_of(await browser.get("/me")) == "ada@example.com"


@pytest.mark.parametrize("header", ["public, max-age=600", "s-maxage=60", "PUBLIC", "max-age=60"])
async def test_caches_keep_nothing_of_a_user(rig: Rig, header: str) -> None:
    """C5: a response that sets the cookie is never stored, one to somebody signed in is never shared."""

    async def page(request: Request) -> Response:
        return JSONResponse({}, headers={"cache-control": header})

    rig.routes["page"] = page
    browser = await rig.signed_in()
    plain = await browser.get("/at/page")
    rig.past_expiry()
    rotated = await browser.get("/at/page")

    assert "public" not in plain.headers["cache-control"].lower()
    assert "s-maxage" not in plain.headers["cache-control"].lower()
    assert plain.headers["vary"].lower() == "cookie"
    assert written(rotated)
    assert rotated.headers.get_list("cache-control") == ["private, no-store"]


async def test_the_absolute_lifetime_is_absolute() -> None:
    """C6: neither refreshes nor visits extend the absolute lifetime."""
    rig = Rig(lifetime=Lifetime(max_age=1000, absolute_max_age=1500))
    browser = await rig.signed_in()
    for _ in range(4):
        rig.clock.advance(360)
        assert user_of(await browser.get("/me")) == "ada@example.com"

    rig.clock.advance(100)
    assert user_of(await browser.get("/me")) is None


async def test_the_secret_is_rotated() -> None:
    """C7: with the old secret behind the new one nobody is signed out, and a node without it deletes no cookie."""
    clock = Clock()
    old = Rig(clock=clock)
    browser = await old.signed_in()
    new = Rig(clock=clock, server=old.server, secret=["another secret that is long enough for all", SECRET])
    moved = new.browser(**dict(browser.cookies))

    answer = await moved.get("/me")
    assert (user_of(answer), written(answer)) == ("ada@example.com", True)
    back = await old.browser(**dict(moved.cookies)).get("/me")
    assert (user_of(back), back.headers.get_list("set-cookie")) == (None, [])
    assert user_of(await moved.get("/me")) == "ada@example.com"


async def test_polling_keeps_no_idle_session_alive() -> None:
    """S3: a tab that only polls GET session does not keep an idle session alive for ever."""
    rig = Rig(lifetime=Lifetime(max_age=3600))
    browser = await rig.signed_in()
    for _ in range(70):
        rig.clock.advance(60)
        last = await browser.get("/api/auth/session")

    assert last.json() is None
    assert rig.server.reuses == 0


async def test_a_refused_session_can_end(rig: Rig) -> None:
    """O4: with on_refused="end" a dead refresh token ends the session, without a flag that loops a sign-out for ever."""

    async def refresh(token: JWT) -> TokenSet:
        raise RefreshRejectedError

    rig = Rig(
        providers=[Credentials(authorize=lambda _: None, refresh=refresh)],
        refresh_options=RefreshOptions(on_refused="end"),
    )
    browser = await rig.signed_in()
    rig.past_expiry()
    answer = await browser.get("/me")

    assert (user_of(answer), cleared(answer)) == (None, False)
    assert [event.reason for event in rig.heard("session_ended")] == ["refused"]
    rig.clock.advance(31)
    assert cleared(await browser.get("/me"))
