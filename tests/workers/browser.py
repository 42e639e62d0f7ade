"""A browser with a cookie of its own, on a network without stickiness. One connection for each request."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

from chaos.jar import Jar

PATIENCE = 60.0  # seconds until a request must have been answered


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, after how many seconds. ``wrote``: with a new cookie."""

    status: int
    text: str
    wrote: bool
    waited: float

    @property
    def content(self) -> dict[str, Any]:
        """The JSON object that an answer, or the last line of an event stream, holds."""
        assert self.status == 200, self
        content: dict[str, Any] = json.loads(self.text.strip().rpartition("data: ")[2])
        return content

    @property
    def generation(self) -> int | None:
        """Which one the request was served with; None for nobody."""
        generation: int | None = self.content["generation"]
        return generation

    @property
    def standing(self) -> tuple[str | None, str | None]:
        """Whose session it was, and its error."""
        return self.content["user"], self.content["error"]


class Browser:
    """Its jar, and the family of tokens that it signed in with."""

    def __init__(self, cookie: str, *, family: str) -> None:
        self.family = family
        self.jar = Jar()
        if cookie:
            self.jar.take(cookie.split("; "))

    def copy(self) -> Browser:
        """Another one with the same cookie, whose jar goes its own way from now on."""
        return Browser(self.jar.header, family=self.family)

    async def get(self, port: int, path: str = "/me") -> Answer:
        """One request with the newest cookie; its answer's cookies are kept."""
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            head, text = await self._exchange(port, path)
        lines = head.split("\r\n")
        values = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("set-cookie:")]
        wrote = self.jar.take(values)
        return Answer(int(lines[0].split()[1]), text, wrote, time.monotonic() - began)

    async def leave_after(self, seconds: float, port: int, path: str = "/me") -> bool:
        """One request that the browser does not wait for; whether it had been answered before."""
        try:
            async with asyncio.timeout(seconds):
                await self.get(port, path)
        except TimeoutError:
            return False
        return True

    async def _exchange(self, port: int, path: str) -> tuple[str, str]:
        """The head and the body. HTTP/1.0, so that the body ends where the connection does."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            head = f"GET {path} HTTP/1.0\r\nhost: 127.0.0.1:{port}\r\ncookie: {self.jar.header}\r\n\r\n"
            writer.write(head.encode())
            answer = (await reader.read(-1)).decode()
        finally:
            writer.close()
        head, _, body = answer.partition("\r\n\r\n")
        assert head, "the connection was closed without an answer"
        return head, body
