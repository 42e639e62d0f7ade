"""ASGI's rules about URLs and proxies, odd scopes, and HTTP clients."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import httpx
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from asgi import request, scope_for, set_cookies, websocket_handshake
from asgi_token_rotation import JWT, Credentials, TokenRotation, TokenRotationMiddleware, TokenSet
from asgi_token_rotation.testing import session_cookie
from asgi_token_rotation.types import ASGIApp, Message, Receive, Scope, Send
from frameworks.applications import COOKIE, SECRET, World, plain
from frameworks.browser import user_in
from rig import Rig, written

ADA = "ada@example.com"
HTTPS = "https://example.com"


@pytest.fixture
def world() -> World:
    return World()


async def cookie_header(world: World, *, secure: bool = False) -> dict[str, str]:
    """The Cookie header of somebody who has just signed in."""
    answer = await world.server.authorize({"username": "ada", "password": "lovelace"})
    assert answer is not None
    cookies = session_cookie(secret=SECRET, user=answer.user, tokens=answer.tokens, clock=world.clock, secure=secure)
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


@pytest.mark.parametrize(
    ("root", "path", "ours"),
    [
        ("", "/api/auth/csrf", True),
        ("/pfx", "/pfx/api/auth/csrf", True),  # uvicorn
        ("/pfx", "/api/auth/csrf", True),  # hypercorn, granian, daphne
        ("/pfx/", "/pfx/api/auth/csrf", True),
        ("/api", "/api/api/auth/csrf", True),
        ("/ap", "/api/auth/csrf", True),
        ("/pfx", "/pfxapi/auth/csrf", False),
        ("/pfx", "/other/api/auth/csrf", False),
        ("/api/auth", "/api/auth/csrf", False),
    ],
)
async def test_the_prefix_may_be_in_the_path_or_not(root: str, path: str, ours: bool, world: World) -> None:
    """ASGI R27: our path is found behind a root_path, whether the server left that in the path or took it out."""
    app = TokenRotationMiddleware(plain(world), **world.options())
    start, body = await request(app, path, root_path=root)
    assert (start["status"], "csrfToken" in body["body"].decode()) == ((200, True) if ours else (404, False))


async def test_inside_of_a_mount(world: World) -> None:
    """ASGI R27: mounted by Starlette, whose path stays whole while root_path grows, the endpoints answer below the mount."""

    async def me(request: Request) -> JSONResponse:
        return JSONResponse(request.state.session)

    inner = TokenRotationMiddleware(Starlette(routes=[Route("/me", me)]), **world.options())
    app = Starlette(routes=[Mount("/deep", inner)])
    _, body = await request(app, "/deep/api/auth/providers")
    assert json.loads(body["body"])["credentials"]["signinUrl"] == "http://testserver/deep/api/auth/signin/credentials"
    assert (await request(app, "/api/auth/providers"))[0]["status"] == 404
    assert user_in((await request(app, "/deep/me", await cookie_header(world)))[1]["body"]) == ADA


@pytest.mark.parametrize("scheme", ["http", "https", "https, http", ""])
@pytest.mark.parametrize(("public_url", "secure"), [(HTTPS, True), ("http://example.com", False)])
async def test_the_public_url_decides_on_secure(scheme: str, public_url: str, secure: bool, world: World) -> None:
    """ASGI R28: Secure and the prefix go by ``public_url``, whatever a proxy's headers made of the scheme."""
    app = TokenRotationMiddleware(plain(world), **world.options(public_url=public_url))
    (line,) = set_cookies((await request(app, "/login", scheme=scheme))[0])
    name = line.partition("=")[0]
    assert (name, "; Secure" in line) == ((f"__Secure-{COOKIE}", True) if secure else (COOKIE, False))
    shown = await request(app, "/me", {"cookie": line.partition(";")[0]}, scheme=scheme)
    assert user_in(shown[1]["body"]) == ADA


