from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket

from asgi import websocket_handshake
from asgi_token_rotation import Callbacks, ConfigurationError, Session, SessionParams, TokenRotationMiddleware
from asgi_token_rotation.integrations.fastapi import AccessToken, CurrentSession, RequiredSession, require_session
from asgi_token_rotation.testing import session_cookie
from frameworks.applications import COOKIE, SECRET, World

ADA = "ada@example.com"
PAGE = {"accept": "text/html,application/xhtml+xml"}

router = APIRouter()


@router.get("/current")
async def current(session: CurrentSession) -> dict[str, Any]:
    return session


@router.get("/required")
def required(session: RequiredSession) -> dict[str, Any]:
    return session


@router.get("/token")
async def token(access_token: AccessToken) -> str:
    return access_token


@router.get("/page", dependencies=[Depends(require_session(redirect_to="/api/auth/signin"))])
async def page() -> str:
    return "page"


@router.post("/page", dependencies=[Depends(require_session(redirect_to="/api/auth/signin"))])
async def submit() -> str:
    return "submitted"


@router.get("/elsewhere", dependencies=[Depends(require_session(redirect_to="https://id.example/signin?lang=en"))])
async def elsewhere() -> str:
    return "page"


@router.get("/lenient", dependencies=[Depends(require_session(allow_error=True))])
async def lenient() -> str:
    return "lenient"


@router.get("/open")
async def public() -> str:
    return "open"


@router.websocket("/ws/required")
async def socket(websocket: WebSocket, session: RequiredSession, current_session: CurrentSession) -> None:
    assert session is current_session
    await websocket.accept()
    await websocket.send_text(session["user"]["email"])
    await websocket.close()


@router.websocket("/ws/token")
async def token_socket(websocket: WebSocket, access_token: AccessToken) -> None:
    await websocket.accept()
    await websocket.send_text(access_token)
    await websocket.close()


@pytest.fixture
def world() -> World:
    return World()


def application(world: World, **options: Any) -> FastAPI:
    app = FastAPI()
    app.include_router(router)
    app.add_middleware(TokenRotationMiddleware, **world.options(**options))
    return app


async def signed_in(world: World) -> dict[str, str]:
    answer = await world.server.authorize({"username": "ada", "password": "lovelace"})
    assert answer is not None
    return session_cookie(secret=SECRET, user=answer.user, tokens=answer.tokens, clock=world.clock)


