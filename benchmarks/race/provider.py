"""A provider whose refresh tokens are good for one use; as far away as providers are."""

from __future__ import annotations

import asyncio
import secrets
from random import Random
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

LIFETIME = 300  # seconds, of an access token
LATENCY = (0.005, 0.025)  # seconds, each way


class Provider:
    """An ASGI application: a token endpoint for the grants ``password`` and ``refresh_token``.

    A refresh token that comes twice is ``invalid_grant``; with ``revokes`` so is from then on its whole family
    (RFC 9700, 4.14.2).
    """

    def __init__(self, *, revokes: bool, seed: int) -> None:
        self.refresh_calls = 0
        self._revokes = revokes
        self._random = Random(seed)
        self._families: dict[str, int] = {}  # by refresh token, spent ones too
        self._good: dict[int, str] = {}  # the one refresh token of a family that is good

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        form = dict(parse_qsl((await Request(scope, receive).body()).decode("ascii")))
        await asyncio.sleep(self._random.uniform(*LATENCY))
        response = self._answer(form)
        await asyncio.sleep(self._random.uniform(*LATENCY))
        await response(scope, receive, send)

    def _answer(self, form: dict[str, str]) -> Response:
        if form["grant_type"] == "password":
            return self._issue(len(self._good))
        self.refresh_calls += 1
        token = form["refresh_token"]
        family = self._families[token]
        if self._good[family] == token:
            return self._issue(family)
        if self._revokes:
            self._good[family] = ""
        return JSONResponse({"error": "invalid_grant"}, status_code=400)

    def _issue(self, family: int) -> Response:
        token = secrets.token_urlsafe()
        self._families[token] = family
        self._good[family] = token
        answer = {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "expires_in": LIFETIME}
        return JSONResponse({**answer, "refresh_token": token})
