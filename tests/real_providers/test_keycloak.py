"""Keycloak, with *Revoke Refresh Token* on and no reuse."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from real_providers import scenarios, servers
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
