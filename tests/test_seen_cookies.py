"""Requests whose cookie this process has seen before."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from asgi_token_rotation import (
    JWT,
    Callbacks,
    CookieOptions,
    Event,
    Events,
    JWTParams,
    Session,
    SessionParams,
    get_token,
)
from asgi_token_rotation._cookies.jwe import cookie_key_ring
from rig import COOKIE, SECRET, Rig, cleared, user_of, written

EVERY_WAY = pytest.mark.parametrize("cache", [60.0, 0.0])


def cookie_with(rig: Rig, **claims: Any) -> dict[str, str]:
    """The cookie of a session that was not made by this process."""
    now = rig.clock()
    token = {"sub": "1", "name": "Ada", "session_id": "s" * 43, "generation": 0, "signed_in_at": now, **claims}
    ring = cookie_key_ring([SECRET], cookie_name=COOKIE, dialect="authjs")
    return {COOKIE: ring.seal(token, now=now, expires=now + 30 * 86_400)}


@EVERY_WAY
async def test_each_request_has_claims_of_its_own(cache: float) -> None:
    """What one request's callbacks and handlers do to token and session, nested values too, no other request sees."""
    heard: list[JWT] = []

    def jwt(params: JWTParams) -> JWT:
        heard.append({**params.token, "groups": list(params.token["groups"])})
        answer = {**params.token}
        params.token["groups"].append("by jwt")
        params.token["deep"]["list"][0]["x"] = "by jwt"
        params.token["sub"] = "by jwt"
        return {**answer, "groups": ["a"], "deep": {"list": [{"x": 1}]}}

    def session(params: SessionParams) -> Session:
        assert params.token["deep"] == {"list": [{"x": 1}]}
        assert params.session["user"] == {"name": "Ada"}
        params.token["deep"]["list"].clear()
        params.session["user"]["name"] = "by session"
        return params.session

    async def handler(request: Request) -> Response:
        token = get_token(request)
        assert token is not None
        shown = {"token": token, "session": dict(request.state.session)}
        answer = JSONResponse(shown)
        token["deep"]["list"].append("by the handler")
        request.state.session["user"]["email"] = "by the handler"
        return answer

    rig = Rig(callbacks=Callbacks(jwt=jwt, session=session), cookie=CookieOptions(cache=cache))
    rig.routes["x"] = handler
    browser = rig.browser(**cookie_with(rig, groups=["a"], deep={"list": [{"x": 1}]}))
    answers = [(await browser.get("/at/x")) for _ in range(3)]

    assert [answer.json()["token"]["deep"] for answer in answers] == [{"list": [{"x": 1}]}] * 3
    assert [answer.json()["session"]["user"] for answer in answers] == [{"name": "by session"}] * 3
    assert [token["groups"] for token in heard] == [["a"]] * 3
    assert [token["sub"] for token in heard] == ["1"] * 3
    assert not any(written(answer) for answer in answers)


@EVERY_WAY
async def test_a_user_that_is_nested(cache: float) -> None:
    """The user's values are a request's own as well where they are lists or objects."""

    def session(params: SessionParams) -> Session:
        params.session["user"]["name"].append("seen")
        return params.session

    rig = Rig(callbacks=Callbacks(session=session), cookie=CookieOptions(cache=cache))
    browser = rig.browser(**cookie_with(rig, name=["Ada"]))

    assert [(await browser.get("/me")).json()["user"]["name"] for _ in range(3)] == [["Ada", "seen"]] * 3


async def test_event_handlers_get_copies() -> None:
    """What an event handler does to the token that it is told of, no request sees."""

    def spoil(event: Event) -> None:
        event.token.clear()

    rig = Rig(events=Events(session_ended=spoil, sign_out=spoil))
    browser = rig.browser(**cookie_with(rig))
    other = await rig.copy(browser)
    await browser.get("/logout")

    assert user_of(await other.get("/me")) is None
    assert (await other.get("/token")).json() is None


@EVERY_WAY
async def test_a_sign_out_counts_at_once(cache: float) -> None:
    """I6: a cookie that was seen before is nobody's once its session has ended, and is cleared after the grace."""
    rig = Rig(cookie=CookieOptions(cache=cache))
    browser = await rig.signed_in()
    other = await rig.copy(browser)
    assert user_of(await other.get("/me")) == "ada@example.com"
    await browser.get("/logout")

    assert user_of(await other.get("/me")) is None
    rig.clock.advance(31)
    assert cleared(await other.get("/me"))


async def test_a_rotation_counts_at_once() -> None:
    """A cookie that was seen before gets the newest tokens once they are there."""
    rig = Rig()
    browser = await rig.signed_in()
    other = await rig.copy(browser)
    rig.into_margin()
    await other.get("/me")
    rotated = (await browser.get("/token")).json()
    late = await rig.copy(other)
    late.cookies.set(COOKIE, dict(browser.cookies)[COOKIE], domain="testserver.local")

    assert rotated["generation"] == 1
    assert (await other.get("/token")).json()["access_token"] == rotated["access_token"]


async def test_the_session_follows_the_clock() -> None:
    """The same cookie, seen again, is due, expired and over as its times say, not as they were when it was first seen."""
    rig = Rig(cookie=CookieOptions(cache=10**9))
    now = rig.clock()
    browser = rig.browser(**cookie_with(rig, access_token="a", expires_at=now + 600, issued_at=now))
    assert (await browser.get("/me")).json()["refused"] is None
    rig.clock.advance(601)

    assert (await browser.get("/me")).json()["refused"] == "RefreshAccessTokenError"
    rig.clock.advance(40 * 86_400)
    assert user_of(await browser.get("/me")) is None


async def test_every_request_has_its_own_session_object() -> None:
    """Anonymous requests, too, share neither session nor state, and one connection serves both callbacks."""
    connections, sessions = list[object](), list[object]()

    async def handler(request: Request) -> Response:
        sessions.append(request.state.session)
        request.state.session["mark"] = 1
        return Response()

    def jwt(params: JWTParams) -> JWT:
        connections.append(params.connection)
        return params.token

    def session(params: SessionParams) -> Session:
        connections.append(params.connection)
        return params.session

    rig = Rig(callbacks=Callbacks(jwt=jwt, session=session))
    rig.routes["x"] = handler
    browser = rig.browser()
    await browser.get("/at/x")
    await browser.get("/at/x")
    assert sessions[0] is not sessions[1]
    assert (await browser.get("/me")).json() == {"refused": None}

    signed_in = rig.browser(**cookie_with(rig))
    await signed_in.get("/me")
    assert isinstance(connections[0], HTTPConnection)
    assert connections[0] is connections[1]
