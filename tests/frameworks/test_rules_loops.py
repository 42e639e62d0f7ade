"""ASGI's rules about event loops, the lifespan and context variables."""

from __future__ import annotations

import ast
import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from asgi import Lifespan, request, running, set_cookies
from asgi_token_rotation import TokenRotation, TokenRotationMiddleware
from asgi_token_rotation._lifespan import lifespan
from asgi_token_rotation.stores import MemoryStore
from asgi_token_rotation.testing import session_cookie
from asgi_token_rotation.types import ASGIApp, Message, Receive, Scope, Send
from frameworks.applications import SECRET, World, plain
from frameworks.browser import user_in

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src" / "asgi_token_rotation"
ADA = "ada@example.com"


def cookie_header(world: World) -> dict[str, str]:
    """The Cookie header of somebody who has just signed in, made in a loop of its own."""
    answer = asyncio.run(world.server.authorize({"username": "ada", "password": "lovelace"}))
    assert answer is not None
    cookies = session_cookie(secret=SECRET, user=answer.user, tokens=answer.tokens, clock=world.clock)
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


def next_cookie(messages: list[Message]) -> dict[str, str]:
    """The Cookie header after this response."""
    assert user_in(messages[1]["body"]) == ADA
    (line,) = set_cookies(messages[0])
    return {"cookie": line.partition(";")[0]}


@pytest.mark.parametrize("store", ["memory://", "sqlite:///"])
def test_a_new_loop_for_each_request(store: str, tmp_path: Path) -> None:
    """ASGI R21: made outside of any loop, it refreshes in one loop after the other, as test clients and scripts do it."""
    world = World()
    header = cookie_header(world)
    url = store if store == "memory://" else f"{store}{tmp_path}/records.db"
    app = TokenRotationMiddleware(plain(world), **world.options(store=url))
    for rotations in range(1, 4):
        world.clock.advance(301)
        header = next_cookie(asyncio.run(request(app, "/me", header)))
        assert world.server.rotations == rotations
    assert world.server.reuses == 0
    asyncio.run(app.rotation.aclose())


def test_loops_in_two_threads_share_one_runtime() -> None:
    """ASGI R21: two live loops refresh one session at the same time: nobody hangs, and one refresh token is spent once."""
    world = World()
    header = cookie_header(world)
    world.clock.advance(301)
    world.server.latency = 0.02
    app = TokenRotationMiddleware(plain(world), **world.options())

    async def some() -> list[list[Message]]:
        return await asyncio.gather(*(request(app, "/me", header) for _ in range(10)))

    with ThreadPoolExecutor(2) as threads:
        answers = [
            messages for done in [threads.submit(asyncio.run, some()) for _ in range(2)] for messages in done.result()
        ]
    assert [user_in(messages[1]["body"]) for messages in answers] == [ADA] * 20
    assert (world.server.refresh_calls, world.server.reuses) == (1, 0)


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts file descriptors as Linux shows them")
@pytest.mark.parametrize("store", ["memory://", "sqlite:///"])
def test_loops_that_have_ended_leave_nothing_open(store: str, tmp_path: Path) -> None:
    """ASGI R22: what a runtime keeps for a loop ends with it: after twenty loops no more files are open than after two."""
    world = World()
    header = cookie_header(world)
    url = store if store == "memory://" else f"{store}{tmp_path}/records.db"
    app = TokenRotationMiddleware(plain(world), **world.options(store=url))
    counts: list[int] = []
    for _ in range(20):
        world.clock.advance(301)
        header = next_cookie(asyncio.run(request(app, "/me", header)))
        counts.append(open_files())
    assert counts[-1] == counts[1]
    asyncio.run(app.rotation.aclose())


async def test_our_own_failing_shutdown_is_not_the_applications(caplog: pytest.LogCaptureFixture) -> None:
    """ASGI R23: what fails in our own shutdown is logged once, and the server hears how the application's went."""
    order: list[str] = []

    async def failing() -> bool:
        order.append("ours")
        raise OSError("a store that can't be closed")

    async def let_go() -> None:
        await failing()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await lifespan(plain(world), scope, receive, send, drain=failing, shutdown=let_go, let_go=let_go)

    world = World(lifespans=order)
    with caplog.at_level(logging.ERROR, logger="asgi_token_rotation"):
        async with running(app) as server:
            assert await server.say("shutdown") == {"type": "lifespan.shutdown.complete"}
    assert order == ["startup", "ours", "shutdown", "ours"]
    assert [("OSError" in message, "can't be closed" in message) for message in caplog.messages] == [(True, False)] * 2


