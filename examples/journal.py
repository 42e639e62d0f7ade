"""What happened, in words that a person can follow: for the examples' page, and for the terminal of demo.py.

The journal hears of everything through ``Events`` and the package's logger, as any application can. It keeps times,
generations and the user's name, never a token.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import asdict, dataclass
from typing import Any

from asgi_token_rotation import JWT, Event, Events, TokenSet

KEPT = 300  # notes
LATE_REQUESTS_TOGETHER = 1.0  # seconds in which late requests are counted into one note


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing that happened. ``session`` is its name in log lines, 8 hex digits, or empty."""

    id: int
    at: float  # seconds since the epoch
    kind: str
    text: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of the refresh function: how long the access token was still good, and how long the answer took."""

    left: float | None  # seconds
    took: float  # seconds


class Journal:
    """A bounded list of notes, newest last. ``say`` gets each of them as a line, as it happens."""

    def __init__(self, *, clock: Callable[[], float] = time.time, say: Callable[[str], None] | None = None) -> None:
        self.moves = 0  # events so far
        self.just_refreshed = False  # whether the last event was a rotation
        self._clock = clock
        self._say = say
        self._notes: deque[Note] = deque(maxlen=KEPT)
        self._number = 0
        self._calls: dict[str, _Call] = {}
        self._late_requests = 0

    def events(self) -> Events:
        """For ``TokenRotation(events=…)``."""
        return Events(
            sign_in=self._heard,
            sign_out=self._heard,
            refreshed=self._heard,
            refresh_failed=self._heard,
            session_ended=self._heard,
            stale_cookie=self._heard,
        )

    def timed(self, refresh: Callable[[JWT], Awaitable[TokenSet]]) -> Callable[[JWT], Awaitable[TokenSet]]:
        """The same refresh function, under a stopwatch."""

        async def refresh_with_stopwatch(token: JWT) -> TokenSet:
            expires_at = token.get("expires_at")
            left = None if expires_at is None else expires_at - self._clock()
            started = time.perf_counter()
            try:
                return await refresh(token)
            finally:
                self._calls[token["session_id"]] = _Call(left, time.perf_counter() - started)

        return refresh_with_stopwatch

    def add(self, kind: str, text: str, *, session: str = "") -> None:
        """Note something, now."""
        self._number += 1
        note = Note(id=self._number, at=self._clock(), kind=kind, text=text, session=session)
        self._notes.append(note)
        if self._say is not None:
            self._say(_line(note))

    def after(self, number: int) -> list[dict[str, Any]]:
        """The notes whose ``id`` is higher, ready for JSON."""
        return [asdict(note) for note in self._notes if note.id > number]

    def late_request(self) -> None:
        """A request came with the previous cookie and got the newest tokens. Many in a row make one note."""
        if self._late_requests == 0:
            asyncio.get_running_loop().call_later(LATE_REQUESTS_TOGETHER, self._note_late_requests)
        self._late_requests += 1

    def write(self, line: str) -> None:
        """A line of the package's logger: what a ``logging.StreamHandler`` calls."""
        if line.strip():
            self.add("log", line.strip())

    @contextlib.contextmanager
    def listening(self, logger: str = "asgi_token_rotation") -> Generator[None]:
        """Hear the warnings of that logger, too, but for the failed refreshes, which are events already."""
        handler = logging.StreamHandler(self)
        handler.setLevel(logging.WARNING)
        handler.addFilter(lambda record: "the refresh failed" not in record.msg)
        logging.getLogger(logger).addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger(logger).removeHandler(handler)

    def _heard(self, event: Event) -> None:
        self.moves += 1
        self.just_refreshed = event.name == "refreshed"
        call = self._calls.pop(str(event.token.get("session_id")), None)
        if event.name == "session_ended" and event.reason == "sign_out":
            return  # the event sign_out says it
        kind = "refused" if event.kind == "refused" else event.name
        self.add(kind, _sentence(event, call, now=self._clock()), session=event.session)

    def _note_late_requests(self) -> None:
        count, self._late_requests = self._late_requests, 0
        requests = "A late request" if count == 1 else f"{count} late requests"
        self.add("grace", f"{requests} with the previous cookie got the newest tokens: served from grace")


def _sentence(event: Event, call: _Call | None, *, now: float) -> str:
    name = event.token.get("name", "Somebody")
    match event.name:
        case "sign_in":
            return f"{name} signed in; the access token is good for {event.token['expires_at'] - now:.0f} s"
        case "sign_out":
            return f"{name} signed out"
        case "refreshed":
            return f"{name}'s access token {_age(call)}: refreshed, generation {event.token['generation']}{_took(call)}"
        case "refresh_failed" if event.kind == "refused":
            return f"the back end refused to refresh {name}'s access token{_took(call)}: the session says so, until the next sign-in"
        case "refresh_failed":
            wait = (
                ""
                if event.retry_at is None
                else f", next attempt in {max(event.retry_at - now, 0):.0f} s at the earliest"
            )
            return f"{name}'s access token {_age(call)}: the refresh failed ({event.kind}{_took(call)}); nobody is signed out{wait}"
        case "stale_cookie":
            return "a cookie came that is older than what is still served: anonymous, and its token never reaches the back end"
        case "session_ended":
            return f"{name}'s session ended ({event.reason})"


def _age(call: _Call | None) -> str:
    if call is None or call.left is None:
        return "was due"
    if call.left > 0:
        return f"had {call.left:.0f} s left"
    return f"had expired {-call.left:.0f} s ago" if call.left <= -1 else "had just expired"


def _took(call: _Call | None) -> str:
    return "" if call is None else f", {call.took * 1000:.0f} ms"


def _line(note: Note) -> str:
    session = f"[{note.session}] " if note.session else ""
    return f"{time.strftime('%H:%M:%S', time.localtime(note.at))}  {session}{note.text}"
