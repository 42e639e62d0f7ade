"""Callbacks, helpers and what they may not do."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from asgi_token_rotation import (
    JWT,
    AccessTokenAuth,
    Callbacks,
    CookieTooLargeError,
    Credentials,
    Events,
    JWTParams,
    Lifetime,
    NotSignedInError,
    RefreshOptions,
    ResponseStartedError,
    Session,
    SessionParams,
    StoreError,
    TokenSet,
    get_access_token,
    get_session,
    get_token,
    sign_in,
    sign_out,
    update_session,
)
from asgi_token_rotation.errors import MiddlewareMissingError, TokenExposedError
from asgi_token_rotation.stores import MemoryStore
from rig import Rig, a_token_set, user_of, written


async def caught(rig: Rig, handler: Any, *, path: str = "/at/handler") -> BaseException | None:
    """What a handler raised, run for somebody who is signed in."""
    error: BaseException | None = None

    async def endpoint(request: Request) -> Response:
        nonlocal error
        try:
            await handler(request)
        except Exception as raised:
            error = raised
        return Response()

    rig.routes["handler"] = endpoint
    await (await rig.signed_in()).get(path)
    return error


async def test_the_article() -> None:
    """The jwt callback sees the user at sign-in only, and the session callback decides what the browser sees."""
    seen: list[tuple[Any, Any]] = []

    async def jwt(params: JWTParams) -> JWT:
        seen.append((params.trigger, params.user and params.user["id"]))
        if params.user is not None:
            params.token["role"] = "admin"
        return params.token

    def session(params: SessionParams) -> Session:
        params.session["role"] = params.token.get("role")
        params.session["accessToken"] = params.token["access_token"]
        return params.session

    rig = Rig(callbacks=Callbacks(jwt=jwt, session=session))
    browser = await rig.signed_in()
    answer = await browser.get("/me")

    assert answer.json()["role"] == "admin"
    assert answer.json()["accessToken"]
    assert [trigger for trigger, _ in seen] == ["signIn", None]
    assert seen[0][1] is not None


async def test_the_default_session() -> None:
    """By default the session has user and expires as NextAuth has them, and when a client should come back."""
    rig = Rig()
    browser = await rig.signed_in()
    session = (await browser.get("/me")).json()

    assert session["user"] == {"name": "Ada", "email": "ada@example.com"}
    assert session["expires"] == "2027-02-14T08:00:00.000Z"
    assert session["accessTokenExpires"] == "2027-01-15T08:05:00.000Z"
    assert session["refreshAt"] == "2027-01-15T08:04:00.000Z"
    assert "error" not in session


async def test_none_ends_the_session() -> None:
    """None from the jwt callback ends the session: anonymous at once, cleared, and gone for every copy."""
    ends = False

    async def jwt(params: JWTParams) -> JWT | None:
        return None if ends else params.token

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    browser = await rig.signed_in()
    copy = await rig.copy(browser)
    ends = True
    answer = await browser.get("/me")
    ends = False

    assert user_of(answer) is None
    assert dict(browser.cookies) == {}
    assert user_of(await copy.get("/me")) is None
    assert [event.reason for event in rig.heard("session_ended")] == ["jwt_callback"]


async def test_none_at_sign_in_begins_no_session() -> None:
    """None from the jwt callback at sign-in begins no session, and an old one is over."""

    async def jwt(params: JWTParams) -> JWT | None:
        return None if params.trigger == "signIn" else params.token

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    answer = await rig.browser().get("/login")

    assert (answer.json(), written(answer)) == ({}, False)


async def test_what_is_ours_survives_the_callback() -> None:
    """The callback can neither forge nor lose what is ours, and token-set claims that it left out are restored."""

    async def jwt(params: JWTParams) -> JWT:
        return {"only": "this", "generation": 99, "session_id": "forged", "error": "made up"}

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    browser = rig.browser()
    await browser.get("/login")
    token = (await browser.get("/token")).json()

    assert (token["only"], token["generation"], "error" in token) == ("this", 0, False)
    assert token["session_id"] != "forged"
    assert token["refresh_token"]
    rig.past_expiry()
    assert (await browser.get("/token")).json()["generation"] == 1


async def test_a_rotation_of_the_callbacks_own(caplog: pytest.LogCaptureFixture) -> None:
    """A token set that the jwt callback changed counts as a rotation: published, with one warning."""
    calls = 0

    async def jwt(params: JWTParams) -> JWT:
        nonlocal calls
        if params.trigger is None and params.token["generation"] == 0:
            calls += 1
            return params.token | {
                "access_token": "own",
                "refresh_token": "own-refresh",
                "expires_at": params.token["expires_at"] + 900,
            }
        return params.token

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    browser = await rig.signed_in()
    late = await rig.copy(browser)
    answer = await browser.get("/token")
    again = await late.get("/token")

    assert (answer.json()["generation"], answer.json()["access_token"]) == (1, "own")
    assert (again.json()["generation"], again.json()["access_token"], calls) == (1, "own", 1)
    assert [record.levelname for record in caplog.records if "jwt callback changed" in record.getMessage()] == [
        "WARNING"
    ]


@pytest.mark.parametrize("depth", ["flat", "nested", "whole token"])
async def test_the_refresh_token_is_not_shown(depth: str) -> None:
    """A session callback that puts the refresh token into the session is refused with an error."""

    async def session(params: SessionParams) -> Session:
        shown = {
            "flat": params.token["refresh_token"],
            "nested": [{"x": params.token["refresh_token"]}],
            "whole token": params.token,
        }
        return Session(params.session, oops=shown[depth])

    rig = Rig(callbacks=Callbacks(session=session))
    with pytest.raises(TokenExposedError, match="Leave it out"):
        await httpx.AsyncClient(transport=httpx.ASGITransport(rig.app), base_url="http://testserver").get("/login")


@pytest.mark.parametrize(
    ("callback", "answer"),
    [("jwt", "text"), ("session", None), ("jwt", {"when": object()}), ("jwt", {"x": float("nan")})],
)
async def test_wrong_answers_of_callbacks(callback: str, answer: Any) -> None:
    """A callback that answers no token, no session or no JSON is told so in a TypeError."""
    rig = Rig(callbacks=Callbacks(**{callback: lambda params: answer}))
    with pytest.raises(TypeError, match=f"The {callback} callback"):
        await httpx.AsyncClient(transport=httpx.ASGITransport(rig.app), base_url="http://testserver").get("/login")


async def test_callbacks_are_not_called_for_nobody() -> None:
    """Callbacks are not called for anonymous requests."""
    called: list[Any] = []
    rig = Rig(callbacks=Callbacks(jwt=called.append, session=called.append))  # type: ignore[arg-type]
    answer = await rig.browser().get("/me")

    assert (answer.json(), called) == ({"refused": None}, [])
    assert "vary" not in answer.headers


async def test_two_updates_keep_both() -> None:
    """Two updates that began from one cookie keep both changes, and so do an update and a rotation."""

    async def jwt(params: JWTParams) -> JWT:
        return params.token | (params.session if params.trigger == "update" else {})

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    browser = await rig.signed_in()
    tab = await rig.copy(browser)
    await browser.get("/update?first=1")
    await tab.get("/update?second=2")
    token = (await tab.get("/token")).json()
    assert (token["first"], token["second"], token["generation"]) == ("1", "2", 2)

    rig.into_margin()
    rig.server.hold("after")
    flying = asyncio.create_task(tab.get("/token"))
    await rig.server.arrived()
    await (await rig.copy(tab)).get("/update?third=3")
    rig.server.release()
    token = (await flying).json()
    assert (token["first"], token["third"], token["generation"]) == ("1", "3", 4)
    assert rig.server.reuses == 0


async def test_an_update_without_a_callback_changes_nothing() -> None:
    """Without a jwt callback the data of an update is ignored."""
    rig = Rig()
    browser = await rig.signed_in()

    assert not written(await browser.get("/update?role=admin"))
    assert "role" not in (await browser.get("/token")).json()


async def test_an_update_can_end_the_session() -> None:
    """None from the jwt callback at an update ends the session."""
    rig = Rig(callbacks=Callbacks(jwt=lambda params: None if params.trigger == "update" else params.token))
    browser = await rig.signed_in()
    answer = await browser.get("/update")

    assert (answer.json(), dict(browser.cookies)) == ({}, {})


async def test_an_update_of_an_ended_session() -> None:
    """An update of a session that ended meanwhile raises NotSignedInError, and so does one of nobody."""
    rig = Rig(
        callbacks=Callbacks(jwt=lambda params: params.token | {"n": 1} if params.trigger == "update" else params.token)
    )

    async def handler(request: Request) -> None:
        browser = rig.browser(**dict(request.cookies))
        await browser.get("/logout")
        await update_session(request, {})

    assert isinstance(await caught(rig, handler), NotSignedInError)
    rig.routes["update"] = lambda request: update_session(request, {})  # type: ignore[assignment]
    with pytest.raises(NotSignedInError):
        await httpx.AsyncClient(transport=httpx.ASGITransport(rig.app), base_url="http://testserver").get("/at/update")


@pytest.mark.parametrize("helper", ["sign_in", "sign_out", "update_session"])
async def test_after_the_response_has_started(helper: str) -> None:
    """After the headers are sent sign_in, sign_out and update_session raise ResponseStartedError."""
    rig = Rig()
    raised: list[BaseException] = []

    async def stream(request: Request) -> Response:
        async def body() -> Any:
            try:
                if helper == "sign_in":
                    await sign_in(request, {"name": "x"})
                elif helper == "sign_out":
                    await sign_out(request)
                else:
                    await update_session(request, {})
            except RuntimeError as error:
                raised.append(error)
            yield b"x"

        return StreamingResponse(body())

    rig.routes["stream"] = stream
    await (await rig.signed_in()).get("/at/stream")

    assert isinstance(raised[0], ResponseStartedError)
    assert helper in str(raised[0])


def test_without_the_middleware() -> None:
    """The helpers raise a RuntimeError with a sentence where the middleware is missing, whatever the connection is."""
    for connection in ({"type": "http"}, Request({"type": "http", "headers": []})):
        with pytest.raises(RuntimeError, match="TokenRotationMiddleware is missing"):
            get_session(connection)
    assert issubclass(MiddlewareMissingError, RuntimeError)


async def test_skipped_requests() -> None:
    """A skipped request has no cookie work at all, and the helpers say so."""
    rig = Rig(skip=lambda scope: scope["path"].startswith("/at"))
    assert isinstance(await caught(rig, get_token), MiddlewareMissingError)


async def test_a_rejected_access_token() -> None:
    """An access token that an API answered 401 to is refreshed only if it is still the current one."""
    rig = Rig()
    browser = await rig.signed_in()
    first = (await browser.get("/access-token")).json()
    answers = await asyncio.gather(*(browser.get("/access-token", params={"rejected": first}) for _ in range(10)))

    assert {answer.json() for answer in answers}.isdisjoint({first})
    assert rig.server.refresh_calls == 1
    later = await browser.get("/access-token", params={"rejected": first})
    assert (later.json() != first, rig.server.refresh_calls) == (True, 1)


async def test_no_access_token_can_be_had() -> None:
    """get_access_token says with a code why no valid token can be had: an outage, a refusal, or none was ever there."""
    rig = Rig()
    browser = await rig.signed_in()
    rig.server.fail_with = 503
    rig.past_expiry()
    assert (await browser.get("/access-token")).json() == {"code": "RefreshUnavailable"}
    rig.server.fail_with, rig.server.refuse_refresh = None, True
    rig.clock.advance(73)
    assert (await browser.get("/access-token")).json() == {"code": "RefreshAccessTokenError"}

    async def plain(request: Request) -> Response:
        return JSONResponse(await sign_in(request, {"name": "without tokens"}))

    rig.routes["plain"] = plain
    other = rig.browser()
    await other.get("/at/plain")
    rig.clock.advance(100_000)
    assert user_of(await other.get("/me")) is None
    assert (await other.get("/me")).json()["user"] == {"name": "without tokens"}
    assert (await other.get("/access-token")).status_code == 503


async def test_min_valid_for() -> None:
    """An access token that is good for longer is refreshed early, but not at every request."""
    rig = Rig()

    async def handler(request: Request) -> Response:
        return JSONResponse(await get_access_token(request, min_valid_for=1_000))

    rig.routes["long"] = handler
    browser = await rig.signed_in()
    await browser.get("/at/long")
    assert rig.server.refresh_calls == 1
    for _ in range(5):
        await browser.get("/at/long")
    assert rig.server.refresh_calls == 1


async def test_a_life_shorter_than_the_margin() -> None:
    """A token that lives shorter than the margin is refreshed at half of its life, never at every request."""
    rig = Rig(refresh_options=RefreshOptions(margin=600))
    rig.server.access_token_lifetime = 20
    browser = await rig.signed_in()
    for second in range(40):
        await browser.get("/me")
        rig.clock.advance(1)
        assert rig.server.refresh_calls <= 1 + second // 10


async def test_nonsense_expiries() -> None:
    """A rotation whose token has expired on arrival is not asked about again at the next request."""
    rig = Rig()
    browser = await rig.signed_in()
    rig.past_expiry()
    rig.server.access_token_lifetime = 0
    for _ in range(20):
        rig.clock.advance(0.1)
        await browser.get("/me")

    assert rig.server.refresh_calls == 1


async def test_without_refresh() -> None:
    """A session that nobody can refresh is never due, and once its access token has expired it counts as refused."""
    rig = Rig(providers=[Credentials(authorize=lambda _: None)])
    browser = await rig.signed_in()
    rig.into_margin()
    assert (await browser.get("/me")).json()["refused"] is None
    rig.past_expiry()
    assert (await browser.get("/me")).json()["refused"] == "RefreshAccessTokenError"


async def test_the_refresh_option() -> None:
    """The refresh option serves sessions that your own code started, without a provider."""
    calls: list[JWT] = []

    def refresh(token: JWT) -> TokenSet:
        calls.append(token)
        return a_token_set(rig.clock, access_token="access-2", refresh_token="refresh-2")

    rig = Rig(providers=[], refresh=refresh)

    async def own(request: Request) -> Response:
        return JSONResponse(await sign_in(request, {"name": "own"}, a_token_set(rig.clock)))

    rig.routes["own"] = own
    browser = rig.browser()
    await browser.get("/at/own")
    rig.past_expiry()

    assert (await browser.get("/access-token")).json() == "access-2"
    assert [token["refresh_token"] for token in calls] == ["refresh-1"]


async def test_the_refresh_token_has_ended() -> None:
    """Past refresh_expires_at the provider is not asked: the session counts as refused."""
    rig = Rig()

    async def own(request: Request) -> Response:
        tokens = a_token_set(rig.clock, refresh_expires_at=rig.clock() + 400)
        return JSONResponse(await sign_in(request, {"name": "own"}, tokens, provider="credentials"))

    rig.routes["own"] = own
    browser = rig.browser()
    await browser.get("/at/own")
    rig.clock.advance(401)

    assert (await browser.get("/me")).json()["refused"] == "RefreshAccessTokenError"
    assert rig.server.refresh_calls == 0


async def test_access_token_auth() -> None:
    """AccessTokenAuth sends the token, and answers a 401 with one retry and a new token, body and all."""
    rig = Rig()

    async def call(request: Request) -> Response:
        async with rig.server.client() as api:
            answer = await api.get("/api/me", auth=AccessTokenAuth(request))
        return JSONResponse(answer.json(), status_code=answer.status_code)

    rig.routes["call"] = call
    browser = await rig.signed_in()
    assert (await browser.get("/at/call")).status_code == 200

    seen: list[tuple[str, bytes]] = []

    def strict(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers["authorization"], request.content))
        return httpx.Response(401 if len(seen) == 1 else 200)

    async def retried(request: Request) -> Response:
        async with httpx.AsyncClient(transport=httpx.MockTransport(strict)) as api:
            answer = await api.post("https://api.example/x", content=b"body", auth=AccessTokenAuth(request))
        return Response(status_code=answer.status_code)

    rig.routes["retried"] = retried
    answer = await browser.get("/at/retried")
    assert (answer.status_code, written(answer), rig.server.refresh_calls) == (200, True, 1)
    assert [body for _, body in seen] == [b"body"] * 2
    assert seen[0][0] != seen[1][0]


async def test_access_token_auth_gives_up() -> None:
    """Where no new token can be had, AccessTokenAuth hands back the API's own 401; a sync client is refused."""
    rig = Rig()
    rig.server.fail_with = 503

    async def call(request: Request) -> Response:
        transport = httpx.MockTransport(lambda _: httpx.Response(401))
        async with httpx.AsyncClient(transport=transport) as api:
            answer = await api.get("https://api.example/x", auth=AccessTokenAuth(request))
        with pytest.raises(RuntimeError, match="AsyncClient"):
            httpx.Client(transport=transport).get("https://api.example/x", auth=AccessTokenAuth(request))
        return Response(status_code=answer.status_code)

    rig.routes["call"] = call
    assert (await (await rig.signed_in()).get("/at/call")).status_code == 401
    assert rig.server.refresh_calls == 1


