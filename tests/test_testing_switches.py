from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn

from asgi_token_rotation.testing import TokenServer
from asgi_token_rotation.types import TokenSet

ADA = {"username": "ada", "password": "lovelace"}


async def signed_in(server: TokenServer) -> TokenSet:
    signed = await server.authorize(ADA)
    assert signed is not None
    assert signed.tokens is not None
    return signed.tokens


async def refreshed(server: TokenServer, tokens: TokenSet) -> TokenSet:
    return await server.refresh({"refresh_token": tokens.refresh_token})


async def json_refresh(server: TokenServer, token: str | None) -> httpx.Response:
    async with server.client() as client:
        return await client.post("/auth/refreshToken", json={"token": token})


async def grant(server: TokenServer, **form: str) -> httpx.Response:
    async with server.client() as client:
        return await client.post("/oauth/token", data=form)


async def test_fail_with(token_server: TokenServer) -> None:
    """O1: a failing status consumes nothing, brings its body and Retry-After, and ends with its switch."""
    tokens = await signed_in(token_server)
    token_server.fail_with, token_server.retry_after, token_server.fail_body = 429, 59.2, {"message": "slow down"}
    response = await json_refresh(token_server, tokens.refresh_token)
    assert (response.status_code, response.headers["retry-after"], response.json()) == (
        429,
        "60",
        {"message": "slow down"},
    )

    token_server.retry_after, token_server.retry_after_header = "Fri, 15 Jan 2027 08:00:00 GMT", "X-Retry-After"
    token_server.fail_body = "Too many requests."
    response = await json_refresh(token_server, tokens.refresh_token)
    assert response.headers["x-retry-after"] == "Fri, 15 Jan 2027 08:00:00 GMT"
    assert (response.headers["content-type"], response.text) == ("text/plain", "Too many requests.")

    token_server.fail_with, token_server.retry_after, token_server.fail_body = 503, None, b""
    with pytest.raises(httpx.HTTPStatusError, match="503"):
        await refreshed(token_server, tokens)

    token_server.fail_with = None
    await refreshed(token_server, tokens)
    assert (token_server.refresh_calls, token_server.rotations, token_server.reuses) == (4, 1, 0)


