"""What people get wrong and only requests can show, with the beginning of what they see. Each is made more than once."""

from __future__ import annotations

import datetime
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from fastapi import Depends, FastAPI
from litestar import Litestar, get
from litestar import Request as LitestarRequest
from litestar.datastructures import State
from starlette.applications import Starlette
from starlette.datastructures import State as StarletteState
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asgi import websocket_handshake
from asgi_token_rotation import (
    Callbacks,
    CookieOptions,
    Credentials,
    RefreshRejectedError,
    SignIn,
    TokenRotation,
    TokenRotationMiddleware,
    TokenSet,
    get_session,
    sign_in,
)
from rig import SECRET, Rig

Scenario = Callable[[], Awaitable[list[str]]]  # answers what was raised or shown; log lines are collected by the test
TIMES = range(2)


def browser(app: Any, base_url: str = "http://testserver", **more: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base_url, **more)


async def raised(call: Callable[[], Awaitable[object]]) -> list[str]:
    """What the call raises, each time."""
    said: list[str] = []
    for _ in TIMES:
        try:
            await call()
        except Exception as error:
            said.append(str(error))
    return said[:1] if len(said) == len(TIMES) else [f"raised only {said}"]


async def form_sign_in(client: httpx.AsyncClient, origin: str | None = None) -> httpx.Response:
    """Sign in through the endpoints, as a browser at that origin does."""
    csrf = (await client.get("/api/auth/csrf")).json()["csrfToken"]
    form = {"csrfToken": csrf, "username": "ada", "password": "lovelace", "callbackUrl": "/me"}
    headers = {} if origin is None else {"origin": origin}
    return await client.post("/api/auth/callback/credentials", data=form, headers=headers)


def rig_that(**changes: Any) -> Rig:
    """A rig whose provider has other functions."""
    rig = Rig()
    functions = {"authorize": rig.server.authorize, "refresh": rig.server.refresh, **changes}
    return Rig(clock=rig.clock, server=rig.server, providers=[Credentials(**functions)])


async def signed_in_with(**changes: Any) -> list[str]:
    """Sign-ins by form whose provider does it wrong."""
    rig = rig_that(**changes)
    answers = [await form_sign_in(rig.browser()) for _ in TIMES]
    return [answer.headers.get("location", "") for answer in answers][:1]


async def called_back(**callbacks: Any) -> list[str]:
    """Sign-ins by form whose callback does it wrong."""
    rig = Rig(callbacks=Callbacks(**callbacks))
    return [(await form_sign_in(rig.browser())).headers.get("location", "") for _ in TIMES][:1]


async def tokens_that(**claims: Any) -> list[str]:
    """Sign-ins whose token set is not as it should be."""

    async def authorize(_: object) -> SignIn:
        whole = {"access_token": "access-1", "refresh_token": "refresh-1", "expires_at": time.time() + 4e8, **claims}
        return SignIn(user={"id": 1}, tokens=TokenSet(**whole))

    return await signed_in_with(authorize=authorize)


async def refreshed_with(answer: Callable[[], object]) -> list[str]:
    """A refresh whose function answers the wrong thing."""
    rig = rig_that(refresh=lambda token: answer())
    client = await rig.signed_in()
    rig.past_expiry()
    return [str((await client.get("/me")).json()["refused"]) for _ in TIMES][:1]


def starlette_with(handler: Callable[[Request], Awaitable[Response]]) -> Starlette:
    return Starlette(routes=[Route("/me", handler)])


async def by_helper(request: Request) -> Response:
    return JSONResponse(get_session(request))


async def by_state(request: Request) -> Response:
    return JSONResponse(request.state.session)


async def no_middleware() -> list[str]:
    return await raised(lambda: browser(starlette_with(by_helper)).get("/me"))


async def skipped() -> list[str]:
    rotation = TokenRotation(secret=SECRET, skip=lambda scope: scope["path"] == "/me")
    app = TokenRotationMiddleware(starlette_with(by_helper), rotation=rotation)
    return await raised(lambda: browser(app).get("/me"))


async def something_else() -> list[str]:
    async def call() -> object:
        return get_session(StarletteState())  # type: ignore[arg-type]

    return await raised(call)


async def no_state() -> list[str]:
    return await raised(lambda: browser(starlette_with(by_state)).get("/me"))


async def other_session() -> list[str]:
    async def handler(request: Request) -> Response:
        return JSONResponse(request.session)

    app = TokenRotationMiddleware(starlette_with(handler), secret=SECRET)
    return await raised(lambda: browser(app).get("/me"))


async def litestar_says(handler: Any) -> list[str]:
    app = Litestar([get("/me")(handler)], debug=True, logging_config=None)
    wrapped = TokenRotationMiddleware(app, secret=SECRET)
    return [(await browser(wrapped).get("/me", headers={"accept": "text/plain"})).text for _ in TIMES][:1]


