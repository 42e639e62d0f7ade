from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect

from asgi_token_rotation.types import ASGIApp
from frameworks.applications import COOKIE, WAYS, Way, World
from frameworks.browser import me, session_cookie_of, sign_in, sign_out, user_in

ADA = "ada@example.com"
NAMES = ("starlette wrap", "fastapi add_middleware", "litestar plugin")
PATIENCE = 15.0  # seconds to start or to stop

each = pytest.mark.parametrize("way", [way for way in WAYS if way.name in NAMES], ids=lambda way: way.name)


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The application on a real server, in a thread with a loop of its own; gives its address without scheme."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, lifespan="on", ws="websockets-sansio", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            began = time.monotonic()
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                assert time.monotonic() - began < PATIENCE
                time.sleep(0.01)
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
        assert not thread.is_alive(), "the server did not stop"


def browser(address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{address}", trust_env=False)


@each
async def test_a_user_signs_in_stays_through_an_expiry_and_signs_out(way: Way) -> None:
    """R1: on a real server the whole way works: sign in, expire, 20 parallel requests with one refresh, sign out."""
    world = World()
    with served(way.build(world, world.options())) as address:
        async with browser(address) as client:
            await sign_in(client)
            assert await me(client) == ADA
            old = client.cookies[COOKIE]
            world.clock.advance(301)
            world.server.latency = 0.05
            responses = await asyncio.gather(*(client.get("/me") for _ in range(20)))
            assert {user_in(response.json()) for response in responses} == {ADA}
            assert {session_cookie_of(response) for response in responses}.isdisjoint({None, "", old})
            assert (world.server.refresh_calls, world.server.reuses) == (1, 0)
            assert user_in((await client.get("/api/auth/session")).json()) == ADA
            await sign_out(client)
            assert await me(client) is None
    assert world.lifespans == ["startup", "shutdown"]


@each
async def test_a_websocket_handshake_brings_the_session_and_the_rotated_cookie(way: Way) -> None:
    """On a real server the handshake's answer carries the new cookie, and the old one is still served from grace."""
    world = World()
    with served(way.build(world, world.options())) as address:
        async with browser(address) as client:
            await sign_in(client)
            old = client.cookies[COOKIE]
            world.clock.advance(301)
            headers = {"Cookie": f"{COOKIE}={old}"}
            url = f"ws://{address}/ws"
            async with connect(url, additional_headers=headers, origin=f"http://{address}", proxy=None) as websocket:
                assert user_in(await websocket.recv()) == ADA
                assert websocket.response is not None
                (line,) = websocket.response.headers.get_all("set-cookie")
                assert line.startswith(f"{COOKIE}=")
                assert old not in line
            assert await me(client) == ADA
            assert client.cookies[COOKIE] != old
            assert (world.server.refresh_calls, world.server.reuses) == (1, 0)


@each
async def test_a_websocket_of_another_site_is_anonymous_there_too(way: Way) -> None:
    """I11: a real cross-origin handshake has no session and refreshes nothing."""
    world = World()
    with served(way.build(world, world.options())) as address:
        async with browser(address) as client:
            await sign_in(client)
            world.clock.advance(301)
            headers = {"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
            url = f"ws://{address}/ws"
            async with connect(url, additional_headers=headers, origin="https://evil.example", proxy=None) as websocket:
                assert user_in(await websocket.recv()) is None
                assert websocket.response is not None
                assert websocket.response.headers.get_all("set-cookie") == []
            assert world.server.refresh_calls == 0


@each
async def test_a_client_that_leaves_during_the_refresh_loses_nothing(way: Way) -> None:
    """L1: a browser that hangs up while the provider answers comes back with the old cookie, and goes on."""
    world = World()
    with served(way.build(world, world.options())) as address:
        async with browser(address) as client:
            await sign_in(client)
            old = client.cookies[COOKIE]
            world.clock.advance(301)
            world.server.latency_after = 0.3
            with pytest.raises(httpx.ReadTimeout):
                await client.get("/me", timeout=0.1)
            async with asyncio.timeout(PATIENCE):
                while world.server.rotations == 0:
                    await asyncio.sleep(0.01)
            assert client.cookies[COOKIE] == old
            assert await me(client) == ADA
            assert client.cookies[COOKIE] != old
            assert (world.server.refresh_calls, world.server.reuses) == (1, 0)