async def test_daphnes_sockets_have_no_scheme(world: World) -> None:
    """ASGI R28: with an https ``public_url`` a WebSocket scope without a scheme has the prefixed cookie read."""
    app = without(TokenRotationMiddleware(plain(world), **world.options(public_url=HTTPS)), *DAPHNE)
    header = await cookie_header(world, secure=True)
    messages = await websocket_handshake(app, "/ws", header | {"origin": HTTPS})
    assert user_in(messages[1]["text"]) == ADA


@pytest.mark.parametrize("root", ["/evil.example", "//evil.example", "/x\r\nset-cookie: a=b", "/ä ?#"])
async def test_a_clients_root_path_leads_nowhere(root: str, world: World) -> None:
    """ASGI R28: daphne takes root_path from a client's header: with a ``public_url`` it is in no URL, else it is quoted."""
    for public_url, origin in ((HTTPS, HTTPS), (None, "http://testserver")):
        app = TokenRotationMiddleware(plain(world), **world.options(public_url=public_url))
        start, body = await request(app, "/api/auth/providers", root_path=root)
        url = json.loads(body["body"])["credentials"]["signinUrl"]
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}" == origin
        assert (parts.query, parts.fragment, url.isascii(), url.isprintable()) == ("", "", True, True)
        assert public_url is None or parts.path == "/api/auth/signin/credentials"
        assert all(b"\n" not in value for _, value in start["headers"])


async def test_a_clients_host_is_in_no_url(world: World) -> None:
    """ASGI R28: redirects go by ``public_url``, not by Host or X-Forwarded-*; without one a foreign host gets no URL."""
    headers = {"host": "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-proto": "http"}
    app = TokenRotationMiddleware(plain(world), **world.options(public_url=f"{HTTPS}/app"))
    _, body = await request(app, "/api/auth/providers", headers)
    assert json.loads(body["body"])["credentials"]["callbackUrl"] == f"{HTTPS}/app/api/auth/callback/credentials"
    app = TokenRotationMiddleware(plain(world), **world.options())
    start, body = await request(app, "/api/auth/providers", headers)
    assert start["status"] == 400
    assert b"evil" not in body["body"]


DAPHNE = ("scheme", "http_version", "state", "extensions", "raw_path", "asgi")
TRANSPORT = ("state", "extensions", "client", "root_path")


def without(app: ASGIApp, *keys: str, **more: Any) -> ASGIApp:
    """The application behind a server whose scopes are without these keys."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await app({key: value for key, value in scope.items() if key not in keys} | more, receive, send)

    return served


@pytest.mark.parametrize(
    ("missing", "more"),
    [
        (DAPHNE, {"client": ["127.0.0.1", 50000], "server": ["testserver", 80]}),
        (TRANSPORT, {}),
        ((), {"client": ("127.0.0.1", "50000"), "server": ("testserver", "80"), "http_version": "2"}),
        (("client", "server"), {"client": None, "server": None, "state": {}}),
    ],
    ids=["daphne", "test transports", "granian", "unix socket"],
)
async def test_odd_scopes_are_read(missing: tuple[str, ...], more: dict[str, Any], world: World) -> None:
    """ASGI R29: whatever a server leaves out of its scopes, or writes in another type, requests and endpoints work."""
    header = await cookie_header(world)
    app = without(TokenRotationMiddleware(plain(world), **world.options()), *missing, **more)
    for path in ("/me", "/api/auth/session"):
        assert user_in((await request(app, path, header))[1]["body"]) == ADA
    assert user_in((await websocket_handshake(app, "/ws", header))[1]["text"]) == ADA
    world.clock.advance(301)
    assert len(set_cookies((await request(app, "/me", header))[0])) == 1


async def test_the_scope_of_a_server_is_not_asked_for_more(world: World) -> None:
    """ASGI R29: type, path, method and headers are all that a request's scope must have."""
    header = await cookie_header(world)
    full = scope_for("http", "/me", header)
    app = without(
        TokenRotationMiddleware(plain(world), **world.options()), *(full.keys() - {"type", "path", "method", "headers"})
    )
    assert user_in((await request(app, "/me", header))[1]["body"]) == ADA


