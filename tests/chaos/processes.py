"""The processes of a run: each on a port of its own on 127.0.0.1, none outlives the harness."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

READY_WITHIN = 60.0  # seconds


def end_with_parent() -> None:
    """End this process soon after its parent, however that ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _bound() -> list[str]:
    """What makes a child die with the harness even if that is killed, and the child is stopped (Linux)."""
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "KILL"]


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A child that can be killed, stopped and started again with the same port. Its output goes to a file."""

    def __init__(self, name: str, command: list[str], folder: Path, *, port: int, **environment: str) -> None:
        self.name = name
        self.port = port
        self._command = [*_bound(), *command]
        self._output = folder / f"{name}.out"
        self._environment = os.environ | {"PORT": str(port)} | environment
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the present child."""
        assert self._child is not None
        return self._child.pid

    def start(self) -> None:
        """Start it, without waiting until it listens."""
        with self._output.open("ab") as output:
            self._child = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    async def ready(self) -> None:
        """Wait until it listens."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            if self._child is None or self._child.poll() is not None:
                raise RuntimeError(f"{self.name} ended at once: {self._output.read_text()[-2000:]}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
        raise RuntimeError(f"{self.name} does not listen after {READY_WITHIN:g} s.")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
            self._child.wait()

    def ended(self) -> bool:
        """Whether it is gone, whoever did that."""
        return self._child is None or self._child.poll() is not None


def python_process(module: str, name: str, folder: Path, *, code: Path, **environment: str) -> Process:
    """One of the modules in ``code`` as a process."""
    journal = str(folder / f"{name.replace(' ', '-')}.jsonl")
    command = [sys.executable, "-m", module]
    return Process(name, command, folder, port=free_port(), JOURNAL=journal, PYTHONPATH=str(code), **environment)


def redis_process(folder: Path) -> Process:
    """A Redis that has every answered write on the disk."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is not installed (Debian, Ubuntu: apt-get install redis-server).")
    port = free_port()
    options = {
        "--port": str(port),
        "--bind": "127.0.0.1",
        "--dir": str(folder),
        "--save": "",
        "--appendonly": "yes",
        "--appendfsync": "always",
        "--maxmemory-policy": "noeviction",
    }
    setpriv = shutil.which("setpriv")  # so that it ends with the harness even if that is killed
    bound = [] if setpriv is None else [setpriv, "--pdeathsig", "KILL"]
    return Process(
        "redis", [*bound, program, *(part for option in options.items() for part in option)], folder, port=port
    )