async def test_too_large() -> None:
    """A token that fits into no cookie fails at sign-in, with an error that says which claim is how large."""
    rig = Rig()

    async def large(request: Request) -> None:
        await sign_in(request, {"name": "x" * 20_000})

    error = await caught(rig, large)
    assert isinstance(error, CookieTooLargeError)
    assert "name" in str(error)
    assert "xxx" not in str(error)


async def test_a_rotation_that_does_not_fit(caplog: pytest.LogCaptureFixture) -> None:
    """A rotated token that fits into no cookie fails no request: it is logged, and served from the record."""
    tokens = {"refresh-1": "y" * 20_000}

    def refresh(token: JWT) -> TokenSet:
        return a_token_set(rig.clock, access_token="access-2", refresh_token=tokens[token["refresh_token"]])

    rig = Rig(providers=[], refresh=refresh)

    async def own(request: Request) -> Response:
        return JSONResponse(await sign_in(request, {"name": "own"}, a_token_set(rig.clock)))

    rig.routes["own"] = own
    browser = rig.browser()
    await browser.get("/at/own")
    rig.past_expiry()
    for _ in range(2):
        answer = await browser.get("/access-token")
        assert (answer.json(), written(answer)) == ("access-2", False)
    assert any("not written" in record.getMessage() for record in caplog.records)


