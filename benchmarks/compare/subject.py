"""What is measured: an ASGI application behind a middleware, and the cookies that its browsers send."""

from __future__ import annotations

import hashlib
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Claims = dict[str, Any]
Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SECRET = "a secret of the benchmarks, long enough for everybody"
SIZES = {"0.3 KB": 307, "1.5 KB": 1536, "3.5 KB": 3584}  # bytes of claims as JSON
MIDDLE = "1.5 KB"  # the size that the budget is for

# What a browser sends with a fetch. All subjects get the same, and a cookie of their own.
_HEADERS = [
    (b"host", b"testserver"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"application/json"),
    (b"accept-language", b"en-GB,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"referer", b"https://testserver/dashboard"),
    (b"connection", b"keep-alive"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One row. ``cookies``: none; the same with every request; one that was never sent before (``fresh``); or, as a
    browser has it, the one that the last response set (``kept``).
    """

    name: str
    app: App
    mint: Callable[[Claims], str] | None = None  # the cookie header of somebody who signed in with these claims
    cookies: Literal["none", "same", "fresh", "kept"] = "same"
    writes: bool = False  # every response sets the cookie
    due: bool = False  # the access token is inside the margin
    begin: Callable[[Scope], Awaitable[None]] | None = None  # what has to happen before the first round
    close: Callable[[], Awaitable[None]] | None = None
    budget: float | None = None  # times Starlette's read, at 1.5 KB

    def cookie(self, claims: Claims) -> str:
        """The cookie header of a new session; "" for none."""
        return "" if self.mint is None or self.cookies == "none" else self.mint(claims)

    def expects(self) -> bytes:
        """The body of a right answer: whether the application saw somebody."""
        return b"0" if self.cookies == "none" else b"1"


def noise(seed: str, length: int) -> str:
    """Text like a token's: base64url, not compressible."""
    blocks = (hashlib.sha512(f"{seed} {number}".encode()).digest() for number in range(length // 64 + 1))
    return urlsafe_b64encode(b"".join(blocks)).decode()[:length]


def claims_of(size: int, *, session: int, due: bool = False) -> Claims:
    """The claims of one session, ``size`` bytes as compact JSON; all subjects carry the same ones."""
    issued_at = int(time.time()) - (1100 if due else 0)
    claims: Claims = {
        "name": "Ada Lovelace", "email": "ada@example.com", "sub": "4711", "provider": "credentials",
        "session_id": noise(f"session {session}", 43), "generation": 0, "signed_in_at": issued_at,
        "issued_at": issued_at, "expires_at": issued_at + (2000 if due else 7200),
        "refresh_token": noise(f"refresh {session}", 16), "access_token": "",
    }  # fmt: skip
    if size > 1000:
        claims |= {"picture": "https://example.com/a/42.png", "role": "editor", "teams": ["north", "west", "sales"]}
    room = size - len(json.dumps(claims, separators=(",", ":")))
    return claims | {"access_token": noise(f"access {session}", room)}


def scope_for(cookie: str) -> Scope:
    """A scope as uvicorn makes it."""
    headers = [*_HEADERS, (b"cookie", cookie.encode("ascii"))] if cookie else list(_HEADERS)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": headers,
        "state": {},
    }


async def respond(send: Send, seen: bool) -> None:
    """The answer of every application here: one byte, which says whether it saw somebody."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"1" if seen else b"0"})


async def receive() -> Message:
    """A request without a body."""
    return {"type": "http.request", "body": b"", "more_body": False}


def bare(*, seen: bool) -> App:
    """The application without any middleware."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, seen)

    return app


def kept(cookie: str, start: Mapping[str, Any]) -> str:
    """The cookie header of a browser that sent ``cookie`` and got this response."""
    jar = dict(pair.split("=", 1) for pair in cookie.split("; ")) if cookie else {}
    for name, value in start["headers"]:
        if name.lower() == b"set-cookie":
            key, _, rest = value.decode("ascii").partition("=")
            jar[key] = rest.partition(";")[0]
            if "max-age=0" in rest.lower():
                del jar[key]
    return "; ".join(f"{key}={value}" for key, value in jar.items())
