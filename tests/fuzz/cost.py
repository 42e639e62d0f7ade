"""What an input costs, counted and not timed: the same on every machine."""

from __future__ import annotations

import sys
import tracemalloc
from types import FrameType
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_AEAD = frozenset(("encrypt", "decrypt"))
_HMAC = frozenset(("hmac_digest", "hmac_new"))  # of A256CBC-HS512, which opens nothing before its tag is judged


class Cost:
    """Counts between ``start`` and ``stop``, by the interpreter's profile events: nothing of ours is replaced.

    ``calls`` are all calls of Python and C functions, ``seals`` those into authenticated encryption. ``peak`` is the most
    memory in bytes that was held at one time over what was held before. A step copies no more than the peak, and there
    are no more steps than calls, so the bounds of both bound what is copied.
    """

    __slots__ = ("_before", "calls", "peak", "seals")

    def __init__(self) -> None:
        self.calls = self.seals = self.peak = self._before = 0

    def start(self, *, counted: bool = True) -> None:
        """From here on. ``counted``: False leaves out the calls, for what takes twice as long to count as to do."""
        self.calls = self.seals = 0
        if tracemalloc.is_tracing():
            tracemalloc.reset_peak()
            self._before = tracemalloc.get_traced_memory()[0]
        if counted:
            sys.setprofile(self._count)

    def stop(self) -> None:
        """Up to here."""
        sys.setprofile(None)
        if tracemalloc.is_tracing():
            self.peak = tracemalloc.get_traced_memory()[1] - self._before

    def _count(self, frame: FrameType, event: str, function: Any) -> None:
        if event == "call":
            self.calls += 1
        elif event == "c_call":
            name = function.__name__
            self.calls += not name.startswith("_trace_")  # of atheris, at each branch
            if name in _HMAC or (name in _AEAD and isinstance(function.__self__, AESGCM)):
                self.seals += 1
