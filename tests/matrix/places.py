"""Where else an application may stand: below a prefix, in a mount, behind nginx."""

from __future__ import annotations

import asyncio
import secrets

from matrix.browser import Browser
from matrix.cell import ADA, Cell
from matrix.checks import TOGETHER, goes_on, sign_in, user_in
from matrix.nginx import nginx
from matrix.outcome import Skipped
from matrix.process import Process
from matrix.servers import PREFIX

PUBLIC = "https://shop.example"
LARGE = 2200  # random bytes, which make a cookie of two chunks


async def server_prefix(cell: Cell) -> str | None:
    """With the server's prefix option: endpoints, links and refreshes work, and the framework's own routes where it can."""
    async with cell.serving(prefix=PREFIX) as process:
        return await _below_a_prefix(cell, process, added=cell.server.adds_prefix)


async def mount(cell: Cell) -> str | None:
    """In a ``Mount`` of Starlette, wrapped as it is: the same."""
    if cell.framework.needs_lifespan:
        raise Skipped("it needs the lifespan, which a Mount does not pass on")
    async with cell.serving(module="mounted") as process:
        return await _below_a_prefix(cell, process, added=False, bare=False)


async def _below_a_prefix(cell: Cell, process: Process, *, added: bool, bare: bool = True) -> str | None:
    forms = {"": cell.framework.with_prefix} if added else {PREFIX: cell.framework.with_prefix}
    if not added and bare:
        forms[""] = cell.framework.without_prefix
    for at, routed in forms.items():
        browser = await cell.signed_in(process.port)
        path = f"{at}/me" if routed else f"{at}/api/auth/session"
        answer = await browser.get(path)
        assert (user_in(answer), answer.wrote) == (ADA, 1)
        await goes_on(cell, browser, path=path)
        if not routed:
            assert (await browser.get(f"{at}/me")).status == 404
        newcomer = Browser(process.port, http2=cell.server.http2)
        await sign_in(newcomer, at=at, prefix=PREFIX)
        await cell.keep(newcomer)
        await goes_on(cell, newcomer, path=path)
    return None if any(forms.values()) else "b"


async def behind_nginx(cell: Cell) -> str | None:
    """Behind nginx's defaults, which hide Host and scheme: ``public_url`` decides. A cookie in two chunks needs larger buffers."""
    if cell.server.http2:
        raise Skipped("nginx speaks HTTP/1 to what is behind it")
    async with cell.serving(public_url=PUBLIC) as process, nginx(cell.folder, behind=process.port) as (plain, roomy):
        if cell.framework.needs_minor_version and not cell.server.minor_version:
            await _no_http_1_0(cell, plain, roomy)
            return "f"
        await _refreshed_once(cell, plain)
        newcomer = Browser(plain, origin=PUBLIC)
        answer = await sign_in(newcomer)
        assert all("Secure" in line and line.startswith("__Secure-") for line in answer.cookies if "session" in line)
        await cell.keep(newcomer)
        await goes_on(cell, newcomer)
        await _two_chunks(cell, plain, roomy)
        return None


async def _refreshed_once(cell: Cell, port: int) -> None:
    browser = await cell.signed_in(port, origin=PUBLIC)
    async with browser.tabs(TOGETHER) as tabs:
        answers = await asyncio.gather(*(tab.get("/me") for tab in tabs))
    assert [(user_in(answer), answer.wrote) for answer in answers] == [(ADA, 1)] * TOGETHER
    await goes_on(cell, browser)


async def _no_http_1_0(cell: Cell, plain: int, roomy: int) -> None:
    browser = await cell.signed_in(plain, origin=PUBLIC)
    assert (await browser.get("/me")).status == 500
    later = browser.at(roomy)
    await goes_on(cell, later, of=browser)
    cell.moved(browser, later)
    await _refreshed_once(cell, roomy)


async def _two_chunks(cell: Cell, plain: int, roomy: int) -> None:
    """nginx's ``proxy_buffer_size`` is a page of memory: headers over 4 KB are a 502 to it. Nothing is lost by that."""
    browser = await cell.signed_in(plain, origin=PUBLIC, claims={"large": secrets.token_hex(LARGE)})
    assert (await browser.get("/me")).status == 502
    assert len(cell.sends(browser)) == 1
    later = browser.at(roomy)
    answer = await later.get("/me")
    assert (user_in(answer), answer.wrote) == (ADA, 2)
    await goes_on(cell, later, of=browser)
    cell.moved(browser, later)
