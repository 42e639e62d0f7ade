"""What no cookie of this kind can be cheaper than: base64, AES-GCM and JSON, called as directly as Python can."""

from __future__ import annotations

import binascii
import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
import pybase64
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .ours import FAST, PLAIN
from .peers import KEY
from .subject import Claims, Receive, Scope, Send, Subject, respond

READ = "floor: base64, AES-GCM and JSON of a cookie that is read"
WRITE = "floor: base64, AES-GCM and JSON of a cookie that is read and of one that is written"

_HEADER = binascii.b2a_base64(b'{"alg":"dir","enc":"A256GCM"}', newline=False)
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")


def floors(*, speed: bool) -> list[Subject]:
    """No session, no callbacks, no checks, no cache, no chunks, and no word to caches: nothing that could be left out."""
    aead = AESGCM(KEY)
    encode, decode, dumps, loads = _fast() if speed else _plain()

    def sealed(claims: Claims) -> bytes:
        iv = os.urandom(12)
        return b"session=" + encode(iv + aead.encrypt(iv, dumps(claims), _HEADER))

    def opened(scope: Scope) -> Claims:
        cookie = next(value for name, value in scope["headers"] if name == b"cookie")
        text = decode(cookie[8:])
        claims: Claims = loads(aead.decrypt(text[:12], text[12:], _HEADER))
        return claims

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, "email" in opened(scope))

    async def write(scope: Scope, receive: Receive, send: Send) -> None:
        claims = opened(scope)
        claims["visits"] = claims.get("visits", 0) + 1
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"1"), (b"set-cookie", sealed(claims))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"1"})

    def mint(claims: Claims) -> str:
        return sealed(claims).decode("ascii")

    suffix = FAST if speed else PLAIN
    return [
        Subject(name=READ + suffix, app=read, mint=mint, cookies="fresh"),
        Subject(name=WRITE + suffix, app=write, mint=mint, cookies="kept", writes=True),
    ]


def _plain() -> tuple[Callable[..., Any], ...]:
    return (
        lambda data: binascii.b2a_base64(data, newline=False).translate(_TO_URL),
        lambda text: binascii.a2b_base64(text.translate(_FROM_URL)),
        lambda claims: json.dumps(claims).encode(),
        json.loads,
    )


def _fast() -> tuple[Callable[..., Any], ...]:
    decode = partial(pybase64.b64decode, altchars=b"-_", validate=True)
    return partial(pybase64.b64encode, altchars=b"-_"), decode, orjson.dumps, orjson.loads