async def test_events_are_told_and_never_break() -> None:
    """Events are told to sync and async handlers; their exceptions are logged, never raised."""
    told: list[str] = []

    async def slow(event: Any) -> None:
        told.append(event.name)
        raise LookupError

    def quick(event: Any) -> None:
        told.append(event.name)
        raise LookupError

    rig = Rig(events=Events(sign_in=slow, refreshed=quick, sign_out=slow, refresh_failed=quick))
    browser = await rig.signed_in()
    rig.past_expiry()
    assert user_of(await browser.get("/me")) == "ada@example.com"
    rig.server.fail_with = 500
    rig.past_expiry()
    assert user_of(await browser.get("/me")) == "ada@example.com"
    await browser.get("/logout")
    await rig.rotation.aclose()

    assert told == ["sign_in", "refreshed", "refresh_failed", "sign_out"]


async def test_another_process_with_a_memory_store(caplog: pytest.LogCaptureFixture) -> None:
    """A cookie that another process rotated, while each has its own memory, is worth one warning that says what to do."""
    one = Rig()
    two = Rig(clock=one.clock, server=one.server)
    browser = await one.signed_in()
    one.past_expiry()
    await browser.get("/me")
    other = two.browser(**dict(browser.cookies))
    await other.get("/me")
    await other.get("/me")

    warnings = [record.getMessage() for record in caplog.records if "another process" in record.getMessage()]
    assert len(warnings) == 1
    assert "sqlite:///" in warnings[0]
    assert "redis://" in warnings[0]