async def litestar_request_session(request: LitestarRequest[Any, Any, Any]) -> dict[str, Any]:
    return dict(request.session)


async def litestar_state(state: State) -> dict[str, Any]:
    return dict(state.session)


async def fastapi_depends() -> list[str]:
    async def call() -> None:
        app = FastAPI()

        @app.get("/me")
        async def me(session: Any = Depends(get_session)) -> Any:
            return session

    return await raised(call)


async def late() -> list[str]:
    async def handler(request: Request) -> Response:
        async def work() -> None:
            await sign_in(request, {"id": 1})

        response = JSONResponse({})
        response.background = work  # type: ignore[assignment]
        return response

    app = TokenRotationMiddleware(starlette_with(handler), secret=SECRET)
    return await raised(lambda: browser(app).get("/me"))


async def nested() -> list[str]:
    inner = TokenRotationMiddleware(starlette_with(by_state), secret=SECRET, cookie=CookieOptions(name="inner"))
    client = browser(TokenRotationMiddleware(inner, secret=SECRET))
    return [(await client.get("/me")).text for _ in TIMES][:1]


async def other_secret() -> list[str]:
    client = await Rig().signed_in()
    rig = Rig(secret=SECRET[::-1])
    return [(await rig.browser(**dict(client.cookies)).get("/me")).text for _ in TIMES][:1]


async def other_name() -> list[str]:
    client = await Rig().signed_in()
    rig = Rig(public_url="https://testserver")
    return [(await rig.browser(**dict(client.cookies)).get("/me")).text for _ in TIMES][:1]


async def own_sign_in(origin: str, headers: dict[str, str], **options: Any) -> list[str]:
    rig = Rig(**options)
    async with browser(rig.app, origin) as client:
        return [(await client.get("/login", headers=headers)).text for _ in TIMES][:1]


async def foreign_post() -> list[str]:
    rig = Rig(public_url="http://localhost:8000")
    client = browser(rig.app, "http://127.0.0.1:8000")
    return [(await form_sign_in(client, "http://127.0.0.1:8000")).text for _ in TIMES][:1]


