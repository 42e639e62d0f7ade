from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.node import real_servers
from contract.worlds import our_servers


@pytest.fixture(scope="session")
def ours() -> Iterator[dict[str, int]]:
    """Our servers' ports."""
    with our_servers() as ports:
        yield ports


@pytest.fixture(scope="session")
def theirs() -> Iterator[dict[str, int]]:
    """The real servers' ports; without node or npm's registry the test is skipped."""
    with real_servers() as ports:
        yield ports
