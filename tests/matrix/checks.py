"""What each framework has to show on each server, directly. Each check ends where its sessions go on."""

from __future__ import annotations

import asyncio
import contextlib

from matrix.browser import Answer, Browser
from matrix.cell import ADA, CREDENTIALS, Cell
from matrix.outcome import Skipped
from matrix.process import Process

TOGETHER = 8  # requests at one time
LONG_ENOUGH = 5.0  # seconds after which a server that should have ended does not end
TO_BE_HEARD = 0.5  # seconds that a server gets to notice SIGTERM before the refresh goes on


async def parallel_requests(cell: Cell, process: Process) -> None:
    """8 requests at once, access token expired: one refresh, and each answer brings the new cookie."""
    browser = await cell.signed_in(process.port)
    cell.tokens.latency = 0.1
    async with browser.tabs(TOGETHER, shared=True) as tabs:
        answers = await asyncio.gather(*(tab.get("/me") for tab in tabs))
    cell.tokens.latency = 0
    assert [user_in(answer) for answer in answers] == [ADA] * TOGETHER
    assert [answer.wrote for answer in answers] == [1] * TOGETHER
    assert len(cell.sends(browser)) == 1
    for tab in tabs:
        await goes_on(cell, tab, of=browser)
    cell.moved(browser, tabs[-1])


async def inside_the_margin(cell: Cell, process: Process) -> None:
    """8 requests at once, access token about to expire: one refresh, which only one request waits for."""
    browser = await cell.signed_in(process.port, valid_for=30)
    cell.tokens.hold("before")
    # With a connection each: on a shared one httpcore reads in the turn of one request, and may leave the answers to
    # others lying until that one's arrives (its HTTP/2 connections have one lock for reading).
    async with browser.tabs(TOGETHER, shared=False) as tabs:
        waiting = {asyncio.ensure_future(tab.get("/me")) for tab in tabs}
        await cell.tokens.arrived()
        while len(waiting) > 1:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert [user_in(task.result()) for task in done] == [ADA] * len(done)
        cell.tokens.release()
        (last,) = waiting
        assert user_in(await last) == ADA
    assert len(cell.sends(browser)) == 1
    await goes_on(cell, browser)


async def client_abort(cell: Cell, process: Process) -> None:
    """The client hangs up in the middle of the refresh, and comes back with its old cookie: it goes on."""
    for stage in ("before", "after"):
        browser = await cell.signed_in(process.port)
        cell.tokens.hold(stage)
        await browser.at(process.port).leave("/me", when=cell.tokens.arrived())
        cell.tokens.release()
        answer = await browser.get("/me")
        assert (user_in(answer), answer.wrote) == (ADA, 1)
        await goes_on(cell, browser)
        assert len(cell.sends(browser)) == 1


async def failing_handler(cell: Cell, process: Process) -> str | None:
    """The handler raises after the refresh: the 500 carries the new cookie, and so does a retry with the old one."""
    browser = await cell.signed_in(process.port)
    old = browser.at(process.port)
    answer = await browser.get("/fail")
    assert (answer.status, answer.wrote) == (500, int(cell.framework.own_500))
    retry = await old.get("/me")
    assert (user_in(retry), retry.wrote) == (ADA, 1)
    await goes_on(cell, old, of=browser)
    cell.moved(browser, old)
    return None if cell.framework.own_500 else "c"


async def endpoints(cell: Cell, process: Process) -> None:
    """csrf, providers, signin, callback/credentials (wrong and right) and session answer as next-auth's client expects."""
    browser = Browser(process.port, http2=cell.server.http2)
    await sign_in(browser)
    await cell.keep(browser)
    assert (await browser.get("/api/auth/session")).content["user"] == ADA
    await goes_on(cell, browser)


async def sign_out(cell: Cell, process: Process) -> None:
    """Sign-out clears the cookie, and a copy of it is anonymous from then on, with no refresh."""
    browser = await cell.signed_in(process.port, valid_for=250)
    await goes_on(cell, browser)
    copy, sends = browser.at(process.port), len(cell.tokens.received)
    await leave_for_good(browser)
    cell.ended(browser)
    for one in (browser, copy):
        assert user_in(await one.get("/me")) is None
        assert (await one.get("/api/auth/session")).content is None
    assert len(cell.tokens.received) == sends


async def websocket(cell: Cell, process: Process) -> str | None:
    """A handshake with an expired access token: refreshed before accept, session visible, and the old cookie goes on."""
    browser = await cell.signed_in(process.port)
    old = browser.at(process.port)
    if (reason := _no_socket(cell)) is not None:
        with contextlib.suppress(ConnectionRefusedError):
            await browser.socket("/socket")
            raise AssertionError("a WebSocket was accepted, which was said to be impossible here")
        await goes_on(cell, old, of=browser)
        cell.moved(browser, old)
        raise Skipped(reason)
    message, cookies = await browser.socket("/socket")
    assert message["user"] == ADA
    assert len(cookies) == int(cell.server.accept_cookie)
    assert len(cell.sends(browser)) == 1
    answer = await old.get("/me")
    assert (user_in(answer), answer.wrote) == (ADA, 1)
    await goes_on(cell, old, of=browser)
    cell.moved(browser, old)
    return None if cell.server.accept_cookie else "a"


