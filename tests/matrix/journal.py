"""What became of every refresh token that the token servers issued."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from asgi_token_rotation import TokenRotation, TokenRotationMiddleware, get_token
from asgi_token_rotation.types import Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Count:
    """Of one token server, or of all. ``sessions``: those that had not signed out at the end."""

    sessions: int = 0
    sends: int = 0
    twice: int = 0  # refresh tokens that came more than once
    lost: int = 0  # sessions whose newest refresh token is not the one in the browser's cookie

    def __add__(self, other: Count) -> Count:
        return Count(
            self.sessions + other.sessions, self.sends + other.sends, self.twice + other.twice, self.lost + other.lost
        )


def count(received: Iterable[str], held: Mapping[str, str | None]) -> Count:
    """By the names of the refresh tokens that came, and for each family that goes on the one that its browser has.

    A name is ``family-generation``. Every token that came was replaced by the next of its family.
    """
    times = Counter(received)
    newest = Counter(name.rpartition("-")[0] for name in times)
    lost = [family for family, name in held.items() if name != f"{family}-{newest[family]}"]
    return Count(len(held), times.total(), sum(number > 1 for number in times.values()), len(lost))


async def refresh_token_in(cookies: str, *, secret: str, origin: str) -> str | None:
    """The refresh token that a browser's cookies hold; None where they open no session."""
    found: list[Mapping[str, Any] | None] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(get_token(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = TokenRotationMiddleware(look, rotation=TokenRotation(secret=secret, public_url=origin))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=origin) as client:
        await client.get("/", headers={"cookie": cookies})
    return None if found[0] is None else found[0].get("refresh_token")
