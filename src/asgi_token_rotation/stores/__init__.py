"""Where workers meet: the protocol, and the stores that come with the package."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import ConfigurationError
from .base import Store as Store
from .memory import MemoryStore as MemoryStore


def store_from_url(url: str, *, clock: Callable[[], float]) -> Store:
    """The store that a URL names, ``"memory://"``. Does no I/O.

    Raises ConfigurationError for any other URL; its message names the scheme only, for a URL may hold a password.
    """
    if url == "memory://":
        return MemoryStore(clock=clock)
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*(?=://)", url)
    given = f"a {scheme[0]!r} URL" if scheme else "a text that is no URL"
    raise ConfigurationError(
        f'store is {given}: this version knows "memory://", with nothing after it. Use that, or hand in an object with'
        ' the methods of asgi_token_rotation.stores.Store. ("sqlite" and "redis" come in a later version.)'
    )