@pytest.mark.parametrize("phase", ["startup", "shutdown"])
async def test_a_framework_that_reports_a_failure_and_raises_is_closed_once(phase: str) -> None:
    """ASGI R23: Starlette reports a failed lifespan and raises as well: both reach the server, and ours ends once."""
    closed: list[str] = []

    @asynccontextmanager
    async def broken(_: Any) -> AsyncIterator[None]:
        if phase == "startup":
            raise LookupError("no database")
        yield
        raise LookupError("no database any more")

    async def close() -> None:
        closed.append("ours")

    async def drain() -> bool:
        await close()
        return True

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await lifespan(Starlette(lifespan=broken), scope, receive, send, drain=drain, shutdown=close, let_go=close)

    server = Lifespan(app)
    if phase == "shutdown":
        assert await server.say("startup") == {"type": "lifespan.startup.complete"}
    assert (await server.say(phase))["type"] == f"lifespan.{phase}.failed"
    with pytest.raises(LookupError, match="no database"):
        await server.task
    assert closed == ["ours"] * (1 if phase == "startup" else 2)  # at a shutdown refreshes are waited for first


async def test_a_start_up_asks_nobody() -> None:
    """ASGI R23: there is no start-up of ours that could fail: the first thing that happens is the application's own."""
    order: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        order.append("called")
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    server = Lifespan(TokenRotationMiddleware(app, secret=SECRET, store="redis://127.0.0.1:1/0"))
    assert await server.say("startup") == {"type": "lifespan.startup.failed", "message": "no database"}
    await server.task
    assert order == ["called"]


def test_making_it_opens_nothing(tmp_path: Path) -> None:
    """ASGI R24: options are checked without I/O, so that nothing has to be started where no lifespan comes."""
    path = tmp_path / "records.db"
    TokenRotation(secret=SECRET, store=f"sqlite:///{path}")
    TokenRotation(secret=SECRET, store="redis://127.0.0.1:1/0")
    assert not path.exists()


async def test_httpx_transport_brings_no_lifespan() -> None:
    """ASGI R24: through httpx's ASGITransport, which knows no lifespan, a session is refreshed and closed by aclose."""
    world = World()
    app = TokenRotationMiddleware(plain(world), **world.options(store=MemoryStore(clock=world.clock)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        await client.get("/login")
        world.clock.advance(301)
        assert user_in((await client.get("/me")).json()) == ADA
    await app.rotation.aclose()
    assert (world.server.refresh_calls, world.lifespans) == (1, [])


def test_asyncio_only_is_said() -> None:
    """ASGI R25: the README says that asyncio and uvloop work, and trio does not."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert "asyncio (or uvloop)" in text
    assert "not trio" in text


def names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "contextvars":
            yield f"contextvars.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "contextvars":
            yield from (f"contextvars.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Name | ast.Attribute) and "ContextVar" in ast.unparse(node):
            yield ast.unparse(node)


def test_no_context_variable() -> None:
    """ASGI R26: uvicorn leaks context variables between requests, so we have none; the one context is a refresh's own."""
    found = {name for file in SOURCE.rglob("*.py") for name in names_in(ast.parse(file.read_text("utf-8")))}
    assert found == {"contextvars.Context"}


async def test_a_context_that_requests_share_mixes_nobody_up() -> None:
    """ASGI R26: two requests that a server runs in one leaked context see each his own session."""
    world = World()
    header = {"ada": await signed_in(world, "ada"), "bob": await signed_in(world, "bob")}
    app: ASGIApp = TokenRotationMiddleware(plain(world), **world.options())
    for name in ("ada", "bob", "ada"):  # one after the other in this test's own context
        assert user_in((await request(app, "/me", header[name]))[1]["body"]) == f"{name}@example.com"
    assert user_in((await request(app, "/me"))[1]["body"]) is None


async def signed_in(world: World, username: str) -> dict[str, str]:
    password = {"ada": "lovelace", "bob": "the builder"}[username]
    answer = await world.server.authorize({"username": username, "password": password})
    assert answer is not None
    cookies = session_cookie(secret=SECRET, user=answer.user, tokens=answer.tokens, clock=world.clock)
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
