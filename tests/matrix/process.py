"""One server process on a free port of 127.0.0.1, with all that it starts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
HOST = "127.0.0.1"
PATIENCE = 60.0  # seconds to start, or to end


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Process:
    """A command in a process group of its own. What it says goes to ``output``."""

    def __init__(self, command: Sequence[str], output: Path, *, port: int, environment: Mapping[str, str]) -> None:
        self.port = port
        self._output = output
        with output.open("ab") as file:
            self._child = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                cwd=output.parent,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    async def ready(self) -> bool:
        """Wait until it listens; False: it has ended instead."""
        deadline = time.monotonic() + PATIENCE
        while self._child.poll() is None:
            assert time.monotonic() < deadline, f"It does not listen:\n{self.said()}"
            try:
                _, writer = await asyncio.open_connection(HOST, self.port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return True
        return False

    def terminate(self) -> None:
        """SIGTERM to the server itself, as a service manager or ``docker stop`` sends it."""
        self._child.send_signal(signal.SIGTERM)

    async def ended(self, *, within: float = PATIENCE) -> bool:
        """Wait until it is gone by itself; whether it was, within so many seconds."""
        deadline = time.monotonic() + within
        while self._child.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return self._child.poll() is not None

    def kill(self) -> None:
        """End all of its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def said(self) -> str:
        """The end of its output."""
        return self._output.read_text("utf-8", "replace")[-800:]


def python(*arguments: str) -> list[str]:
    """A command that runs a module of ours with this Python."""
    return [sys.executable, "-m", "matrix.launch", *arguments]


def python_path() -> str:
    """Where its modules are: the tests, and ``auth``, which all applications share."""
    return os.pathsep.join((str(TESTS), str(HERE / "common"), str(TESTS.parent / "src")))
