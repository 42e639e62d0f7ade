"""Append-only journals of JSON lines: each process writes its own, and what is written survives its SIGKILL."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class Journal:
    """Writes lines to one file, each with the time (seconds since the epoch, by the machine's true clock)."""

    def __init__(self, path: Path | str, **always: Any) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._always = always

    def write(self, event: str, **more: Any) -> None:
        """One line, in one write: lines of several processes never mix, and none is lost with its process."""
        line = {"at": time.time(), "event": event} | self._always | more
        os.write(self._file, (json.dumps(line, separators=(",", ":")) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read(folder: Path) -> list[Line]:
    """All lines of all journals in the folder, in order of time."""
    lines: list[Line] = []
    for path in sorted(folder.glob("*.jsonl")):
        with path.open() as file:
            lines += [json.loads(line) for line in file]
    return sorted(lines, key=lambda line: line["at"])


def mark_of(token: str | None) -> str | None:
    """A name for a token by which lines can be compared, and which says nothing."""
    return None if token is None else hashlib.sha256(token.encode()).hexdigest()[:12]
