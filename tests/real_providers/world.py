"""A real server, and two workers of the application that share a store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx

from real_providers.browser import Browser, password_form
from real_providers.servers import CLIENT_ID, CLIENT_SECRET, PASSWORD, USERNAME, RealServer
from stores.redis_servers import free_port
from workers.processes import Process

SECRET = "the secret of both workers, long enough for everybody"
PATIENCE = 60.0  # seconds until the server has seen what it was sent

StartServer = Callable[[str, Path], AbstractContextManager[RealServer]]


@dataclass(frozen=True, slots=True)
class World:
    """``homes``: the workers' addresses. Users sign in at the first one; both know them afterwards."""

    server: RealServer
    homes: tuple[str, str]

    @property
    def home(self) -> str:
        """The public address."""
        return self.homes[0]

    async def begin(self, browser: Browser, provider: str) -> httpx.Response:
        """POST signin, and wherever that leads: the provider's form, or back home where it knows the user already."""
        fields = await self._csrf(browser)
        return await browser.post(f"{self.home}/api/auth/signin/{provider}", fields)

    async def sign_in(self, browser: Browser, provider: str = "staying") -> None:
        """Through the provider's forms."""
        page = await self.begin(browser, provider)
        assert password_form(page) is not None, f"no sign-in form at {page.url}: {page.text[:500]}"
        page = await browser.press(page, **{self.server.username_field: USERNAME, "password": PASSWORD})
        for _ in range(3):
            if self.is_home(page):
                break
            page = await browser.press(page, self.server.button)
        assert self.is_home(page), f"{page.status_code} at {page.url}: {page.text[:2000]}"

    async def sign_out(self, browser: Browser) -> httpx.Response:
        """POST signout, and wherever that leads."""
        return await browser.post(f"{self.home}/api/auth/signout", await self._csrf(browser))

    def is_home(self, page: httpx.Response) -> bool:
        """Whether that is the application's own page. Who comes from a provider's sign-out may bring a state along."""
        return str(page.url).partition("?")[0] == f"{self.home}/" and page.is_success

    async def refresh(self, refresh_token: str) -> tuple[int, dict[str, Any]]:
        """The server's answer to somebody else who has the refresh token and the client's secret."""
        async with Browser() as somebody:
            url = (await self.discovered(somebody))["token_endpoint"]
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            answer = await client.post(url, data=form, auth=_basic())
        return answer.status_code, answer.json()

    async def discovered(self, browser: Browser) -> dict[str, Any]:
        """The server's discovery document."""
        return await browser.json(f"{self.server.issuer}/.well-known/openid-configuration")

    async def leave_server(self, browser: Browser) -> None:
        """Sign out at the server itself, of which the browser tells the application nothing."""
        page = await browser.get((await self.discovered(browser))["end_session_endpoint"])
        page = await browser.press(page, self.server.button)
        assert page.is_success, f"{page.status_code} at {page.url}: {page.text[:500]}"

    async def seen(self, enough: Callable[[Any], bool]) -> None:
        """Wait until the server has seen that."""
        async with asyncio.timeout(PATIENCE):
            while not enough(await asyncio.to_thread(self.server.seen)):
                await asyncio.sleep(0.1)

    async def _csrf(self, browser: Browser) -> dict[str, str]:
        answer = await browser.json(f"{self.home}/api/auth/csrf")
        return {"csrfToken": answer["csrfToken"], "callbackUrl": f"{self.home}/"}


@asynccontextmanager
async def world(start: StartServer, folder: Path) -> AsyncIterator[World]:
    """The server first, which is told where the application will listen."""
    ports = (free_port(), free_port())
    first, second = (f"http://127.0.0.1:{port}" for port in ports)
    with start(first, folder) as server:
        environment = {
            "SECRET": SECRET,
            "STORE": f"sqlite:///{folder / 'sessions.db'}",
            "HOME_URL": first,
            "PROVIDER": json.dumps(server.options),
        }
        workers = [_worker(folder, port, environment) for port in ports]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                await worker.ready()
            yield World(server, (first, second))
        finally:
            for worker in workers:
                worker.kill()


def _worker(folder: Path, port: int, environment: dict[str, str]) -> Process:
    worker = Process("real_providers.application", f"worker-{port}", folder, **environment, PORT=str(port))
    worker.port = port
    return worker


def _basic() -> httpx.BasicAuth:
    """Both parts form-encoded first (RFC 6749, 2.3.1)."""
    return httpx.BasicAuth(quote_plus(CLIENT_ID), quote_plus(CLIENT_SECRET))
