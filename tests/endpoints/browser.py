"""A browser in front of the real middleware: cookies in a jar, forms and scripts as NextAuth's clients send them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from asgi_token_rotation import Credentials, SignIn, TokenRotationMiddleware, TokenSet, get_session
from asgi_token_rotation.types import Message, Receive, Scope, Send

SECRET = "an-old-secret-of-forty-characters-0123456"
SCRIPT = {"X-Auth-Return-Redirect": "1"}
ALICE = {"username": "alice", "password": "right"}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers what it knows of the session."""
    body = json.dumps({"path": scope["path"], "session": get_session(scope)}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


async def authorize(credentials: Mapping[str, str]) -> SignIn | None:
    """Knows alice."""
    if dict(credentials) != ALICE:
        return None
    tokens = TokenSet("access-1", "refresh-1", scope="all", extra={"tenant": "blue"})
    return SignIn(user={"id": 7, "name": "Alice", "email": "a@example.com"}, tokens=tokens)


def middleware(**options: Any) -> TokenRotationMiddleware:
    """The middleware, with alice's provider where the options name none."""
    return TokenRotationMiddleware(
        application, **{"secret": SECRET, "providers": [Credentials(authorize=authorize)], **options}
    )


class Browser:
    """What a person, or NextAuth's client in his browser, does."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.get = client.get
        self.request = client.request

    async def csrf(self) -> str:
        """The token for forms."""
        return str((await self.get("/api/auth/csrf")).json()["csrfToken"])

    async def post(self, action: str, *, script: bool = True, **fields: Any) -> httpx.Response:
        """A form with its CSRF token, sent by a script (v5's header) or by the browser itself."""
        form = {"csrfToken": await self.csrf(), **fields}
        return await self.client.post(f"/api/auth/{action}", data=form, headers=SCRIPT if script else {})

    async def post_json(self, action: str, content: Any, **headers: str) -> httpx.Response:
        """JSON, as text or as a value; NaN and lone surrogates go out as they are."""
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        return await self.client.post(
            f"/api/auth/{action}", content=text, headers={"content-type": "application/json", **headers}
        )

    async def sign_in(self, **fields: Any) -> httpx.Response:
        """As alice."""
        return await self.post("callback/credentials", **{**ALICE, **fields})

    async def session(self) -> Any:
        """What GET session answers."""
        response = await self.get("/api/auth/session")
        assert response.status_code == 200
        return response.json()


@asynccontextmanager
async def browsing(
    *, at: str = "http://testserver", headers: Mapping[str, str] | None = None, **options: Any
) -> AsyncIterator[Browser]:
    """A browser at an application with these options."""
    transport = httpx.ASGITransport(middleware(**options))
    async with httpx.AsyncClient(transport=transport, base_url=at, headers=headers) as client:
        yield Browser(client)


def set_cookies(response: httpx.Response) -> dict[str, str]:
    """The ``Set-Cookie`` lines by the cookie's name."""
    lines = response.headers.get_list("set-cookie")
    assert len({line.partition("=")[0] for line in lines}) == len(lines), lines
    return {line.partition("=")[0]: line for line in lines}


def scope_of(path: str, *, method: str = "GET", **more: Any) -> Scope:
    """A bare ASGI scope, for what httpx can't say."""
    headers = [(b"host", b"testserver"), *more.pop("headers", [])]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": headers,
        "scheme": "http",
        **more,
    }


async def run(scope: Scope, *messages: Message, **options: Any) -> list[Message]:
    """What the middleware sends for a scope and the messages of its client."""
    sent: list[Message] = []
    queue = list(messages) or [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        return queue.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await middleware(**options)(scope, receive, send)
    return sent
