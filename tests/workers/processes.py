"""One child process on a port of its own, which does not outlive the tests."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from stores.redis_servers import HOST, free_port

READY_WITHIN = 60.0  # seconds
TESTS = Path(__file__).resolve().parent.parent


def end_with_parent() -> None:
    """End this process soon after its parent, however that ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Process:
    """One of our modules, told by its environment what to be. What it says goes to a file in the folder."""

    def __init__(self, module: str, name: str, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self._name = name
        self._command = [sys.executable, "-m", module]
        self._output = folder / f"{name}.out"
        paths = os.pathsep.join((str(TESTS), str(TESTS.parent / "src")))
        self._environment = os.environ | {"PYTHONPATH": paths, "PORT": str(self.port)} | environment
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, without waiting until it listens."""
        with self._output.open("ab") as output:
            self._child = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    async def ready(self) -> None:
        """Wait until it listens."""
        deadline = time.monotonic() + READY_WITHIN
        while True:
            assert not self.ended(), f"{self._name} ended at once: {self._output.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"{self._name} does not listen"
            try:
                _, writer = await asyncio.open_connection(HOST, self.port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return

    def terminate(self) -> None:
        """SIGTERM: it may finish what is under way."""
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def ended(self) -> bool:
        """Whether it is gone, whoever did that."""
        return self._child is None or self._child.poll() is not None
