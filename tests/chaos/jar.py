"""A cookie jar with a browser's rules (RFC 6265, 5.3), for one host and path."""

from __future__ import annotations

import time
from collections.abc import Iterable


class Jar:
    """Cookies by name; whatever arrives last wins, whenever its request began; ``Max-Age=0`` removes."""

    def __init__(self) -> None:
        self._cookies: dict[str, str] = {}
        self.changes = 0
        self.previous: tuple[str, float] | None = None  # the header before the last change, and when that was

    def take(self, lines: Iterable[str]) -> bool:
        """The ``Set-Cookie`` lines of one response; whether they changed anything."""
        before, cookies = self.header, dict(self._cookies)
        for line in lines:
            pair, *attributes = line.split(";")
            name, _, value = pair.strip().partition("=")
            cookies.pop(name, None)
            if _lives(attributes):
                cookies[name] = value
        if cookies == self._cookies:
            return False
        self._cookies = cookies
        self.changes += 1
        self.previous = (before, time.time())
        return True

    @property
    def header(self) -> str:
        """The request header; empty where there is no cookie."""
        return "; ".join(f"{name}={value}" for name, value in self._cookies.items())

    def forget(self) -> None:
        """What a user does who clears the site's data, and what begins with a new session."""
        self._cookies = {}
        self.previous = None


def _lives(attributes: list[str]) -> bool:
    for attribute in attributes:
        name, _, value = attribute.strip().partition("=")
        if name.lower() == "max-age" and int(value) <= 0:
            return False
    return True