def rig_with(client: Any) -> Rig:
    """A rig whose refresh function asks with this client of httpx, or of httpx2."""
    first = Rig()

    async def refresh(token: JWT) -> TokenSet:
        form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
        response = await client.post("http://token-server/token", data=form)
        response.raise_for_status()
        return TokenSet.from_response(response.json(), now=first.clock())

    return Rig(
        clock=first.clock,
        server=first.server,
        providers=[Credentials(authorize=first.server.authorize, refresh=refresh)],
    )


def client_of(library: Any, answer: tuple[int, Any] | str, asked: list[str]) -> Any:
    """A client of that library whose server answers so, or whose connection fails so."""

    def handle(request: Any) -> Any:
        asked.append(request.method)
        if isinstance(answer, str):
            raise getattr(library, answer)("it failed")
        return library.Response(answer[0], json=answer[1])

    return library.AsyncClient(transport=library.MockTransport(handle))


each_library = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


@each_library
async def test_a_refresh_with_either_library(library: Any) -> None:
    """ASGI R31: a refresh function may ask with httpx's or with httpx2's client."""
    answer = {"access_token": "new", "refresh_token": "newer", "expires_in": 300}
    rig = rig_with(client_of(library, (200, answer), []))
    browser = await rig.signed_in()
    rig.past_expiry()
    response = await browser.get("/token")
    assert (response.json()["access_token"], written(response)) == ("new", True)


@each_library
@pytest.mark.parametrize(
    ("failure", "error", "kind", "attempts"),
    [
        ((400, {"error": "invalid_grant"}), "RefreshAccessTokenError", "refused", 1),
        ((401, {"error": "invalid_client"}), "RefreshMisconfigured", "misconfigured", 1),
        ((503, {}), "RefreshUnavailable", "unavailable", 1),
        ((429, {}), "RefreshUnavailable", "throttled", 1),
        ("ConnectError", "RefreshUnavailable", "unavailable", 1),
        ("ReadTimeout", "RefreshUnavailable", "unavailable", 2),  # ambiguous: once more, at once
    ],
)
async def test_failures_of_either_library(library: Any, failure: Any, error: str, kind: str, attempts: int) -> None:
    """ASGI R31: errors of httpx2, whose classes are unrelated to httpx's, mean the same."""
    asked: list[str] = []
    rig = rig_with(client_of(library, failure, asked))
    browser = await rig.signed_in()
    rig.past_expiry()
    assert (await browser.get("/me")).json()["error"] == error
    assert rig.heard("refresh_failed")[-1].kind == kind
    assert asked == ["POST"] * attempts


def test_either_library_is_taken_as_a_client() -> None:
    """ASGI R31: ``http_client`` takes a client of httpx2, too."""
    TokenRotation(secret=SECRET, http_client=httpx.AsyncClient())
    TokenRotation(secret=SECRET, http_client=httpx2.AsyncClient())  # type: ignore[arg-type]


def test_httpx2_is_not_imported_by_us() -> None:
    """ASGI R31: who has no httpx2 needs none: no module of ours imports it, nor replaces httpx by it."""
    code = "import sys, asgi_token_rotation, asgi_token_rotation.http, asgi_token_rotation.testing; print('httpx2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


async def test_a_callback_url_behind_a_prefix(world: World) -> None:
    """ASGI R27: addresses outward are made from root_path and base path, never from the path that came in."""
    app = TokenRotationMiddleware(plain(world), **world.options())
    for path in ("/pfx/api/auth/signin", "/api/auth/signin"):
        messages: list[Message] = await request(app, path, root_path="/pfx")
        page = b"".join(message["body"] for message in messages[1:]).decode()
        assert 'action="/pfx/api/auth/' in page
        assert "/pfx/pfx" not in page