async def test_workers_with_a_memory_store(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """WEB_CONCURRENCY above 1 with the memory store is worth a warning at start-up."""
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    Rig()
    assert any("WEB_CONCURRENCY is 4" in record.getMessage() for record in caplog.records)
    caplog.clear()
    Rig(store=MemoryStoreElsewhere())
    assert not caplog.records


class MemoryStoreElsewhere:
    """A third party's store."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self.closed = False
        self.failing = False

    async def get(self, key: str) -> bytes | None:
        return await self._store.get(key)

    async def compare_and_set(self, key: str, expected: bytes | None, value: bytes, ttl: float) -> bool:
        if self.failing:
            raise OSError("disk full")
        return await self._store.compare_and_set(key, expected, value, ttl)

    async def delete(self, key: str) -> None:
        await self._store.delete(key)

    async def aclose(self) -> None:
        self.closed = True


async def test_an_update_that_can_not_be_stored() -> None:
    """An update that the store does not take raises StoreError and changes nothing; a sign-out clears the cookie."""
    store = MemoryStoreElsewhere()
    rig = Rig(store=store, callbacks=Callbacks(jwt=lambda params: params.token | (params.session or {})))

    async def handler(request: Request) -> None:
        store.failing = True
        await update_session(request, {"role": "admin"})

    assert isinstance(await caught(rig, handler), StoreError)
    store.failing = False
    browser = await rig.signed_in()
    store.failing = True
    await browser.get("/logout")
    assert dict(browser.cookies) == {}
    await rig.rotation.aclose()
    assert not store.closed


async def test_lifetimes() -> None:
    """A session ends max_age after the last visit that sealed its cookie, and each visit may extend it."""
    rig = Rig(lifetime=Lifetime(max_age=1000))
    browser = await rig.signed_in()
    for _ in range(5):
        rig.clock.advance(900)
        assert user_of(await browser.get("/me")) == "ada@example.com"
    rig.clock.advance(1016)
    assert user_of(await browser.get("/me")) is None


async def test_logs_name_no_person(caplog: pytest.LogCaptureFixture) -> None:
    """I7: log lines name a session by 8 hex digits, never an e-mail or a sub."""
    caplog.set_level(logging.INFO, logger="asgi_token_rotation")
    rig = Rig()
    browser = await rig.signed_in()
    rig.past_expiry()
    await browser.get("/me")
    lines = [record.getMessage() for record in caplog.records if record.name == "asgi_token_rotation"]

    assert any("refreshed, generation 1" in line for line in lines)
    # Not "ada" alone: that may stand among the 8 hex digits.
    assert not any(word in line for line in lines for word in ("Ada", "ada@", "example.com"))


async def test_what_a_stream_refreshed_is_not_delivered() -> None:
    """L3: a token that a request got after its headers does not count as delivered when it is refreshed once more."""
    rig = Rig()

    async def stream(request: Request) -> Response:
        async def body() -> Any:
            for _ in range(2):
                rig.past_expiry()
                yield await get_access_token(request)

        return StreamingResponse(body())

    rig.routes["stream"] = stream
    browser = await rig.signed_in()
    await browser.get("/at/stream")
    assert (rig.server.refresh_calls, rig.server.reuses) == (2, 0)
    rig.clock.advance(40)

    answer = await browser.get("/me")
    assert (user_of(answer), answer.json()["refused"]) == ("ada@example.com", None)


async def test_a_rotation_of_the_callbacks_own_mends_a_refused_session() -> None:
    """A jwt callback that brings a new token set of its own clears the refusal in the very same response."""

    async def jwt(params: JWTParams) -> JWT:
        if params.token.get("error"):
            fresh = {"access_token": "own", "refresh_token": "own-refresh", "expires_at": rig.clock() + 900}
            return params.token | fresh
        return params.token

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    browser = await rig.signed_in()
    rig.server.refuse_refresh = True
    rig.past_expiry()
    answer = await browser.get("/me")

    assert (user_of(answer), answer.json()["refused"]) == ("ada@example.com", None)
    assert (await browser.get("/access-token")).json() == "own"


@pytest.mark.parametrize("published", [True, False])
async def test_an_own_rotation_while_the_store_is_down(published: bool) -> None:
    """A token set from the jwt callback that could not be published goes into the response's cookie all the same."""
    store = MemoryStoreElsewhere()

    async def jwt(params: JWTParams) -> JWT:
        if params.trigger is None and params.token["access_token"] != "own":
            store.failing = not published
            return params.token | {"access_token": "own"}
        return params.token

    rig = Rig(store=store, callbacks=Callbacks(jwt=jwt))
    browser = await rig.signed_in()
    answer = await browser.get("/token")

    assert (answer.json()["access_token"], written(answer)) == ("own", True)
    assert (await browser.get("/token")).json()["access_token"] == "own"
    assert (rig.rotation.counts["store_failures"] > 0) is not published
    store.failing = False
    await rig.rotation.drain()
