"""A browser: its jar, and what it does over HTTP/1.1, HTTP/2 or a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

from chaos.jar import Jar
from matrix.process import HOST

PATIENCE = 30.0  # seconds for one answer
SESSION = "session-token"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``cookies``: the lines of ``set-cookie``."""

    status: int
    body: bytes
    cookies: list[str]
    headers: Mapping[str, str]

    @property
    def content(self) -> Any:
        """Its JSON."""
        assert self.status == 200, (self.status, self.body[:500])
        return json.loads(self.body)

    @property
    def wrote(self) -> int:
        """In how many lines it writes a session cookie; 0 where it leaves or clears it."""
        return sum(SESSION in line.partition("=")[0] and "Max-Age=0" not in line for line in self.cookies)


class Browser:
    """One cookie jar on one site, and a connection for each request.

    ``origin``: what it believes the site's address to be, where a proxy stands before it.
    """

    def __init__(self, port: int, *, http2: bool = False, origin: str | None = None, cookies: str = "") -> None:
        self.jar = Jar()
        self.jar.take(cookies.split("; ") if cookies else ())
        self._options = {"http2": http2, "origin": origin}
        self._port = port
        self._address = f"{HOST}:{port}"
        self.origin = origin or f"http://{self._address}"
        self._http2 = http2
        self._shared: httpx.AsyncHTTPTransport | None = None

    def at(self, port: int, **options: Any) -> Browser:
        """Another connection with the cookies of this one, whose jar goes its own way from now on."""
        return Browser(port, **{**self._options, **options}, cookies=self.jar.header)

    @asynccontextmanager
    async def tabs(self, number: int, *, shared: bool = True) -> AsyncIterator[list[Browser]]:
        """So many copies. ``shared``: with one HTTP/2 connection for all requests in the block, as a browser's tabs have."""
        copies = [self.at(self._port) for _ in range(number)]
        async with self._transport() as transport:
            for copy in copies:
                copy._shared = transport if shared and self._http2 else None
            yield copies
        for copy in copies:
            copy._shared = None

    async def get(self, path: str) -> Answer:
        """One request; its answer's cookies are kept."""
        return await self._exchange("GET", path, b"")

    async def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """A form, sent by the site's own script as next-auth's client does."""
        return await self._exchange("POST", path, urlencode(form).encode())

    async def leave(self, path: str, *, when: Awaitable[object]) -> None:
        """A request that the browser gives up, its connection closed, once that has happened."""
        asking = asyncio.ensure_future(self._exchange("GET", path, b""))
        done, _ = await asyncio.wait({asking, asyncio.ensure_future(when)}, return_when=asyncio.FIRST_COMPLETED)
        assert asking not in done, "answered before the browser could leave"
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking

    async def socket(self, path: str) -> tuple[Any, list[str]]:
        """The first message of a WebSocket, and the cookies that came with its handshake. OSError: it was refused."""
        headers = {"cookie": self.jar.header} if self.jar.header else {}
        url = f"ws://{self._address}{path}"
        try:
            async with asyncio.timeout(PATIENCE):
                async with connect(
                    url, additional_headers=headers, origin=self.origin, proxy=None, ping_interval=None
                ) as websocket:
                    message = json.loads(await websocket.recv())
                    assert websocket.response is not None
                    cookies = websocket.response.headers.get_all("set-cookie")
        except InvalidHandshake as error:
            raise ConnectionRefusedError(str(error)) from error
        self.jar.take(cookies)
        return message, cookies

    async def _exchange(self, method: str, path: str, body: bytes) -> Answer:
        request = httpx.Request(method, f"http://{self._address}{path}", headers=self._headers(body), content=body)
        async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE):
            transport = self._shared or await stack.enter_async_context(self._transport())
            response = await transport.handle_async_request(request)
            content = await response.aread()
            await response.aclose()
        cookies = response.headers.get_list("set-cookie")
        self.jar.take(cookies)
        return Answer(response.status_code, content, cookies, response.headers)

    def _transport(self) -> httpx.AsyncHTTPTransport:
        # Without TLS there is nothing to verify, and loading the certificates costs more than the request.
        return httpx.AsyncHTTPTransport(verify=False, http1=not self._http2, http2=self._http2, trust_env=False)

    def _headers(self, body: bytes) -> list[tuple[str, str]]:
        headers = [("host", urlsplit(self.origin).netloc)]
        if self.jar.header:
            # RFC 9113, 8.2.3: over HTTP/2 browsers send each cookie as a header of its own.
            crumbs = self.jar.header.split("; ") if self._http2 else [self.jar.header]
            headers += [("cookie", crumb) for crumb in crumbs]
        if body:
            headers += [("origin", self.origin), ("x-auth-return-redirect", "1")]
            headers.append(("content-type", "application/x-www-form-urlencoded"))
        return headers
