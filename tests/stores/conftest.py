from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from stores.redis_servers import Server, cluster, running, sentinel_of


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """A Redis server that the tests share, each with a prefix of its own."""
    with running() as server:
        yield server


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A Redis server that the test may stop and pause."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def sentinel(redis_server: Server) -> Iterator[Server]:
    """A Sentinel of the shared server, which it calls ``main``."""
    with sentinel_of(redis_server) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[Server]:
    """A Cluster of one node."""
    with cluster() as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """A part of the key space that nobody else uses."""
    return f"{uuid.uuid4().hex}:"
