"""Helpers that are under way when the application ends, and callbacks that answer anything."""

from __future__ import annotations

import asyncio
import inspect
from collections import UserDict
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from asgi_token_rotation import (
    JWT,
    Callbacks,
    JWTParams,
    Session,
    SessionParams,
    TokenRotation,
    TokenRotationMiddleware,
    get_access_token,
    get_session,
    get_token,
    sign_out,
    update_session,
)
from asgi_token_rotation.types import Message, Receive, Scope, Send
from rig import SECRET, Rig, user_of, written

Helper = Callable[[Request], Any]


async def update(request: Request) -> None:
    await update_session(request, {"x": 1})


async def refresh_the_rejected(request: Request) -> None:
    token = get_token(request)
    assert token is not None
    await get_access_token(request, rejected=token["access_token"])


HELPERS: dict[str, tuple[Helper, str]] = {
    "update": (update, "x"),
    "sign out": (sign_out, "signed out"),
    "access token": (refresh_the_rejected, "rotated"),
}


@pytest.mark.parametrize("name", HELPERS)
async def test_a_helper_under_way_when_the_application_ends(name: str) -> None:
    """What a task of the application's began is done all the same when the application ends before it."""
    helper, outcome = HELPERS[name]
    inside, goes_on, tasks = asyncio.Event(), asyncio.Event(), list[asyncio.Task[None]]()
    waits = False

    async def jwt(params: JWTParams) -> JWT:
        if waits:
            inside.set()
            await goes_on.wait()
        return params.token | {"x": 1} if params.trigger == "update" else params.token

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    browser = await rig.signed_in()

    async def begins(request: Request) -> Response:
        nonlocal waits
        waits = name == "update"
        tasks.append(asyncio.create_task(helper(request)))
        await (inside.wait() if waits else asyncio.sleep(0))
        return JSONResponse({})

    rig.routes["begins"] = begins
    await browser.get("/at/begins")
    goes_on.set()
    await asyncio.gather(*tasks)
    waits = False

    token = (await browser.get("/token")).json()
    if outcome == "signed out":
        assert (rig.heard("sign_out")[0].name, await signed_in(rig, browser)) == ("sign_out", False)
    elif outcome == "rotated":
        assert (rig.server.rotations, token["generation"]) == (1, 1)
    else:
        assert token["x"] == 1


async def signed_in(rig: Rig, browser: httpx.AsyncClient) -> bool:
    """Whether the session is still there, as far as a refresh that is due shows it."""
    rig.past_expiry()
    return user_of(await browser.get("/me")) is not None


async def test_a_helper_that_is_called_after_the_application_ended() -> None:
    """L3: who keeps a request may still ask for its access token, refreshed, and the session's next request has it."""
    kept = list[Request]()
    rig = Rig()
    browser = await rig.signed_in()

    async def keeps(request: Request) -> Response:
        kept.append(request)
        return JSONResponse({})

    rig.routes["keeps"] = keeps
    await browser.get("/at/keeps")
    rig.past_expiry()
    [request] = kept

    assert get_session(request)["user"]["name"] == "Ada"
    access_token = await get_access_token(request)
    assert (await browser.get("/token")).json()["access_token"] == access_token
    assert rig.server.rotations == 1


def test_send_is_a_coroutine_function() -> None:
    """What applications get as ``send`` is a coroutine function, since some frameworks ask (asgiref's async_to_sync)."""
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(inspect.iscoroutinefunction(send))

    async def nothing() -> Message:
        return {}

    async def ignore(message: Message) -> None:
        del message

    scope = {"type": "http", "path": "/", "headers": [], "state": {}}
    asyncio.run(TokenRotationMiddleware(app, rotation=TokenRotation(secret=SECRET))(scope, nothing, ignore))

    assert seen == [True]


@pytest.mark.parametrize("when", ["as it came", "refreshed"])
async def test_a_token_that_is_no_dict(when: str) -> None:
    """A jwt callback that answers another kind of mapping fails at its first request, not only at a refresh."""
    wrong = False

    def jwt(params: JWTParams) -> Any:
        return UserDict(params.token) if wrong else params.token

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    browser = await rig.signed_in()
    wrong = True
    if when == "refreshed":
        rig.past_expiry()

    assert (await browser.get("/me")).status_code == 500


async def test_a_token_that_only_the_callback_changed() -> None:
    """What a jwt callback does to the object that it was given, while it answers another one, the session callback does not see."""

    def jwt(params: JWTParams) -> JWT:
        answer = {**params.token}
        if params.trigger is None:
            params.token["role"] = "admin"
        return answer

    def session(params: SessionParams) -> Session:
        params.session["role"] = params.token.get("role")
        return params.session

    rig = Rig(callbacks=Callbacks(jwt=jwt, session=session))
    browser = await rig.signed_in()

    assert (await browser.get("/me")).json()["role"] is None


async def test_what_the_application_keeps_of_a_token() -> None:
    """A list that a jwt callback put into the token, and changes later, changes no token that was published."""
    roles = ["reader"]

    def jwt(params: JWTParams) -> JWT:
        return params.token | {"roles": roles} if params.trigger == "update" else params.token

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    browser = await rig.signed_in()
    elsewhere = await rig.copy(browser)
    await browser.get("/update")
    roles.append("admin")

    assert (await elsewhere.get("/token")).json()["roles"] == ["reader"]


async def test_a_sign_out_in_the_callback() -> None:
    """A jwt callback that signs out, whatever it answers then, leaves nobody signed in, and the cookie cleared."""
    for answer in (True, False):

        async def jwt(params: JWTParams, answer: bool = answer) -> JWT | None:
            if params.trigger is not None:
                return params.token
            await sign_out(params.connection)
            return params.token if answer else None

        rig = Rig(callbacks=Callbacks(jwt=jwt))
        response = await (await rig.signed_in()).get("/me")

        assert (response.status_code, user_of(response), written(response)) == (200, None, False)
        assert "Max-Age=0" in response.headers["set-cookie"]


async def test_the_token_decides_about_the_error() -> None:
    """Whatever a session callback writes into ``error``, the browser sees the token's own."""

    def session(params: SessionParams) -> Session:
        params.session["error"] = "custom"
        return params.session

    rig = Rig(callbacks=Callbacks(session=session))
    browser = await rig.signed_in()
    rig.server.refuse_refresh = True
    rig.past_expiry()
    for _ in range(2):
        assert (await browser.get("/me")).json()["error"] == "RefreshAccessTokenError"


@pytest.mark.parametrize("value", [Decimal(1), [Decimal(1)]])
async def test_a_claim_that_equals_what_was_there(value: object) -> None:
    """A claim that JSON does not have is named, also where it equals the claim that was there before."""

    def jwt(params: JWTParams) -> JWT:
        if params.trigger == "signIn":
            return params.token | {"level": [1] if isinstance(value, list) else 1}
        return params.token | {"level": value, "visits": 1}

    rig = Rig(callbacks=Callbacks(jwt=jwt))
    browser = await rig.signed_in()
    browser = httpx.AsyncClient(
        transport=httpx.ASGITransport(rig.app), base_url="http://testserver", cookies=browser.cookies
    )
    with pytest.raises(TypeError, match="'level' to something that JSON does not have"):
        await browser.get("/me")