def _no_socket(cell: Cell) -> str | None:
    if not cell.framework.websocket:
        return "it has no WebSockets without Channels"
    if cell.framework.needs_scheme and not cell.server.socket_scheme:
        return "it needs the scheme of a WebSocket, which the server does not say"
    return None


async def shutdown(cell: Cell, process: Process) -> str | None:
    """SIGTERM in the middle of two refreshes, one for a client that has gone: after the restart both sessions go on."""
    stays, leaves = await cell.signed_in(process.port), await cell.signed_in(process.port)
    cell.tokens.hold("before")
    old = [stays.at(process.port), leaves.at(process.port)]
    waiting = asyncio.ensure_future(stays.get("/me"))
    await leaves.at(process.port).leave("/me", when=cell.tokens.arrived(2))
    process.terminate()
    await asyncio.sleep(TO_BE_HEARD)
    cell.tokens.release()
    await asyncio.wait({waiting})
    waiting.exception()  # some servers cut the connection, some let the answer out: the session must go on anyway
    limit = await _gone(cell, process)
    async with cell.serving() as again:
        for browser, before in zip((stays, leaves), old, strict=True):
            later = before.at(again.port)
            answer = await later.get("/me")
            assert (user_in(answer), answer.wrote) == (ADA, 1)
            await goes_on(cell, later, of=browser)
            cell.moved(browser, later)
    if not cell.server.lifespan:
        await _ends_too_early(cell)
        return "d"
    return limit


async def _gone(cell: Cell, process: Process) -> str | None:
    """Wait until the server is gone. The limit: it waits for a client that is gone itself, and has to be killed."""
    if cell.server.waits_for_the_gone and not cell.framework.leaves_with_client:
        assert not await process.ended(within=LONG_ENOUGH), "the server ended, which it was said not to do"
        process.kill()
        return "e"
    assert await process.ended(), f"The server does not end:\n{process.said()}"
    return None


async def _ends_too_early(cell: Cell) -> None:
    """Without the lifespan, and without the lines that stand in for it, nobody waits for the refresh."""
    async with cell.serving(module=cell.framework.module) as process:
        browser = await cell.signed_in(process.port)
        cell.tokens.hold("before")
        await browser.at(process.port).leave("/me", when=cell.tokens.arrived())
        process.terminate()
        assert await process.ended(), "the server waited for the refresh, which it was said not to do"
    cell.ended(browser)  # its refresh token is the one that nobody can save


async def no_lifespan(cell: Cell) -> None:
    """A framework that needs the lifespan answers nothing on a server that has none; the endpoints work."""
    async with cell.serving() as process:
        browser = await cell.signed_in(process.port)
        assert (await browser.get("/me")).status == 500
        await goes_on(cell, browser, path="/api/auth/session")
    raise Skipped(f"it needs the lifespan, which {cell.server.name} does not speak")


async def goes_on(cell: Cell, browser: Browser, *, of: Browser | None = None, path: str = "/me") -> None:
    """The session is there without error, its cookie holds the newest tokens, and its refresh tokens came once each."""
    answer = await browser.get(path)
    assert user_in(answer) == ADA, answer
    assert "error" not in answer.content, answer
    sends = cell.sends(of or browser)
    assert len(sends) == len(set(sends)), sends
    held = await cell.name_held(browser)
    assert held is not None
    assert held.rpartition("-")[2] == str(len(sends)), (held, sends)


async def sign_in(browser: Browser, *, at: str = "", prefix: str = "") -> Answer:
    """Through our endpoints below ``at``; a wrong password first. ``prefix``: what links must begin with."""
    base = f"{browser.origin}{prefix}/api/auth"
    providers = (await browser.get(f"{at}/api/auth/providers")).content
    assert providers["credentials"]["callbackUrl"] == f"{base}/callback/credentials"
    page = await browser.get(f"{at}/api/auth/signin")
    assert page.status == 200
    assert b"<form" in page.body
    csrf = (await browser.get(f"{at}/api/auth/csrf")).content["csrfToken"]
    form = {**CREDENTIALS, "csrfToken": csrf, "callbackUrl": "/me", "json": "true"}
    wrong = await browser.post(f"{at}/api/auth/callback/credentials", {**form, "password": "wrong"})
    assert (wrong.status, wrong.wrote) == (401, 0)
    right = await browser.post(f"{at}/api/auth/callback/credentials", form)
    assert right.wrote == 1, right
    assert right.content["url"] == f"{browser.origin}/me"
    return right


async def leave_for_good(browser: Browser) -> None:
    """Sign out through our endpoints."""
    csrf = (await browser.get("/api/auth/csrf")).content["csrfToken"]
    answer = await browser.post("/api/auth/signout", {"csrfToken": csrf, "json": "true"})
    assert answer.status == 200
    assert any("session-token" in line and "Max-Age=0" in line for line in answer.cookies)


def user_in(answer: Answer) -> object:
    """Whose session it is."""
    return (answer.content or {}).get("user")
