"""Does what a person would do with ``make demo``: start it, open the page, sign in, see a rotation, stop it.

``python examples/smoke.py demo`` (or ``demo-litestar``) needs Python's standard library only, since ``make demo`` may
have to install all the rest. It ends with an error where something is not as a person would expect.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

ROOT = Path(__file__).resolve().parent.parent
START = 600.0  # seconds: a first start installs
ROTATION = 40.0  # seconds: the access token is good for 30 s
STOP = 15.0  # seconds


class Browser:
    """Just enough of one: it keeps cookies."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()))

    def text(self, path: str, form: dict[str, str] | None = None) -> str:
        """What the application answers: to a GET, or to a POST of the form."""
        body = None if form is None else urlencode(form).encode()
        with self._opener.open(Request(self._address + path, data=body), timeout=20) as response:  # noqa: S310 our own
            return response.read().decode()

    def json(self, path: str, form: dict[str, str] | None = None) -> Any:
        """The same, as JSON."""
        return json.loads(self.text(path, form))


def main(target: str) -> None:
    """One run of ``make demo`` or ``make demo-litestar``, on a free port."""
    command = ["make", "--no-print-directory", target, "PORT=0"]
    demo = subprocess.Popen(  # noqa: S603 our own command
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        line_with = _reader(demo)
        address = line_with(r"http://127\.0\.0\.1:\d+", within=START).strip()
        use(Browser(address))
        line_with(r"signed in", within=5)
        wait_for_rotation(Browser(address), line_with)
    finally:
        os.killpg(demo.pid, signal.SIGINT)
        demo.wait(timeout=STOP)
    print(f"make {target}: all as expected.")
