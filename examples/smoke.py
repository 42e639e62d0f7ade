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
from http.cookiejar import CookieJar
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any
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
            content: bytes = response.read()
        return content.decode()

    def json(self, path: str) -> Any:
        """The answer to a GET, as JSON."""
        return json.loads(self.text(path))


class Output:
    """What a process prints, line by line, shown as it comes."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines: SimpleQueue[str | None] = SimpleQueue()  # None: the end
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def find(self, pattern: str, *, within: float) -> str:
        """The first match in a line to come; SystemExit where it does not come within so many seconds."""
        deadline = time.monotonic() + within
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0))
            except Empty:
                raise SystemExit(f"No line with {pattern!r} came within {within:g} s.") from None
            if line is None:
                raise SystemExit(f"It ended without a line with {pattern!r}.")
            match = re.search(pattern, line)
            if match:
                return match[0]

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            print("   ", line, end="", flush=True)
            self._lines.put(line)
        self._lines.put(None)


def main(target: str) -> None:
    """One run of ``make demo`` or ``make demo-litestar``, on a free port."""
    demo = subprocess.Popen(  # noqa: S603 the target is one of our own
        ["make", "--no-print-directory", target, "PORT=0"],  # noqa: S607 whatever make there is
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None  # noqa: S101 it is a pipe
    output = Output(demo.stdout)
    try:
        use(Browser(output.find(r"http://127\.0\.0\.1:\d+", within=START)), output)
    finally:
        stop(demo)
    output.find("Stopped", within=1)
    print(f"make {target} does what it should.")


def stop(demo: subprocess.Popen[str]) -> None:
    """As Control-C does, which reaches make and what it runs; by force where that is not enough."""
    if demo.poll() is not None:
        return
    os.killpg(demo.pid, signal.SIGINT)
    try:
        demo.wait(timeout=STOP)
    except subprocess.TimeoutExpired:
        os.killpg(demo.pid, signal.SIGKILL)
        raise SystemExit(f"It did not stop within {STOP:g} s.") from None


def use(browser: Browser, output: Output) -> None:
    """Open the page, sign in as the page's form does, and visit until the access token was refreshed."""
    if "Token rotation" not in browser.text("/"):
        raise SystemExit("The page is not the one that was expected.")
    token = browser.json("/api/auth/csrf")["csrfToken"]
    browser.text(
        "/api/auth/callback/credentials",
        {"username": "ada", "password": "lovelace", "csrfToken": token, "callbackUrl": "/"},
    )
    output.find("Ada signed in", within=5)
    deadline = time.monotonic() + ROTATION
    while browser.json("/api/auth/session").get("generation", 0) == 0:
        if time.monotonic() > deadline:
            raise SystemExit(f"The access token was not refreshed within {ROTATION:g} s.")
        time.sleep(1)
    output.find("Ada's access token had .* refreshed, generation 1", within=5)
    browser.json("/api/profile")


if __name__ == "__main__":
    main(sys.argv[1])
