"""Whole requests: the running middleware and the real Auth.js before one browser's cookies."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from asgi_token_rotation import Callbacks, JWTParams, get_token
from asgi_token_rotation._cookies.session_cookie import DEFAULT_NAMES
from asgi_token_rotation.testing import Clock
from asgi_token_rotation.types import JWT, Dialect
from interop.node import SECRET, UNICODE, Jar, Node, bare, now, salt_of
from rig import Rig

BOTH = [pytest.param("authjs", id="v5"), pytest.param("nextauth-v4", id="v4")]
SCHEMES = ["http", "https"]
USER = {"id": "ada", "name": "Ada 🚀 עדה", "email": "ada@example.com"}


class Site:
    """Our application and the real Auth.js under one address, with the secret that they share."""

    def __init__(
        self, node: Node, *, dialect: Dialect, theirs: Dialect | None = None, scheme: str, **options: Any
    ) -> None:
        self.origin = f"{scheme}://testserver"
        given: dict[str, Any] = {"secret": SECRET, **options}
        self.rig = Rig(clock=Clock(now()), dialect=dialect, public_url=self.origin, **given)
        self.rig.routes["token"] = token_as_ascii
        self.theirs = theirs or dialect
        self.secure = scheme == "https"
        self.name = self.name_of(dialect)
        self._node = node

    def name_of(self, dialect: Dialect) -> str:
        return ("__Secure-" if self.secure else "") + DEFAULT_NAMES[dialect]

    async def ours(self, jar: Jar, path: str, **more: Any) -> httpx.Response:
        """One request to our application; the jar takes what it sets."""
        transport = httpx.ASGITransport(self.rig.app)
        async with httpx.AsyncClient(transport=transport, base_url=self.origin) as client:
            response = await client.get(path, headers={"cookie": jar.header} if jar else {}, **more)
        jar.took(response.headers.get_list("set-cookie"))
        return response

    def ask(self, jar: Jar, path: str, *, secret: str = SECRET, **more: Any) -> dict[str, Any]:
        """One request to the real Auth.js; the jar takes what it sets."""
        settings = {"method": "GET", "dialect": self.theirs, "secure": self.secure, "secret": secret, **more}
        answer = self._node("ask", url=f"{self.origin}/api/auth/{path}", cookie=jar.header, **settings)
        jar.took(answer["cookies"])
        return answer

    def token(self, jar: Jar, *, dialect: Dialect | None = None) -> JWT | None:
        """What the real getToken({req}) makes of the browser's cookies."""
        dialect = dialect or self.theirs
        name = self.name_of(dialect)
        settings: dict[str, Any] = {"salt": salt_of(dialect, name), "secureCookie": self.secure, "secret": SECRET}
        return self._node("get_token", dialect=dialect, cookie=jar.header, **settings)

    async def signed_in_by_them(self, jar: Jar, **more: Any) -> None:
        """The real Auth.js signs in by its own form, with tokens of the strict token server in its jwt callback."""
        answer = await self.rig.server.authorize({"username": "ada", "password": "lovelace"})
        assert answer is not None
        assert answer.tokens is not None
        tokens = {
            "access_token": answer.tokens.access_token,
            "refresh_token": answer.tokens.refresh_token,
            "expires_at": answer.tokens.expires_at,
            "provider": "credentials",
            **more,
        }
        form = {"csrfToken": self.ask(jar, "csrf")["body"]["csrfToken"], "username": "ada"}
        path = "callback/credentials"
        done = self.ask(jar, path, method="POST", form=form, tokens=tokens, user=USER)
        assert "error" not in done["body"]["url"]
        assert any(name.startswith(self.name_of(self.theirs)) for name in jar)


async def token_as_ascii(request: Request) -> Response:
    """What the application sees of the token; Starlette's own JSON can't say a lone surrogate."""
    return Response(json.dumps(get_token(request)))


def session_cookies(jar: Jar) -> set[str]:
    return {name for name in jar if "session-token" in name}


def with_unicode(params: JWTParams) -> JWT:
    """A jwt callback whose token needs three cookies."""
    if params.user is not None:
        params.token["unicode"] = UNICODE
        params.token["big"] = "x" * 7200
        params.token["theme"] = "dark"
    return params.token


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dialect", BOTH)
@pytest.mark.parametrize("large", [False, True], ids=["one cookie", "chunks"])
async def test_our_set_cookie_lines_are_read_by_them(node: Node, dialect: Dialect, scheme: str, large: bool) -> None:
    """What our middleware sets at a sign-in is the session of the real getToken and of the real GET session."""
    callbacks = Callbacks(jwt=with_unicode) if large else Callbacks()
    site, jar = Site(node, dialect=dialect, scheme=scheme, callbacks=callbacks), Jar()
    assert (await site.ours(jar, "/login")).status_code == 200
    assert len(session_cookies(jar)) == (3 if large else 1)

    token = site.token(jar)
    assert token is not None
    ours = (await site.ours(jar, "/at/token")).json()
    assert bare(token) == bare(ours)
    assert not large or token["unicode"] == UNICODE
    answer = site.ask(jar, "session")
    assert answer["status"] == 200
    assert answer["body"]["user"]["email"] == "ada@example.com"
    assert answer["body"].get("theme") == ("dark" if large else None)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dialect", BOTH)
