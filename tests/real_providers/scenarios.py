"""What must hold at every real server. The tests of each server take theirs from here, with a ``real`` of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial

from real_providers.browser import AT_ONCE, Browser, password_form
from real_providers.servers import ACCESS_TOKEN_SECONDS, USERNAME
from real_providers.world import PATIENCE, World
from workers.fleet import until

ROTATIONS = int(os.environ.get("ROTATIONS", "20"))


async def test_sign_in_through_the_form(real: World) -> None:
    """A user who signs in at a real server's own form comes home with a session and tokens of that server."""
    async with Browser() as browser:
        await real.sign_in(browser)
        session = await browser.json(f"{real.home}/api/auth/session")
        token = await browser.json(f"{real.home}/token")
    assert session["user"]["email"] == f"{USERNAME}@example.com"
    assert token["sub"]
    assert {"access_token", "refresh_token", "id_token"} <= set(token)
    assert token["provider"] == "staying"


async def test_rotations_under_parallel_requests(real: World, measured: Callable[[str], None]) -> None:
    """Twenty parallel requests at each rotation, over two workers: the server sees each refresh token once, and no session is lost."""
    before = await asyncio.to_thread(real.server.seen)
    addresses = [f"{home}/me" for home in real.homes]
    async with Browser() as browser:
        await real.sign_in(browser)
        first = about = await browser.json(f"{real.home}/me")
        for rotation in range(ROTATIONS):
            # By turns inside the margin, where one request refreshes, and after the expiry, where all wait for it.
            spare = ACCESS_TOKEN_SECONDS * 0.3 if rotation % 2 else -0.05
            await asyncio.sleep(max(0.0, about["valid_for"] - spare))
            answers = await browser.json_at_once(*addresses)
            assert [(answer["sub"], answer["error"]) for answer in answers] == [(first["sub"], None)] * AT_ONCE
            previous, about = about, await browser.json(addresses[rotation % 2])
            assert about["generation"] > previous["generation"], "nothing was refreshed"
        after = await asyncio.to_thread(real.server.seen)
        last = await browser.json(f"{real.home}/token")
    assert (after.reuses, after.refusals) == (before.reuses, before.refusals)
    assert after.rotations - before.rotations == last["generation"] - first["generation"] >= ROTATIONS
    measured(
        f"{after.rotations - before.rotations} rotations under {AT_ONCE} requests each: no reuse, no refusal, no session lost"
    )
    status, answer = await real.refresh(last["refresh_token"])
    assert status == 200, answer


async def test_the_server_notices_reuse(real: World) -> None:
    """A refresh token that somebody else uses first is reuse to the server, so its silence in the other tests says something."""
    async with Browser() as browser:
        await real.sign_in(browser)
        token = await browser.json(f"{real.home}/token")
        before = await asyncio.to_thread(real.server.seen)
        status, answer = await real.refresh(token["refresh_token"])
        assert status == 200, answer
        await asyncio.sleep(ACCESS_TOKEN_SECONDS + 0.1)
        about = await browser.json(f"{real.home}/me")
        after = await asyncio.to_thread(real.server.seen)
    assert about["error"] == "RefreshAccessTokenError"
    assert after.reuses == before.reuses + 1


async def test_sign_out_revokes_the_refresh_token(real: World) -> None:
    """After a sign-out the server refuses the refresh token, while another browser's is as good as before."""
    async with Browser() as browser, Browser() as other:
        await real.sign_in(browser)
        await real.sign_in(other)
        revocations = (await asyncio.to_thread(real.server.seen)).revocations
        left, kept = [(await each.json(f"{real.home}/token"))["refresh_token"] for each in (browser, other)]
        page = await real.sign_out(browser)
        assert real.is_home(page)
        assert [(await browser.json(f"{home}/me"))["sub"] for home in real.homes] == [None, None]
        await real.seen(lambda seen: seen.revocations > revocations)
    status, answer = await real.refresh(left)
    assert (status, answer["error"]) == (400, "invalid_grant")
    status, answer = await real.refresh(kept)
    assert status == 200, answer


async def test_rp_initiated_sign_out(real: World) -> None:
    """After a sign-out with rp_initiated_logout the server asks for the password again, which it did not do before."""
    async with Browser() as browser:
        await real.sign_in(browser, "leaving")
        page = await real.begin(browser, "leaving")
        assert password_form(page) is None, "the server's session should sign in without a password"
        page = await real.sign_out(browser)
        assert (await browser.json(f"{real.home}/me"))["sub"] is None, "the local session ends first"
        if not real.is_home(page):
            page = await browser.press(page, real.server.button)
        assert real.is_home(page), page.url
        page = await real.begin(browser, "leaving")
        assert password_form(page) is not None, f"no sign-in form at {page.url}"


async def test_back_channel_logout(real: World) -> None:
    """Who signs out at the server itself is signed out of both workers by its logout token, and nobody else is."""
    async with Browser() as browser, Browser() as other:
        await real.sign_in(browser, "hearing")
        await real.sign_in(other, "hearing")
        await real.leave_server(browser)
        for home in real.homes:
            await until(partial(_is_anonymous, browser, home), seconds=PATIENCE)
        kept = await other.json(f"{real.home}/me")
    assert (kept["sub"] is None, kept["error"]) == (False, None)


async def _is_anonymous(browser: Browser, home: str) -> bool:
    # A refresh that the server refuses would leave the user there, with an error.
    answer = await browser.json(f"{home}/me")
    return answer["sub"] is None