async def foreign_socket() -> list[str]:
    async def accept(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    app = TokenRotationMiddleware(accept, secret=SECRET)
    for _ in TIMES:
        await websocket_handshake(app, "/", {"origin": "https://app.example"})
    return []


async def preflight() -> list[str]:
    app = TokenRotationMiddleware(CORSMiddleware(Rig().app, allow_origins=["https://app.example"]), secret=SECRET)
    headers = {"origin": "https://app.example", "access-control-request-method": "POST"}
    return [(await browser(app).options("/api/auth/session", headers=headers)).text for _ in TIMES][:1]


async def no_public_url() -> list[str]:
    client = browser(Rig().app, "http://app.example")
    return [(await client.get("/api/auth/providers")).text for _ in TIMES][:1]


async def no_csrf() -> list[str]:
    client = Rig().browser()
    form = {"username": "ada", "password": "lovelace"}
    return [(await client.post("/api/auth/callback/credentials", data=form)).headers["location"] for _ in TIMES][:1]


async def no_json() -> list[str]:
    rig = Rig(callbacks=Callbacks(session=lambda params: params.session | {"now": datetime.datetime.now(datetime.UTC)}))  # type: ignore[arg-type,return-value]
    client = browser(rig.app)
    return await raised(lambda: client.get("/login"))


async def large() -> list[str]:
    rig = Rig(callbacks=Callbacks(jwt=lambda params: params.token | {"roles": "x" * 4000}))
    for _ in TIMES:
        await form_sign_in(rig.browser())
    return []


async def too_large() -> list[str]:
    rig = Rig(callbacks=Callbacks(jwt=lambda params: params.token | {"roles": "x" * 40_000}))
    return await raised(lambda: browser(rig.app).get("/login"))


async def two_processes() -> list[str]:
    first = Rig()
    second = Rig(clock=first.clock, server=first.server)
    client = await first.signed_in()
    first.past_expiry()
    await client.get("/me")
    for _ in TIMES:
        await (second.browser(**dict(client.cookies))).get("/me")
    return []


async def own_rotation() -> list[str]:
    def jwt(params: Any) -> Any:
        return params.token if params.user else params.token | {"access_token": "access-9", "expires_at": 4e9}

    client = await (rig := Rig(callbacks=Callbacks(jwt=jwt))).signed_in()
    for _ in TIMES:
        await client.get("/me")
    assert rig.server.rotations == 0
    return []


LOGGED: list[tuple[str, Scenario]] = [
    ("A TokenRotationMiddleware runs inside of another one", nested),
    ("A session cookie came that does not open", other_secret),
    ("A request carried the cookie ", other_name),
    (
        "Somebody signed in at http://testserver, without TLS",
        lambda: own_sign_in("http://testserver", {"origin": "http://testserver"}, cookie=CookieOptions(secure=True)),
    ),
    (
        "Somebody signed in over https, but the server says http",
        lambda: own_sign_in("http://testserver", {"x-forwarded-proto": "https"}),
    ),
    (
        "Somebody signed in over https, but the server says http",
        lambda: own_sign_in("http://testserver", {"origin": "https://testserver"}),
    ),
    ("A POST to an endpoint came from the origin 'http://127.0.0.1:8000'", foreign_post),
    ("A WebSocket came from the origin 'https://app.example'", foreign_socket),
    ("A browser asked an endpoint for CORS", preflight),
    ("A request to an endpoint came in on a host that is not loopback", no_public_url),
    ("An access token had expired", lambda: tokens_that(expires_at=3600)),
    ("An access token came without expires_at", lambda: tokens_that(expires_at=None)),
    ("Somebody signed in without a refresh token", lambda: tokens_that(refresh_token=None)),
    ("Somebody signed in with a refresh token that nobody will use", lambda: signed_in_with(refresh=None)),
    ("The sign_in callback answered None", lambda: called_back(sign_in=lambda params: None)),
    ("The redirect callback answered None", lambda: called_back(redirect=lambda params: None)),
    ("The jwt callback answered None at a sign-in", lambda: called_back(jwt=lambda params: None)),
    ("The jwt callback changed the token set itself", own_rotation),
    ("A session takes ", large),
    ("A cookie was rotated by another process", two_processes),
]
LOGGED_EACH_TIME: list[tuple[str, Scenario]] = [  # by each sign-in, or by each refresh that the back-off allows
    (
        "authorize of the provider credentials failed: authorize answered a dict",
        lambda: signed_in_with(authorize=lambda _: {"id": 1}),
    ),
    (
        "authorize of the provider credentials failed: ValueError",
        lambda: tokens_that(expires_at=time.time() * 1000),
    ),
    ("refresh answered a dict: expected a TokenSet.", lambda: refreshed_with(lambda: {"access_token": "access-2"})),
    ("refresh answered a NoneType: expected a TokenSet.", lambda: refreshed_with(lambda: None)),
]
SHOWN: list[tuple[str, Scenario]] = [
    ("No session here: TokenRotationMiddleware is missing", no_middleware),
    ("No session here: skip= told", skipped),
    ("A helper was given an object of type", something_else),
    ("'State' object has no attribute 'session'", no_state),
    ("SessionMiddleware must be installed to access request.session", other_session),
    ("'session' is not defined in scope", lambda: litestar_says(litestar_request_session)),
    ("AttributeError", lambda: litestar_says(litestar_state)),
    ("Invalid args for response field!", fastapi_depends),
    ("sign_in was called after the response had started", late),
    ("The jwt callback answered a str", lambda: login_raises(jwt=lambda params: "token")),
    ("The session callback answered a NoneType", lambda: login_raises(session=lambda params: None)),
    (
        "The session callback put the refresh token into the session",
        lambda: login_raises(session=lambda params: params.session | {"r": params.token["refresh_token"]}),
    ),
    ("The user of a sign-in is a NoneType", lambda: own_route(SignIn(user=None))),  # type: ignore[arg-type]
    ("The tokens of a sign-in are a dict", lambda: own_route(SignIn(user={}, tokens={"access_token": "a"}))),  # type: ignore[arg-type]
    ("Object of type datetime is not JSON serializable", no_json),
    ("The sealed session takes", too_large),
    ('"error":"UnknownSite"', no_public_url),
    ('"error":"CrossOrigin"', foreign_post),
    ("error=MissingCSRF", no_csrf),
    ("error=AccessDenied", lambda: called_back(sign_in=lambda params: None)),
    ("error=Configuration", lambda: signed_in_with(authorize=lambda _: {"id": 1})),
    ("error=CredentialsSignin", lambda: signed_in_with(authorize=lambda _: None)),
    ("RefreshUnavailable", lambda: refreshed_with(lambda: None)),
    ("RefreshAccessTokenError", lambda: refreshed_with(rejected)),
    ("expires_at is a datetime", lambda: raised(ends_by_calendar)),
    ("expires_at is 1", lambda: raised(ends_in_milliseconds)),
]


async def login_raises(**callbacks: Any) -> list[str]:
    rig = Rig(callbacks=Callbacks(**callbacks))
    return await raised(lambda: browser(rig.app).get("/login"))


async def own_route(answer: SignIn) -> list[str]:
    async def handler(request: Request) -> Response:
        return JSONResponse(await sign_in(request, answer.user, answer.tokens))

    app = TokenRotationMiddleware(starlette_with(handler), secret=SECRET)
    return await raised(lambda: browser(app).get("/me"))


def rejected() -> TokenSet:
    raise RefreshRejectedError


async def ends_by_calendar() -> object:
    return TokenSet("access-1", expires_at=datetime.datetime.now(datetime.UTC))  # type: ignore[arg-type]


async def ends_in_milliseconds() -> object:
    return TokenSet("access-1", expires_at=time.time() * 1000)
