from __future__ import annotations

import pytest

from asgi_token_rotation.testing import Clock, TokenServer


@pytest.fixture
def clock() -> Clock:
    """A clock that the test moves."""
    return Clock()


@pytest.fixture
def token_server(clock: Clock) -> TokenServer:
    """A strict token back end that goes by the test's clock."""
    return TokenServer(clock=clock)