async def test_fail_times(token_server: TokenServer) -> None:
    """A failure can be for the next requests only, whatever it is."""
    tokens = await signed_in(token_server)
    token_server.fail_with, token_server.fail_times = 500, 2
    answers = [await json_refresh(token_server, tokens.refresh_token) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [500, 500, 200]
    assert token_server.fail_times == 0


async def test_fail_times_without_a_failure(token_server: TokenServer) -> None:
    """What nothing hits does not count."""
    token_server.fail_times = 1
    await refreshed(token_server, await signed_in(token_server))
    assert token_server.fail_times == 1


async def test_cut_before(token_server: TokenServer) -> None:
    """A connection cut before the rotation is a read error that consumed nothing."""
    tokens = await signed_in(token_server)
    token_server.cut = "before"
    with pytest.raises(httpx.ReadError):
        await refreshed(token_server, tokens)

    token_server.cut = None
    await refreshed(token_server, tokens)
    assert (token_server.rotations, token_server.reuses) == (1, 0)


async def test_cut_after(token_server: TokenServer) -> None:
    """L1: a connection cut after the rotation is the same read error, and the refresh token is spent."""
    tokens = await signed_in(token_server)
    token_server.cut, token_server.fail_times = "after", 1
    with pytest.raises(httpx.ReadError):
        await refreshed(token_server, tokens)

    assert token_server.rotations == 1
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        await refreshed(token_server, tokens)
    assert token_server.reuses == 1


@pytest.mark.parametrize(("garbage", "text"), [(True, "<!doctype html>"), (b"\x00\xff", "\x00"), (b"", "")])
async def test_garbage(token_server: TokenServer, garbage: bool | bytes, text: str) -> None:
    """Garbage is a 200 that is not JSON, and consumes nothing."""
    tokens = await signed_in(token_server)
    token_server.garbage = garbage
    response = await json_refresh(token_server, tokens.refresh_token)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html")
    assert response.text.startswith(text)
    with pytest.raises(ValueError):
        await refreshed(token_server, tokens)

    token_server.garbage = False
    await refreshed(token_server, tokens)


@pytest.mark.parametrize(("how", "value"), [("missing", None), ("null", None), ("empty", "")])
async def test_omitted_refresh_token(token_server: TokenServer, how: Any, value: str | None) -> None:
    """L5: an answer without a refresh token leaves the old one valid, on both endpoints."""
    tokens = await signed_in(token_server)
    token_server.omit_refresh_token = how
    second = await refreshed(token_server, tokens)
    response = await grant(token_server, grant_type="refresh_token", refresh_token=str(tokens.refresh_token))

    assert second.refresh_token == value
    assert second.access_token != tokens.access_token
    assert ("refresh_token" in response.json()) is (how != "missing")
    assert response.json().get("refresh_token") == value
    token_server.omit_refresh_token = None
    assert (await refreshed(token_server, tokens)).refresh_token
    assert (token_server.rotations, token_server.reuses) == (1, 0)


async def test_refusals(token_server: TokenServer) -> None:
    """A refresh token can be refused with invalid_grant, or with a 400 that says nothing (PROVIDERS.md 3, glewlwyd)."""
    tokens = await signed_in(token_server)
    token_server.refuse_refresh = True
    response = await json_refresh(token_server, tokens.refresh_token)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")

    token_server.refuse_refresh, token_server.refuse_empty_400 = False, True
    response = await json_refresh(token_server, tokens.refresh_token)
    assert (response.status_code, response.content) == (400, b"")

    token_server.refuse_empty_400 = False
    await refreshed(token_server, tokens)


async def test_latency(token_server: TokenServer) -> None:
    """Latency before and after the rotation: a client that goes away in the second has spent its token."""
    tokens = await signed_in(token_server)
    token_server.latency = 30
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(refreshed(token_server, tokens), 0.05)
    assert token_server.rotations == 0

    token_server.latency, token_server.latency_after = 0, 30
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(refreshed(token_server, tokens), 0.05)
    assert token_server.rotations == 1
    token_server.latency_after = 0
    await refreshed(token_server, await signed_in(token_server))
    assert token_server.concurrent_max == 1


@pytest.mark.parametrize(("stage", "rotations"), [("before", 0), ("after", 1)])
async def test_hold(token_server: TokenServer, stage: Any, rotations: int) -> None:
    """A refresh request can be held before or after its rotation, again and again."""
    tokens = await signed_in(token_server)
    for attempt in range(2):
        token_server.hold(stage)
        task = asyncio.create_task(refreshed(token_server, tokens))
        await token_server.arrived()
        await asyncio.sleep(0.01)
        assert not task.done()
        assert token_server.rotations == attempt + rotations
        token_server.release()
        tokens = await task


async def test_arrivals(token_server: TokenServer) -> None:
    """arrived() waits for as many requests as it is told, and without a hold counts what has come."""
    families = [await signed_in(token_server) for _ in range(3)]
    await refreshed(token_server, families[0])
    await token_server.arrived()
    token_server.hold()
    arrival = asyncio.create_task(token_server.arrived(2))
    first = asyncio.create_task(refreshed(token_server, families[1]))
    await token_server.arrived(1)
    await asyncio.sleep(0.01)
    assert not arrival.done()
    second = asyncio.create_task(refreshed(token_server, families[2]))
    await arrival
    assert not first.done()
    assert not second.done()
    token_server.release()
    await asyncio.gather(first, second)


async def test_a_held_client_goes_away(token_server: TokenServer) -> None:
    """A client that is cancelled at the hold disturbs nobody else."""
    families = [await signed_in(token_server) for _ in range(2)]
    token_server.hold()
    gone, stays = (asyncio.create_task(refreshed(token_server, tokens)) for tokens in families)
    await token_server.arrived(2)
    await asyncio.sleep(0.01)  # until both wait
    gone.cancel()
    token_server.release()
    await stays

    assert gone.cancelled()
    assert token_server.rotations == 1


def test_several_event_loops(token_server: TokenServer) -> None:
    """One server serves event loops one after the other, even if one ended in the middle of a hold."""

    async def leave() -> None:
        token_server.hold()
        task = asyncio.create_task(refreshed(token_server, await signed_in(token_server)))
        await token_server.arrived()
        assert not task.done()

    async def come() -> TokenSet:
        token_server.release()
        return await refreshed(token_server, await signed_in(token_server))

    asyncio.run(leave())
    assert asyncio.run(come()).refresh_token
    assert asyncio.run(come()).refresh_token


async def test_released_from_another_thread(token_server: TokenServer) -> None:
    """A hold can be released from another thread than the server's."""
    token_server.hold()
    task = asyncio.create_task(refreshed(token_server, await signed_in(token_server)))
    await token_server.arrived()
    threading.Timer(0.02, token_server.release).start()

    assert (await asyncio.wait_for(task, 5)).refresh_token


@contextlib.asynccontextmanager
async def served(app: TokenServer) -> AsyncIterator[str]:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, log_level="critical", ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await task


async def test_as_a_real_server(token_server: TokenServer) -> None:
    """Served by uvicorn it does the same; a cut drops the connection, before and after, and it serves on."""
    async with served(token_server) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        signed = (await client.post("/auth/login", json=ADA)).raise_for_status().json()
        token_server.cut = "before"
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await client.post("/auth/refreshToken", json={"token": signed["refreshToken"]})
        assert token_server.rotations == 0

        token_server.cut = "after"
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await client.post("/auth/refreshToken", json={"token": signed["refreshToken"]})
        assert token_server.rotations == 1

        token_server.cut = None
        response = await client.post("/auth/refreshToken", json={"token": signed["refreshToken"]})
        assert (response.status_code, token_server.reuses) == (400, 1)
