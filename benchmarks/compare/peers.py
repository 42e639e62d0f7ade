"""The others, each as its own documentation sets it up. What is not installed is left out, and named."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from .subject import SECRET, App, Claims, Receive, Scope, Send, Subject, bare, respond

STARLETTE_READ = "Starlette SessionMiddleware, read"
STARLETTE_WRITE = "Starlette SessionMiddleware, read and write"
EMPTY = "BaseHTTPMiddleware, empty"
KEY = hashlib.sha256(SECRET.encode()).digest()
NEEDS = {"starsessions": "starsessions", "litestar": "litestar", "joserfc": "joserfc", "jwcrypto": "jwcrypto"}


def missing() -> list[str]:
    """Peers that are not installed here."""
    return [name for name in NEEDS if importlib.util.find_spec(name) is None]


def peers() -> list[Subject]:
    """Every peer that is installed."""
    makers = {"starsessions": _starsessions, "litestar": _litestar, "joserfc": _joserfc, "jwcrypto": _jwcrypto}
    absent = missing()
    return [*_starlette(), _empty(), *(make() for name, make in makers.items() if name not in absent)]


def _starlette() -> list[Subject]:
    from itsdangerous import TimestampSigner
    from starlette.middleware.sessions import SessionMiddleware

    signer = TimestampSigner(SECRET)

    def mint(claims: Claims) -> str:
        return "session=" + signer.sign(b64encode(json.dumps(claims).encode())).decode()

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"].mark_accessed()  # as request.session does
        await respond(send, "email" in scope["session"])

    async def write(scope: Scope, receive: Receive, send: Send) -> None:
        session = scope["session"]
        session["visits"] = session.get("visits", 0) + 1
        await respond(send, "email" in session)

    return [
        Subject(name=STARLETTE_READ, app=SessionMiddleware(read, SECRET), mint=mint),  # type: ignore[arg-type]
        Subject(name=STARLETTE_WRITE, app=SessionMiddleware(write, SECRET), mint=mint, cookies="kept", writes=True),  # type: ignore[arg-type]
    ]


def _empty() -> Subject:
    from starlette.middleware.base import BaseHTTPMiddleware

    async def dispatch(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app: Any = BaseHTTPMiddleware(bare(seen=False), dispatch=dispatch)  # type: ignore[arg-type]
    return Subject(name=EMPTY, app=app, cookies="none")


class _Encrypted:
    """What starsessions calls a serializer, with AES-GCM in it: the package itself only signs."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(KEY)

    def serialize(self, data: Any) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, json.dumps(data).encode(), None)

    def deserialize(self, data: bytes) -> dict[str, Any]:
        session: dict[str, Any] = json.loads(self._cipher.decrypt(data[:12], data[12:], None)) if data else {}
        return session


def _starsessions() -> Subject:
    from itsdangerous import TimestampSigner
    from starsessions import CookieStore, SessionAutoloadMiddleware, SessionMiddleware

    serializer, signer = _Encrypted(), TimestampSigner(SECRET)

    def mint(claims: Claims) -> str:
        return "session=" + signer.sign(b64encode(serializer.serialize(claims))).decode()

    app: Any = SessionMiddleware(
        SessionAutoloadMiddleware(_reads),  # type: ignore[arg-type]
        CookieStore(SECRET),
        lifetime=14 * 86_400,
        cookie_https_only=False,
        serializer=serializer,  # type: ignore[arg-type]
    )
    return Subject(name="starsessions, AES-GCM cookie", app=app, mint=mint, cookies="kept", writes=True)


def _litestar() -> Subject:
    from litestar import Litestar, get
    from litestar.middleware.session import SessionMiddleware
    from litestar.middleware.session.client_side import ClientSideSessionBackend, CookieBackendConfig

    backend = ClientSideSessionBackend(CookieBackendConfig(secret=KEY))
    middleware = SessionMiddleware(_reads, backend)  # type: ignore[arg-type]

    @get("/", sync_to_thread=False)
    def handler() -> None:
        pass

    litestar = Litestar([handler], logging_config=None)
    found = {"litestar_app": litestar, "route_handler": litestar.routes[0].route_handlers[0]}  # type: ignore[union-attr]

    def mint(claims: Claims) -> str:
        chunks = [chunk.decode() for chunk in backend.dump_data(claims)]
        names = ["session"] if len(chunks) == 1 else [f"session-{number}" for number in range(len(chunks))]
        return "; ".join(f"{name}={chunk}" for name, chunk in zip(names, chunks, strict=True))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope.update(found)  # as Litestar itself does; the middleware asks them for their serializer
        await middleware(scope, receive, send)  # type: ignore[arg-type]

    return Subject(name="Litestar client-side session", app=app, mint=mint, cookies="kept", writes=True)


def _joserfc() -> Subject:
    from joserfc import jwe
    from joserfc.jwk import OctKey

    key = OctKey.import_key(KEY)

    def mint(claims: Claims) -> str:
        now = int(time.time())
        text = json.dumps(claims | {"iat": now, "exp": now + 86_400}).encode()
        return "session=" + jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, text, key)

    def opened(token: str) -> bytes:
        return jwe.decrypt_compact(token, key).plaintext or b""

    return Subject(name="joserfc, JWE decode, key derived once", app=_decoding(opened), mint=mint)


def _jwcrypto() -> Subject:
    from jwcrypto import jwe, jwk

    key = jwk.JWK(kty="oct", k=b64encode(KEY).decode().translate(str.maketrans("+/", "-_")).rstrip("="))

    def mint(claims: Claims) -> str:
        now = int(time.time())
        text = json.dumps(claims | {"iat": now, "exp": now + 86_400}).encode()
        token = jwe.JWE(text, json.dumps({"alg": "dir", "enc": "A256GCM"}))
        token.add_recipient(key)
        return f"session={token.serialize(compact=True)}"

    def opened(token: str) -> bytes:
        read = jwe.JWE()
        read.deserialize(token, key)
        text: bytes = read.payload
        return text

    return Subject(name="jwcrypto, JWE decode, key derived once", app=_decoding(opened), mint=mint)


def _decoding(opened: Callable[[str], bytes]) -> App:
    """The least that an application would write around a JOSE library: find, open, parse, judge the expiry."""
    from starlette.requests import HTTPConnection

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        claims = json.loads(opened(HTTPConnection(scope).cookies["session"]))
        scope["session"] = claims if claims["exp"] > time.time() else {}
        await _reads(scope, receive, send)

    return app


async def _reads(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, "email" in scope["session"])