@asynccontextmanager
async def browser(
    world: World, cookies: dict[str, str] | None = None, *, root_path: str = "", **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(world, **options), root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", cookies=cookies) as client:
        yield client


async def test_somebody_signed_in_passes_everywhere(world: World) -> None:
    """The session and the access token come as dependencies, in coroutines and in plain functions."""
    async with browser(world, await signed_in(world)) as client:
        assert (await client.get("/current")).json()["user"]["email"] == ADA
        assert (await client.get("/required")).json()["user"]["email"] == ADA
        assert world.server.name_of((await client.get("/token")).json()) == "1-0"
        assert (await client.get("/page", headers=PAGE)).text == '"page"'
        assert (await client.get("/lenient")).status_code == 200


async def test_somebody_anonymous_gets_an_empty_session_or_a_401(world: World) -> None:
    """CurrentSession is always there, and empty; RequiredSession and AccessToken answer 401 with a scheme (RFC 9110, 15.5.2)."""
    async with browser(world) as client:
        assert (await client.get("/current")).json() == {}
        for path in ("/required", "/token", "/page", "/lenient"):
            response = await client.get(path)
            assert (response.status_code, response.json()["detail"]) == (401, "Not authenticated"), path
            assert response.headers["www-authenticate"]


async def test_a_browser_that_wants_a_page_is_sent_to_the_sign_in_page(world: World) -> None:
    """With ``redirect_to`` a page request is redirected with ``callbackUrl``, and a script or a form gets the 401."""
    async with browser(world) as client:
        response = await client.get("/page?a=1&b=%2F", headers=PAGE)
        assert response.status_code == 303
        assert response.headers["location"] == "/api/auth/signin?callbackUrl=%2Fpage%3Fa%3D1%26b%3D%252F"
        response = await client.get("/elsewhere", headers=PAGE)
        assert response.headers["location"] == "https://id.example/signin?lang=en&callbackUrl=%2Felsewhere"
        assert (await client.get("/page")).status_code == 401
        assert (await client.post("/page", headers=PAGE)).status_code == 401


async def test_the_page_to_come_back_to_has_the_root_path(world: World) -> None:
    """ASGI R27: ``callbackUrl`` is the address that the browser sees, whether the server leaves the prefix in the path or not."""
    async with browser(world, root_path="/pfx") as client:
        for path in ("/pfx/page", "/page"):
            response = await client.get(path, headers=PAGE)
            assert response.headers["location"].endswith("?callbackUrl=%2Fpfx%2Fpage"), path


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example/x"])
async def test_the_page_to_come_back_to_is_never_another_host(world: World, path: str) -> None:
    """I12: a path that a browser would read as a foreign host does not become one in ``callbackUrl``."""
    app = FastAPI()
    app.add_api_route("/{rest:path}", lambda: "page", dependencies=[Depends(require_session(redirect_to="/in"))])
    app.add_middleware(TokenRotationMiddleware, **world.options())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        request = client.build_request("GET", "/", headers=PAGE)
        request.url = httpx.URL(scheme="http", host="testserver", raw_path=path.encode())
        response = await client.send(request)
    assert response.headers["location"].startswith("/in?callbackUrl=%2Fevil.example")


async def test_a_refused_session_does_not_pass_unless_its_error_is_allowed(world: World) -> None:
    """A session whose refresh token was refused for good gets a 401 that says so; ``allow_error`` lets it in."""
    async with browser(world, await signed_in(world)) as client:
        world.clock.advance(301)
        world.server.refuse_refresh = True
        for path in ("/required", "/token"):
            response = await client.get(path)
            assert (response.status_code, response.json()["detail"]) == (401, "RefreshAccessTokenError")
        assert (await client.get("/current")).json()["error"] == "RefreshAccessTokenError"
        assert (await client.get("/lenient")).status_code == 200


async def test_a_refused_session_does_not_pass_although_the_callback_dropped_the_error(world: World) -> None:
    """``session.error`` counts, which comes from the token, and not what the ``session`` callback shows."""

    def without_error(params: SessionParams) -> Session:
        params.session.pop("error", None)
        return params.session

    async with browser(world, await signed_in(world), callbacks=Callbacks(session=without_error)) as client:
        world.clock.advance(301)
        world.server.refuse_refresh = True
        assert (await client.get("/required")).status_code == 401


async def test_a_session_that_shows_no_user_passes(world: World) -> None:
    """What the ``session`` callback shows is the application's choice: whatever is not empty is somebody signed in."""
    callbacks = Callbacks(session=lambda params: Session(role="admin"))
    async with browser(world, await signed_in(world), callbacks=callbacks) as client:
        assert (await client.get("/required")).json() == {"role": "admin"}


async def test_an_outage_lets_the_session_pass_and_the_access_token_wait(world: World) -> None:
    """O1: while the provider is down nobody is signed out; who needs the access token gets 503 with Retry-After."""
    async with browser(world, await signed_in(world)) as client:
        world.clock.advance(301)
        world.server.fail_with = 503
        response = await client.get("/required")
        assert (response.status_code, response.json()["error"]) == (200, "RefreshUnavailable")
        response = await client.get("/token")
        assert (response.status_code, response.json()["detail"]) == (503, "RefreshUnavailable")
        assert int(response.headers["retry-after"]) > 0


async def test_a_websocket_has_the_dependencies_too(world: World) -> None:
    """On a WebSocket the same dependencies work, and refuse with the close codes 1008 and 1013."""
    app = application(world)
    cookies = {"cookie": "; ".join(f"{name}={value}" for name, value in (await signed_in(world)).items())}
    _, text, _ = await websocket_handshake(app, "/ws/required", cookies)
    assert text["text"] == ADA
    for path in ("/ws/required", "/ws/token"):
        (close,) = await websocket_handshake(app, path)
        assert (close["type"], close["code"]) == ("websocket.close", 1008)
    world.clock.advance(301)
    world.server.fail_with = 503
    (close,) = await websocket_handshake(app, "/ws/token", cookies)
    assert (close["code"], close["reason"]) == (1013, "RefreshUnavailable")


async def test_the_openapi_document_shows_the_session_cookie(world: World) -> None:
    """Every route that asks for the session lists the cookie as its security scheme, and no other route does."""
    document = application(world).openapi()
    scheme = document["components"]["securitySchemes"]["SessionCookie"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "cookie", COOKIE)
    for path in ("/current", "/required", "/token", "/page", "/lenient"):
        assert document["paths"][path]["get"]["security"] == [{"SessionCookie": []}], path
        assert "parameters" not in document["paths"][path]["get"], path
    assert "security" not in document["paths"]["/open"]["get"]


async def test_a_missing_middleware_is_said_in_words() -> None:
    """Without the middleware the dependency fails with a sentence, and not as if nobody were signed in."""
    app = FastAPI()
    app.include_router(router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        with pytest.raises(RuntimeError, match="TokenRotationMiddleware is missing"):
            await client.get("/required")


@pytest.mark.parametrize("address", ["", "signin", "//evil.example", "/\\evil", "javascript:alert(1)"])
def test_a_redirect_that_is_no_address_is_refused_at_start_up(address: str) -> None:
    """``redirect_to`` must be a path or an http(s) URL."""
    with pytest.raises(ConfigurationError, match="redirect_to is"):
        require_session(redirect_to=address)
