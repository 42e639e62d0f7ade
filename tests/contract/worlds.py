"""Our side: for each dialect and world the application that servers.mjs has in node, on one uvicorn."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import uvicorn

from asgi_token_rotation import (
    JWT,
    Callbacks,
    Credentials,
    CredentialsSignInError,
    Event,
    Events,
    JWTParams,
    Pages,
    RedirectParams,
    Session,
    SessionParams,
    SignIn,
    SignInParams,
    TokenRotationMiddleware,
)
from asgi_token_rotation.providers import OAuth2
from asgi_token_rotation.types import ASGIApp, Dialect, Message, Receive, Scope, Send

SECRET = "the secret that both sides share, long enough"
DIALECTS: tuple[Dialect, ...] = ("authjs", "nextauth-v4")
WORLDS = ("plain", "https", "pages", "redirect", "oauth")
PATIENCE = 60.0  # seconds to start or to stop
HUB = OAuth2(
    id="hub",
    name="Hub",
    client_id="the-client",
    client_secret="the-client-secret",
    authorization_endpoint="https://hub.example/authorize",
    token_endpoint="https://hub.example/token",
    userinfo_endpoint="https://hub.example/me",
    scopes=["profile"],
)

Calls = list[str]


class World:
    """One application, and what its callbacks were called with."""

    def __init__(self, dialect: Dialect, world: str, *, port: int) -> None:
        self.calls: Calls = []
        pages = Pages(sign_in="/enter", sign_out="/leave", error="/trouble") if world == "pages" else Pages()
        self.app = TokenRotationMiddleware(
            self._application,
            secret=SECRET,
            dialect=dialect,
            public_url=f"https://127.0.0.1:{port}" if world == "https" else None,
            providers=[Credentials(authorize=self._authorize), *([HUB] if world == "oauth" else [])],
            http_client=httpx.AsyncClient(transport=httpx.MockTransport(_hub)),
            callbacks=Callbacks(
                sign_in=self._sign_in,
                jwt=self._jwt,
                session=self._session,
                redirect=_redirect if world == "redirect" else None,
            ),
            events=Events(sign_in=self._told("signIn"), sign_out=self._told("signOut")),
            pages=pages,
        )

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b"The application's own page."
        if scope["path"] == "/calls":
            body = json.dumps(self.calls).encode()
            self.calls.clear()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": body})

    def _authorize(self, credentials: Mapping[str, str]) -> SignIn | None:
        self.calls.append(f"authorize {' '.join(sorted(credentials))}")
        username = credentials.get("username", "")
        if username == "boom":
            raise LookupError("the table of users is missing")
        if username == "locked":
            raise CredentialsSignInError(code="locked")
        if credentials.get("password") != "right":
            return None
        return SignIn(user={"id": f"id-{username}", "name": username, "email": f"{username}@Example.com"})

    def _sign_in(self, params: SignInParams) -> bool | str:
        account, name = params.account or {}, params.user["name"]
        names = ("provider", "type", "providerAccountId")
        self.calls.append(f"signIn {name} {' '.join(str(account.get(key)) for key in names)}")
        if name == "judge":
            raise LookupError("no verdict today")
        verdicts: dict[str, bool | str] = {
            "refused": False,
            "elsewhere": "/welcome",
            "abroad": "https://evil.example/x",
        }
        return verdicts.get(name, True)

    def _jwt(self, params: JWTParams) -> JWT | None:
        name, trigger, update = params.token.get("name"), params.trigger, params.session
        present = [key for key in ("user", "account", "profile") if getattr(params, key) is not None]
        self.calls.append(" ".join(["jwt", str(name), trigger or "-", *present]))
        if (params.user is not None, name) in {(True, "broken"), (False, "failing")} or update == "fail":
            raise LookupError("the back end is down")
        if (params.user is not None, name) in {(True, "nobody"), (False, "gone")} or update == "end":
            return None
        if trigger == "update" and isinstance(update, dict) and "theme" in update:
            return {**params.token, "theme": update["theme"]}
        return params.token

    def _session(self, params: SessionParams) -> Session:
        self.calls.append(f"session {' '.join(sorted(params.session.user or {}))}")
        if params.token.get("name") == "unseen":
            raise LookupError("nothing to see")
        if "theme" in params.token:
            params.session["theme"] = params.token["theme"]
        return params.session

    def _told(self, name: str) -> Callable[[Event], None]:
        def told(event: Event) -> None:
            self.calls.append(f"event {name} {(event.user or event.token).get('name')}")

        return told


def _hub(request: httpx.Request) -> httpx.Response:
    """What stands behind the provider "hub": a code is good if it is somebody's name."""
    form = httpx.QueryParams(request.content.decode())
    name = form.get("code") or request.headers.get("authorization", "").removeprefix("Bearer access-")
    if name == "bad":
        return httpx.Response(400, json={"error": "invalid_grant"})
    if request.url.path == "/token":
        tokens = {"access_token": f"access-{name}", "refresh_token": f"refresh-{name}"}
        return httpx.Response(200, json={**tokens, "token_type": "Bearer", "expires_in": 3600})
    return httpx.Response(200, json={"id": f"hub-{name}", "name": name, "email": f"{name}@Example.com"})


def _redirect(params: RedirectParams) -> str:
    url, base_url = params.url, params.base_url
    if url.startswith("/throw"):
        raise LookupError("nowhere to go")
    if url.startswith("/go/"):
        return f"{base_url}/landing"
    if url.startswith("/"):
        return base_url + url
    return url if url.startswith(base_url) else base_url


@contextmanager
def our_servers() -> Iterator[dict[str, int]]:
    """One uvicorn that listens on a port for each dialect and world; gives the ports by "dialect world"."""
    with ExitStack() as stack:
        sockets = {f"{dialect} {world}": _listening(stack) for dialect in DIALECTS for world in WORLDS}
        ports: dict[str, int] = {name: listener.getsockname()[1] for name, listener in sockets.items()}
        apps = {port: World(*_split(name), port=port).app for name, port in ports.items()}
        config = uvicorn.Config(_by_port(apps), lifespan="off", ws="none", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": list(sockets.values())}, daemon=True)
        thread.start()
        try:
            began = time.monotonic()
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                assert time.monotonic() - began < PATIENCE
                time.sleep(0.01)
            yield ports
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
        assert not thread.is_alive(), "the server did not stop"


def _listening(stack: ExitStack) -> socket.socket:
    # With the protocol named: else asyncio leaves Nagle's algorithm on, at 40 ms an answer.
    listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP))
    listener.bind(("127.0.0.1", 0))
    return listener


def _split(name: str) -> tuple[Any, str]:
    dialect, _, world = name.partition(" ")
    return dialect, world


def _by_port(apps: Mapping[int, ASGIApp]) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Callable[[Message], Any]) -> None:
        await apps[scope["server"][1]](scope, receive, send)

    return application
