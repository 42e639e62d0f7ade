"""What the child process runs: a server's own command line, ended together with whoever started it."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time


def end_with_parent() -> None:
    """End this process, and those that it started, soon after its parent. It leads a process group of its own."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    del sys.argv[0]  # what is left is the server's own command
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
