"""HTTP to providers: bounded, without redirects, by a client for each event loop or by the one that was handed in."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, Protocol, cast

import httpx

from .._loops import PerLoop, closed_with_loop
from ..errors import RefreshUnavailableError

MAX_ANSWER: Final = 64 * 1024  # bytes, decompressed
_POOL: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30)


class Response(Protocol):
    """What of an answer is used, while its body arrives."""

    @property
    def status_code(self) -> int:
        """The status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, found by their name in any case."""
        ...

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The body, decompressed, piece by piece."""
        ...


class Client(Protocol):
    """What of a client is used: httpx.AsyncClient has it, httpx2's too, and whatever is of their shape."""

    def stream(self, method: str, url: str, **options: Any) -> AbstractAsyncContextManager[Response]:
        """Send a request, and hold its answer open."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to a provider. No repr shows what it holds."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whole, with the names that ``judge`` looks for."""

    status_code: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


class AnswerError(Exception):
    """An answer that says no. ``providers.base.judge`` knows what it means by its ``response``."""

    def __init__(self, response: Answer) -> None:
        super().__init__(f"The provider answered {response.status_code}.")
        self.response = response


class AnswerTooLongError(RefreshUnavailableError):
    """An answer that is longer than any that makes sense; it was not read to its end."""


class ProviderHttp:
    """Asks providers. The caller bounds the time of a call; ``timeout`` (seconds) bounds each step of it.

    Without a client of the application's, one is made for each event loop when it is first needed, and closed with the
    loop, or earlier by ``aclose``. All share one TLS context, which takes too long to make on the loop.
    """

    def __init__(self, client: Any = None, *, timeout: float) -> None:
        self._given = cast("Client | None", client)
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None
        self._own = PerLoop(self._opened)

    async def ask(self, request: Request) -> Answer:
        """The answer, whatever its status. Raises the client's own errors; AnswerTooLongError if it is too long."""
        client = self._given or await self._of_this_loop()
        options: dict[str, Any] = {} if request.form is None else {"data": dict(request.form)}
        headers = {"accept": "application/json", "accept-encoding": "identity", **request.headers}
        content = bytearray()
        # auth=None: a client's own credentials, or those of a .netrc file, are not for this server.
        async with client.stream(
            request.method,
            request.url,
            headers=headers,
            auth=None,
            follow_redirects=False,
            timeout=self._timeout,
            **options,
        ) as response:
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > MAX_ANSWER:
                    raise AnswerTooLongError(f"The provider's answer is longer than {MAX_ANSWER} bytes.")
            return Answer(response.status_code, response.headers, bytes(content))

    async def aclose(self) -> None:
        """Close what was made for the running loop. A client that was handed in is its owner's to close."""
        own = self._own.drop()
        if own is not None:
            await own.aclose()

    async def _of_this_loop(self) -> Client:
        if self._tls is None:
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        return self._own.get().client

    def _opened(self) -> _OwnClient:
        assert self._tls is not None  # noqa: S101 made before the first client
        return _OwnClient(self._tls)


class _OwnClient:
    def __init__(self, tls: ssl.SSLContext) -> None:
        # Without cookies: what a provider sets in one user's call must not go along with another's.
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        client = httpx.AsyncClient(verify=tls, limits=_POOL, cookies=no_cookies)
        self.client = cast("Client", client)
        self._guard: AsyncGenerator[None] = closed_with_loop(client.aclose)

    async def aclose(self) -> None:
        await self._guard.aclose()
