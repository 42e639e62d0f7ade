"""What ends at the provider with a session: the newest tokens, wherever they are."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx

from asgi_token_rotation import TokenRotation, TokenRotationMiddleware
from asgi_token_rotation.stores import MemoryStore
from asgi_token_rotation.testing import Clock, TokenServer
from endpoints.browser import SECRET, application
from endpoints.idp import Visitor, idp
from rig import until


class Workers:
    """Two workers that share a store, and one browser that is sent to either."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.clock = Clock()
        self.server = TokenServer(clock=self.clock)
        self.stack = stack
        self.store = MemoryStore(clock=self.clock)
        self.rotations: list[TokenRotation] = []

    async def visitor(self, jar: httpx.Cookies | None = None) -> Visitor:
        """The browser at a worker of its own."""
        client = await self.stack.enter_async_context(self.server.client())
        options: dict[str, Any] = {"providers": [idp()], "http_client": client, "clock": self.clock}
        rotation = TokenRotation(secret=SECRET, store=self.store, **options)
        self.rotations.append(rotation)
        transport = httpx.ASGITransport(TokenRotationMiddleware(application, rotation=rotation))
        web = httpx.AsyncClient(transport=transport, base_url="http://testserver", cookies=jar)
        return Visitor(await self.stack.enter_async_context(web), client)


async def test_tokens_that_come_after_the_end_are_revoked() -> None:
    """R5, S1: a refresh that ends after the sign-out leaves no living grant: what it brought is revoked, and so is what it spent."""
    async with AsyncExitStack() as stack:
        workers = Workers(stack)
        visitor = await workers.visitor()
        await visitor.arrive()
        workers.clock.advance(301)
        workers.server.hold("after")
        request = asyncio.create_task(visitor.get("/me"))
        await workers.server.arrived()
        await visitor.post("signout")
        workers.server.release()
        await request
        await until(lambda: sorted(workers.server.revoked) == ["1-0", "1-1"], seconds=30)

        assert await visitor.session() is None


async def test_the_newest_tokens_are_revoked() -> None:
    """S1: a sign-out with a cookie that missed a rotation by another worker revokes the newest refresh token."""
    async with AsyncExitStack() as stack:
        workers = Workers(stack)
        first = await workers.visitor()
        await first.arrive()
        old = httpx.Cookies(first.client.cookies)
        workers.clock.advance(301)
        await first.get("/me")
        second = await workers.visitor(old)
        await second.post("signout")
        await until(lambda: len(workers.server.revoked) == 1, seconds=30)

        assert workers.server.revoked == ["1-1"]


async def test_a_replaced_session_is_left_alone() -> None:
    """A refresh that ends after its session was replaced is not revoked: the new session may live by the same grant."""
    async with AsyncExitStack() as stack:
        workers = Workers(stack)
        visitor = await workers.visitor()
        await visitor.arrive()
        workers.clock.advance(301)
        workers.server.hold("after")
        request = asyncio.create_task(visitor.get("/me"))
        await workers.server.arrived()
        await visitor.arrive()
        workers.server.release()
        await request
        for rotation in workers.rotations:
            await rotation.drain()

        assert workers.server.revoked == []
        assert (await visitor.session())["user"]["name"] == "Ada"
