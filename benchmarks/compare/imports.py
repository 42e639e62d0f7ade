"""What the import of the package takes, in processor time, when everything that it depends on is there already."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

_NAMES = """
import sys
import asgi_token_rotation
print(*(name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(("asgi_token_rotation", "_"))))
"""
_TIME = """
import contextlib, importlib, sys, time
for name in sys.argv[1:]:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
began = time.process_time()
import asgi_token_rotation
print(time.process_time() - began)
"""


def import_milliseconds(*, times: int) -> tuple[float, float]:
    """Median and worst of so many fresh processes. Modules of the standard library count where only we need them."""
    names = _run(_NAMES).split()
    _run(_TIME, *names)  # whoever comes first writes the byte code
    taken = [float(_run(_TIME, *names)) * 1000 for _ in range(times)]
    return statistics.median(taken), max(taken)


def _run(code: str, *arguments: str) -> str:
    # With that variable nobody would write the byte code, and every process would compile the package anew.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
