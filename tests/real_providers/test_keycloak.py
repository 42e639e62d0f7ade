"""Keycloak, with *Revoke Refresh Token* on and no reuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import jwt
import pytest
import pytest_asyncio

from real_providers import scenarios, servers
from real_providers.browser import Browser
from real_providers.world import World, world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The server, and two workers of the application."""
    async with world(servers.keycloak, tmp_path_factory.mktemp("keycloak")) as made:
        yield made


test_back_channel_logout = scenarios.test_back_channel_logout
test_rotations_under_parallel_requests = scenarios.test_rotations_under_parallel_requests
test_rp_initiated_sign_out = scenarios.test_rp_initiated_sign_out
test_sign_in_through_the_form = scenarios.test_sign_in_through_the_form
test_sign_out_revokes_the_refresh_token = scenarios.test_sign_out_revokes_the_refresh_token
test_the_server_notices_reuse = scenarios.test_the_server_notices_reuse


async def test_access_tokens_are_verified(real: World) -> None:
    """Keycloak's JWT access tokens pass ``verify_access_token``, at the sign-in and at each refresh."""
    async with Browser() as browser:
        await real.sign_in(browser, "checking")
        for generation in range(2):
            token = await browser.json(f"{real.home}/token")
            claims = jwt.decode(token["access_token"], options={"verify_signature": False})
            audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
            assert (token["generation"], token.get("error")) == (generation, None)
            assert servers.AUDIENCE in audiences
            await asyncio.sleep(servers.ACCESS_TOKEN_SECONDS + 0.1)


async def test_access_tokens_for_somebody_else_are_refused(real: World) -> None:
    """Where ``verify_access_token`` names another audience, the sign-in ends at the error page, without a session."""
    async with Browser() as browser:
        page = await real.begin(browser, "mistaken")
        page = await browser.press(page, **{real.server.username_field: servers.USERNAME, "password": servers.PASSWORD})
        assert page.url.path == "/api/auth/error"
        assert (await browser.json(f"{real.home}/me"))["sub"] is None
