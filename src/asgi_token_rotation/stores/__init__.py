"""Where workers meet: the protocol, and the stores that come with the package."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .base import Store as Store
from .base import WaitableStore as WaitableStore
from .memory import MemoryStore as MemoryStore

if TYPE_CHECKING:
    from .sqlite import SQLiteStore as SQLiteStore


def __getattr__(name: str) -> Any:
    """SQLiteStore is imported by who asks for it: sqlite3 takes longer to import than all that others need of here."""
    if name == "SQLiteStore":
        from .sqlite import SQLiteStore

        return SQLiteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def store_from_url(url: str, *, clock: Callable[[], float]) -> Store:
    """The store that a URL names. Connects to nothing and creates nothing.

    ``memory://``; ``sqlite:///relative.db`` and ``sqlite:////absolute.db`` (as SQLAlchemy counts slashes); ``redis://``,
    ``rediss://`` and ``unix://`` as redis-py reads them, with the extra ``redis``.

    Raises ConfigurationError for any other URL, for a path that can't be written, and where the extra is missing. Its
    message names the scheme only, or SQLite's path, for a URL may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("redis", "rediss", "unix"):
        return _redis_store(url)
    if separator and scheme == "sqlite":
        from .sqlite import SQLiteStore

        return SQLiteStore(_sqlite_path(rest), clock=clock)
    if url == "memory://":
        return MemoryStore(clock=clock)
    known = separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme)
    given = f"a {scheme!r} URL" if known else "a text that is no URL"
    raise ConfigurationError(
        f'store is {given}: expected "memory://" with nothing after it, "sqlite:///path.db", "redis://…", "rediss://…" or'
        ' "unix://…". Use one of them, or hand in an object with the methods of asgi_token_rotation.stores.Store.'
    )


def _sqlite_path(rest: str) -> str:
    """The path after ``sqlite://``: three slashes in all for a relative one, four for an absolute one."""
    path = rest.removeprefix("/")
    if path == rest or path in ("", ":memory:") or "?" in path:
        raise ConfigurationError(
            'store is a "sqlite" URL without a file that workers could share, or with more than a path: expected'
            ' "sqlite:///relative.db" (three slashes) or "sqlite:////var/lib/app/sessions.db" (four). For one process alone'
            ' use "memory://"; options go to asgi_token_rotation.stores.SQLiteStore(path, busy_timeout=…).'
        )
    return path


def _redis_store(url: str) -> Store:
    try:
        from .redis import RedisStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        raise ConfigurationError(
            'store is a Redis URL, and the package "redis" is not installed:'
            ' pip install "asgi-token-rotation[redis]", or use "sqlite:///path.db" for workers on one host.'
        ) from error
    return RedisStore.from_url(url)