async def test_a_session_of_ours_goes_through_them_and_back(node: Node, dialect: Dialect, scheme: str) -> None:
    """Auth.js seals anew at every read; our claims survive that, and so does the rotation that follows."""
    site, jar = Site(node, dialect=dialect, scheme=scheme, callbacks=Callbacks(jwt=with_unicode)), Jar()
    await site.ours(jar, "/login")
    before = (await site.ours(jar, "/at/token")).json()
    sealed = dict(jar)
    site.ask(jar, "session")
    assert {name: jar.get(name) for name in sealed} != sealed  # it did write
    assert (await site.ours(jar, "/at/token")).json() == before

    site.rig.past_expiry()
    assert (await site.ours(jar, "/me")).json()["user"]["email"] == "ada@example.com"
    after = site.token(jar)
    assert after is not None
    assert (after["session_id"], after["generation"]) == (before["session_id"], 1)
    assert after["refresh_token"] != before["refresh_token"]
    assert after["unicode"] == UNICODE
    assert (site.rig.server.refresh_calls, site.rig.server.reuses) == (1, 0)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dialect", BOTH)
@pytest.mark.parametrize("large", [False, True], ids=["one cookie", "chunks"])
async def test_their_sign_in_is_shown_and_then_rotates(node: Node, dialect: Dialect, scheme: str, large: bool) -> None:
    """A session that the real Auth.js began, without our session_id, is shown unwritten, and refreshed once for ten requests."""
    site, jar = Site(node, dialect=dialect, scheme=scheme), Jar()
    await site.signed_in_by_them(jar, **({"unicode": UNICODE, "big": "x" * 5000} if large else {}))
    assert len(session_cookies(jar)) == (1 if not large else 2)
    assert "session_id" not in (site.token(jar) or {})

    shown = await site.ours(jar, "/me")
    assert shown.json()["user"]["name"] == USER["name"]
    assert "set-cookie" not in shown.headers
    site.rig.past_expiry()
    jars = [Jar(jar) for _ in range(10)]
    responses = await asyncio.gather(*(site.ours(each, "/me") for each in jars))
    assert {response.json()["user"]["email"] for response in responses} == {"ada@example.com"}
    assert {response.json()["refused"] for response in responses} == {None}
    assert (site.rig.server.refresh_calls, site.rig.server.reuses) == (1, 0)
    for each in jars:
        token = site.token(each)
        assert token is not None
        assert (token["generation"], token["email"]) == (1, "ada@example.com")
        assert not large or token["unicode"] == UNICODE
    assert site.ask(jars[0], "session")["body"]["user"]["email"] == "ada@example.com"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dialect", BOTH)
async def test_strangers_are_nobody_on_both_sides(node: Node, dialect: Dialect, scheme: str) -> None:
    """A session under another secret is nobody's to both; Auth.js clears the cookie, we leave it alone (I3)."""
    site, jar = Site(node, dialect=dialect, scheme=scheme), Jar()
    other = "quite another secret, of 32 letters"
    stranger, theirs = Site(node, dialect=dialect, scheme=scheme, secret=other), Jar()
    await stranger.ours(jar, "/login")
    held = dict(jar)
    assert session_cookies(jar)
    assert (await site.ours(jar, "/me")).json() == {"refused": None}
    assert dict(jar) == held
    assert site.token(jar) is None
    assert site.ask(jar, "session")["body"] == (None if dialect == "authjs" else {})
    assert not session_cookies(jar)

    await site.signed_in_by_them(theirs)
    assert (await stranger.ours(theirs, "/me")).json() == {"refused": None}
    assert session_cookies(theirs)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dialect", BOTH)
async def test_signing_out_on_either_side(node: Node, dialect: Dialect, scheme: str) -> None:
    """A sign-out on one side removes the cookies that the other one wrote, chunks included."""
    site, jar = Site(node, dialect=dialect, scheme=scheme, callbacks=Callbacks(jwt=with_unicode)), Jar()
    await site.signed_in_by_them(jar, big="x" * 5000)
    await site.ours(jar, "/logout")
    assert not session_cookies(jar)
    await site.ours(jar, "/login")
    assert len(session_cookies(jar)) == 3
    form = {"csrfToken": site.ask(jar, "csrf")["body"]["csrfToken"]}
    site.ask(jar, "signout", method="POST", form=form)
    assert not session_cookies(jar)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("dialect", "theirs"), [("authjs", "nextauth-v4"), ("nextauth-v4", "authjs")])
@pytest.mark.parametrize("large", [False, True], ids=["one cookie", "chunks"])
async def test_the_other_dialect_is_taken_over(
    node: Node, dialect: Dialect, theirs: Dialect, scheme: str, large: bool
) -> None:
    """A real v4 sign-in goes on in the v5 dialect, and the reverse: sealed anew, the old cookie gone, and then rotated."""
    options: dict[str, Any] = {"dialect": dialect, "theirs": theirs, "scheme": scheme, "accept_dialects": [theirs]}
    site, jar = Site(node, **options), Jar()
    await site.signed_in_by_them(jar, **({"unicode": UNICODE, "big": "x" * 5000} if large else {}))
    assert (await site.ours(jar, "/me")).json()["user"]["email"] == "ada@example.com"
    assert all(name.startswith(site.name) for name in session_cookies(jar))
    token = site.token(jar, dialect=dialect)
    assert token is not None
    assert token["email"] == "ada@example.com"
    assert not large or token["unicode"] == UNICODE
    assert site.token(jar) is None

    site.rig.past_expiry()
    await site.ours(jar, "/me")
    token = site.token(jar, dialect=dialect)
    assert token is not None
    assert token["generation"] == 1
    assert (site.rig.server.refresh_calls, site.rig.server.reuses) == (1, 0)
