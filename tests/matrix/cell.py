"""One framework on one server: its token server, its processes and its sessions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from asgi_token_rotation.testing import TokenServer, session_cookie
from matrix.browser import Browser
from matrix.frameworks import Framework
from matrix.journal import Count, count, refresh_token_in
from matrix.process import Process, free_port, python, python_path
from matrix.servers import Server

SECRET = "the secret of the whole matrix, long enough for everybody"
CREDENTIALS = {"username": "ada", "password": "lovelace"}
ADA = {"name": "Ada", "email": "ada@example.com"}
HOUR = 3600.0  # seconds
STARTS = 3  # attempts, since a free port may be taken before the server takes it


class Cell:
    """What the checks of one framework on one server share."""

    def __init__(
        self, framework: Framework, server: Server, *, tokens: TokenServer, address: str, folder: Path
    ) -> None:
        self.framework = framework
        self.server = server
        self.tokens = tokens
        self._address = address
        self.folder = folder
        self._sessions: list[tuple[str, Browser]] = []

    @asynccontextmanager
    async def serving(
        self, *, prefix: str | None = None, public_url: str | None = None, module: str | None = None
    ) -> AsyncIterator[Process]:
        """The application on the server, with the store that this cell always has."""
        process = await self._started(prefix=prefix, public_url=public_url, module=module or self._module)
        try:
            yield process
        finally:
            process.kill()

    async def signed_in(self, port: int, *, valid_for: float = -1.0, **options: Any) -> Browser:
        """A browser that signed in an hour ago, and whose access token expires in so many seconds."""
        claims: Mapping[str, Any] | None = options.pop("claims", None)
        answer = await self.tokens.authorize(CREDENTIALS)
        assert answer is not None
        assert answer.tokens is not None
        now = time.time()
        tokens = answer.tokens.__class__(
            access_token=answer.tokens.access_token,
            refresh_token=answer.tokens.refresh_token,
            expires_at=now + valid_for,
        )
        secure = str(options.get("origin") or "").startswith("https:")
        cookies = session_cookie(
            secret=SECRET, user=answer.user, tokens=tokens, claims=claims, secure=secure, clock=lambda: now - HOUR
        )
        text = "; ".join(f"{name}={value}" for name, value in cookies.items())
        browser = Browser(port, http2=self.server.http2, cookies=text, **options)
        await self.keep(browser)
        return browser

    async def keep(self, browser: Browser) -> None:
        """Count this browser's session: at the end it must hold the newest tokens."""
        name = await self.name_held(browser)
        assert name is not None
        self._sessions.append((self.family(name), browser))

    def moved(self, old: Browser, new: Browser) -> None:
        """The session goes on in another browser object."""
        self._sessions = [(family, new if browser is old else browser) for family, browser in self._sessions]

    def ended(self, browser: Browser) -> None:
        """It has signed out."""
        self._sessions = [(family, kept) for family, kept in self._sessions if kept is not browser]

    async def name_held(self, browser: Browser) -> str | None:
        """The token server's name for the refresh token in the browser's cookie."""
        token = await refresh_token_in(browser.jar.header, secret=SECRET, origin=browser.origin)
        return None if token is None else self.tokens.name_of(token)

    def sends(self, browser: Browser) -> list[str]:
        """The refresh tokens of that browser's family that came, in their order."""
        (family,) = (family for family, kept in self._sessions if kept is browser)
        return [name for name, _ in self.tokens.received if self.family(name) == family]

    async def count(self) -> Count:
        """What became of all tokens."""
        held = {family: await self.name_held(browser) for family, browser in self._sessions}
        return count((name for name, _ in self.tokens.received), held)

    @staticmethod
    def family(name: str) -> str:
        """The family in a refresh token's name."""
        return name.rpartition("-")[0]

    @property
    def _module(self) -> str:
        # Where no lifespan comes, the application waits for refreshes under way by the server's own means.
        return self.framework.module if self.server.lifespan else "on_daphne"

    async def _started(self, *, prefix: str | None, public_url: str | None, module: str) -> Process:
        environment = {
            "PYTHONPATH": python_path(),
            "API_URL": self._address,
            "AUTH_SECRET": SECRET,
            "AUTH_STORE": f"sqlite:///{self.folder / 'sessions.db'}",
            "MATRIX_APPLICATION": self.framework.module,
        }
        if public_url is not None:
            environment["AUTH_URL"] = public_url
        for _ in range(STARTS):
            port = free_port()
            command = self.server.command(f"matrix.applications.{module}:app", port=port, prefix=prefix)
            process = Process(python(*command), self.folder / "output", port=port, environment=environment)
            try:
                if await process.ready():
                    return process
            except BaseException:
                process.kill()
                raise
        raise AssertionError(f"The server does not start:\n{process.said()}")
