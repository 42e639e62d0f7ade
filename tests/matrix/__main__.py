"""The whole matrix, or a part: ``python -m matrix``, configured by FRAMEWORK, SERVER (parts of names) and AT_ONCE."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from matrix import report, run
from matrix.frameworks import Framework
from matrix.nginx import program
from matrix.servers import Server

AT_ONCE = 4  # cells; each is a few processes


def say(text: str) -> None:
    """To whoever started this, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def chosen(framework: Framework, server: Server) -> bool:
    """Whether the environment asks for this pair."""
    asked = os.environ.get("FRAMEWORK", "").lower(), os.environ.get("SERVER", "").lower()
    return asked[0] in framework.name.lower() and asked[1] in server.name.lower()


def main() -> int:
    """The exit code says whether all is as it is known to be."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that it ends what it started
    logging.getLogger("asgi_token_rotation").addHandler(logging.NullHandler())
    if program() is None:
        say("nginx is not installed: the matrix needs it (apt-get install nginx).")
        return 1
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="matrix-"))
    at_once = int(os.environ.get("AT_ONCE") or AT_ONCE)
    played = asyncio.run(run.play(folder, chosen=chosen, at_once=at_once, told=lambda cell: say(report.line(cell))))
    say(report.table(played))
    say(f"{time.monotonic() - began:.0f} seconds")
    failures = report.failures(played)
    if failures:
        say(f"{failures}\nThe outputs are in {folder}.")
        return 1
    shutil.rmtree(folder)
    if not os.environ.get("FRAMEWORK") and not os.environ.get("SERVER"):
        report.write(played)
    return 0


if __name__ == "__main__":
    sys.exit(main())
