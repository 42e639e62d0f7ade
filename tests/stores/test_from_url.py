from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from asgi_token_rotation.errors import ConfigurationError
from asgi_token_rotation.stores import SQLiteStore, store_from_url
from asgi_token_rotation.testing import Clock


@pytest.mark.parametrize("absolute", [True, False])
def test_sqlite(absolute: bool, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SQLAlchemy counts: three slashes begin a relative path, four an absolute one; the file goes by the given clock."""
    monkeypatch.chdir(tmp_path)
    store = store_from_url(f"sqlite:///{tmp_path}/a b%20#.db" if absolute else "sqlite:///a b%20#.db", clock=clock)
    assert isinstance(store, SQLiteStore)
    assert list(tmp_path.iterdir()) == []

    async def use() -> None:
        assert await store.compare_and_set("key", None, b"k1:", 10)
        clock.advance(10)
        assert await store.get("key") is None
        await store.aclose()

    asyncio.run(use())
    assert [file.name for file in tmp_path.iterdir()] == ["a b%20#.db"]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://relative.db",
        "sqlite://host/path.db",
        "sqlite:///a.db?timeout=5",
    ],
)
def test_sqlite_without_a_file_to_share(url: str, clock: Clock) -> None:
    """A SQLite URL that names no file for workers to share is refused with a sentence that counts the slashes."""
    with pytest.raises(ConfigurationError, match=r'"sqlite:///relative\.db" \(three slashes\)'):
        store_from_url(url, clock=clock)


def test_sqlite_in_a_missing_folder(tmp_path: Path, clock: Clock) -> None:
    """A path that can't be written is told when the URL is given."""
    with pytest.raises(ConfigurationError, match="there is no folder"):
        store_from_url(f"sqlite:///{tmp_path}/nowhere/sessions.db", clock=clock)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix"])
def test_redis(scheme: str, clock: Clock) -> None:
    """The three Redis schemes name a Redis store, which connects to nothing yet."""
    stores = pytest.importorskip("asgi_token_rotation.stores.redis")
    url = {"unix": "unix:///run/redis.sock"}.get(scheme, f"{scheme}://user:hunter2@host.invalid:6379/0")
    store = store_from_url(url, clock=clock)

    assert isinstance(store, stores.RedisStore)
    assert "hunter2" not in repr(store)


def test_redis_is_not_installed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is missing, the sentence says how to install it, and shows nothing of the URL's password."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("asgi_token_rotation.stores") and "redis" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(ConfigurationError, match=r'pip install "asgi-token-rotation\[redis\]"') as caught:
        store_from_url("redis://user:hunter2@host", clock=clock)
    assert "hunter2" not in str(caught.value)


def test_a_defect_is_no_missing_extra(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another module that is missing is not blamed on the extra."""
    monkeypatch.setitem(sys.modules, "asgi_token_rotation.stores.redis", None)

    with pytest.raises(ModuleNotFoundError, match=r"asgi_token_rotation\.stores\.redis"):
        store_from_url("redis://host", clock=clock)


@pytest.mark.parametrize(
    "url", ["memory://hunter2", "MEMORY://hunter2", "postgres://user:hunter2@host", "hunter2", "redis:hunter2", ""]
)
def test_unknown_url(url: str, clock: Clock) -> None:
    """Another URL is refused with a sentence that says what is known, and shows nothing of a password in it."""
    with pytest.raises(ConfigurationError, match='expected "memory://"') as caught:
        store_from_url(url, clock=clock)
    assert "hunter2" not in str(caught.value)
