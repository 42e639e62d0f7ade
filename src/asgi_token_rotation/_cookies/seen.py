"""Session cookies that this process opened lately: the common request brings one of them again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from .jwe import Opened

MAX_ENTRIES = 4096
MAX_BYTES = 16 * 1024 * 1024  # of memory, roughly
ENTRY_BYTES = 3072  # of an entry beside the cookie and the texts in it: the objects around them

_TAG = 22  # characters: 128 bits, the whole tag of A256GCM, the last part of A256CBC-HS512's


_Row: TypeAlias = "tuple[bytes, Opened, int, float, float]"  # the cookie, what it held, bytes, since and until when


class SeenCookies:
    """A cookie that opened is known again for ``keep`` seconds, and never past its ``exp``; 0: nothing is kept.

    It finds by the tag and compares the whole cookie. Only what opened enters, so a client can't fill it with forged
    ones. At most ``max_entries`` and about ``max_bytes``: the oldest go first. May be shared between threads.
    """

    def __init__(self, *, keep: float, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._keep = keep
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()
        self._bytes = 0
        self._look_at = 0.0  # when the oldest row expires, as far as it is known
        self._guard = threading.Lock()  # held for microseconds, so it may be taken in an event loop

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<SeenCookies {len(self._rows)} of {self._max_entries}>"

    @property
    def size(self) -> int:
        """Bytes of memory that it takes, roughly."""
        return self._bytes

    def get(self, value: bytes, now: float) -> Opened | None:
        """What the cookie held when it was opened, if that still counts at ``now``."""
        row = self._rows.get(value[-_TAG:])
        # Who sends another's tag has seen the whole cookie, so the comparison's duration tells nothing new.
        return row[1] if row is not None and row[3] <= now < row[4] and row[0] == value else None

    def put(self, value: bytes, opened: Opened, *, now: float) -> None:
        """Keep what has just been opened at ``now``."""
        since, until = max(now, opened.begins), min(now + self._keep, opened.ends)
        size = 2 * len(value) + ENTRY_BYTES
        if since >= until or size > self._max_bytes:
            return
        tag, rows = value[-_TAG:], self._rows
        with self._guard:
            if tag in rows:
                self._bytes -= rows.pop(tag)[2]
            rows[tag] = (value, opened, size, since, until)
            self._bytes += size
            if now >= self._look_at:
                self._drop_two_expired(now)
            while len(rows) > self._max_entries or self._bytes > self._max_bytes:
                self._bytes -= rows.popitem(last=False)[1][2]

    def _drop_two_expired(self, now: float) -> None:
        # Two out for one in: so they go sooner than they come, and no request pays for a thousand of them.
        for _ in range(2):
            self._look_at = next(iter(self._rows.values()))[4]
            if now < self._look_at or len(self._rows) == 1:
                break
            self._bytes -= self._rows.popitem(last=False)[1][2]
