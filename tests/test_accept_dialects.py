"""From NextAuth v4 to the v5 dialect without a sign-in: the whole middleware, against the strict token server."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from asgi_token_rotation import JWT, Callbacks, JWTParams
from asgi_token_rotation._cookies.jwe import cookie_key_ring
from asgi_token_rotation.options import DAY
from rig import COOKIE, SECRET, Rig, token_in, user_of, written

V4_COOKIE = "next-auth.session-token"


async def v4_cookie(rig: Rig, **more: Any) -> dict[str, str]:
    """The cookie of somebody whom NextAuth v4 signed in, with the refresh guide's claims and none of ours."""
    answer = await rig.server.authorize({"username": "ada", "password": "lovelace"})
    assert answer is not None
    assert answer.tokens is not None
    claims = {
        "name": "Ada",
        "email": "ada@example.com",
        "sub": "ada",
        "provider": "credentials",
        "access_token": answer.tokens.access_token,
        "refresh_token": answer.tokens.refresh_token,
        "expires_at": rig.clock() + rig.server.access_token_lifetime,
    }
    return sealed_by_v4(rig, claims | more)


def sealed_by_v4(rig: Rig, claims: JWT) -> dict[str, str]:
    keys = cookie_key_ring([SECRET], cookie_name=V4_COOKIE, dialect="nextauth-v4")
    return {V4_COOKIE: keys.seal(claims, now=rig.clock(), expires=rig.clock() + 30 * DAY)}


def lines_of(response: httpx.Response) -> list[str]:
    return response.headers.get_list("set-cookie")


async def test_a_v4_session_goes_on_in_v5() -> None:
    """I1: the first answer to a v4 cookie seals it under the v5 name and clears the old one; the next writes nothing."""
    rig = Rig(accept_dialects=["nextauth-v4"])
    browser = rig.browser(**await v4_cookie(rig, theme="dark"))

    first = await browser.get("/me")
    assert user_of(first) == "ada@example.com"
    token = token_in(rig, first)
    assert (token["theme"], token["generation"], token["sub"]) == ("dark", 0, "ada")
    assert list(browser.cookies) == [COOKIE]
    [cleared] = [line for line in lines_of(first) if line.startswith(V4_COOKIE)]
    assert cleared == f"{V4_COOKIE}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"

    second = await browser.get("/me")
    assert user_of(second) == "ada@example.com"
    assert not lines_of(second)
    rig.past_expiry()
    rotated = await browser.get("/me")
    assert written(rotated)
    assert token_in(rig, rotated)["generation"] == 1
    assert user_of(await browser.get("/me")) == "ada@example.com"
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)


async def test_without_the_option_it_is_nobody() -> None:
    """A v4 cookie means nothing to the v5 dialect unless it is accepted, and stays in the browser."""
    rig = Rig()
    browser = rig.browser(**await v4_cookie(rig))
    response = await browser.get("/me")
    assert user_of(response) is None
    assert not lines_of(response)
    assert list(browser.cookies) == [V4_COOKIE]


async def test_parallel_requests_with_an_expired_v4_session_refresh_once() -> None:
    """I4: twenty requests with one v4 cookie whose access token has expired send its refresh token once."""
    rig = Rig(accept_dialects=["nextauth-v4"])
    cookies = await v4_cookie(rig)
    rig.past_expiry()
    browsers = [rig.browser(**cookies) for _ in range(20)]
    responses = await asyncio.gather(*(browser.get("/me") for browser in browsers))
    assert {user_of(response) for response in responses} == {"ada@example.com"}
    assert {token_in(rig, response)["generation"] for response in responses} == {1}
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)
    late = await rig.browser(**cookies).get("/me")
    assert token_in(rig, late)["generation"] == 1
    assert rig.server.refresh_calls == 1


@pytest.mark.parametrize("path", ["/logout", "POST signout"])
async def test_signing_out_clears_both(path: str) -> None:
    """Sign-out removes the cookies of both dialects, and the v4 cookie cannot bring the session back (I6)."""
    rig = Rig(accept_dialects=["nextauth-v4"])
    old = await v4_cookie(rig)
    browser = rig.browser(**old)
    await browser.get("/me")
    browser.cookies.set(V4_COOKIE, old[V4_COOKIE], domain="testserver.local")
    if path == "/logout":
        response = await browser.get(path)
    else:
        csrf_token = (await browser.get("/api/auth/csrf")).json()["csrfToken"]
        response = await browser.post("/api/auth/signout", data={"csrfToken": csrf_token})
    cleared = {line.partition("=")[0] for line in lines_of(response) if "Max-Age=0" in line}
    assert cleared == {COOKIE, V4_COOKIE}
    assert user_of(await rig.browser(**old).get("/me")) is None


async def test_a_poll_seals_anew_and_keeps_the_end() -> None:
    """GET session re-seals a v4 cookie, too, but does not prolong the session."""
    rig = Rig(accept_dialects=["nextauth-v4"])
    browser = rig.browser(**await v4_cookie(rig))
    rig.clock.advance(60)
    response = await browser.get("/api/auth/session")
    assert user_of(response) == "ada@example.com"
    assert token_in(rig, response)["exp"] == rig.clock() - 60 + 30 * DAY


def renamed(params: JWTParams) -> JWT:
    """What docs/reference.md tells people to do whose v4 callback kept the tokens under names of its own."""
    token = params.token
    if "refreshToken" in token:
        token["access_token"] = token.pop("accessToken")
        token["refresh_token"] = token.pop("refreshToken")
        token["expires_at"] = token.pop("accessTokenExpires") / 1000
        token["provider"] = "credentials"
    return token


async def test_claims_of_the_old_callback_stay_until_they_are_renamed() -> None:
    """camelCase claims are the application's: nothing of ours reads them, and a jwt callback that renames them rotates."""
    rig = Rig(accept_dialects=["nextauth-v4"], callbacks=Callbacks(jwt=renamed))
    answer = await rig.server.authorize({"username": "ada", "password": "lovelace"})
    assert answer is not None
    assert answer.tokens is not None
    assert answer.tokens.expires_at is not None
    claims: JWT = {
        "email": "ada@example.com",
        "accessToken": answer.tokens.access_token,
        "refreshToken": answer.tokens.refresh_token,
        "accessTokenExpires": answer.tokens.expires_at * 1000,
    }
    plain = Rig(accept_dialects=["nextauth-v4"], clock=rig.clock)
    kept = token_in(plain, await plain.browser(**sealed_by_v4(plain, claims)).get("/me"))
    assert {name: kept.get(name) for name in claims} == claims
    assert "refresh_token" not in kept

    cookies = sealed_by_v4(rig, claims)
    browsers = [rig.browser(**cookies) for _ in range(5)]
    responses = await asyncio.gather(*(browser.get("/me") for browser in browsers))
    assert {user_of(response) for response in responses} == {"ada@example.com"}
    rig.past_expiry()
    responses = await asyncio.gather(*(browser.get("/me") for browser in browsers))
    assert {user_of(response) for response in responses} == {"ada@example.com"}
    assert {response.json()["refused"] for response in responses} == {None}
    assert (rig.server.refresh_calls, rig.server.reuses) == (1, 0)
