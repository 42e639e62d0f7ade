"""Runs an example: ``python examples/demo.py fastapi``, or ``litestar``. ``make demo`` installs what it needs first.

It starts a token back end and the application on 127.0.0.1, and tells in words what happens. Control-C stops both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import secrets
import socket
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import uvicorn

# The folder that holds `examples`, in place of `examples` itself: in there is a folder named fastapi.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from examples.back_end import BackEnd  # noqa: E402
from examples.journal import Journal  # noqa: E402
from examples.panel import LateRequestWatch  # noqa: E402

HOST = "127.0.0.1"
USUAL_LATENCY = 0.08  # seconds: about a provider's

WHAT_TO_TRY = """\
  {address}

  Sign in as "ada" with the password "lovelace". An access token is good for {lifetime:g} s here, so within half a
  minute you see the first rotation, on the page and below.
  Then try: 50 requests at once, a back end that is slow or down, a second tab, signing out in one of them.
  Control-C stops everything.
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs an example application with a token back end of its own.")
    parser.add_argument("framework", choices=("fastapi", "litestar"))
    parser.add_argument("--port", type=int, default=8000, help="8000 if you don't say; another one if it is taken")
    parser.add_argument("--lifetime", type=float, default=30.0, help="seconds that an access token is good for")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        run(options.framework, port=options.port, lifetime=options.lifetime)
    say("Stopped.")


def run(framework: str, *, port: int, lifetime: float) -> None:
    """Serve until Control-C."""
    journal = Journal(say=say)
    create_app = importlib.import_module(f"examples.{framework}.app").create_app
    with (
        listening_socket(port) as own,
        back_end_at(BackEnd(access_token_lifetime=lifetime, latency=USUAL_LATENCY)) as url,
    ):
        app = create_app(api=httpx.AsyncClient(base_url=url), secret=secrets.token_urlsafe(32), journal=journal)
        say(WHAT_TO_TRY.format(address=address_of(own), lifetime=lifetime))
        with journal.listening():
            running = server(LateRequestWatch(app, journal=journal))
            running.run(sockets=[own])
    if not running.started:
        raise SystemExit("The application did not start; the lines above say why.")


def say(line: str) -> None:
    """Print at once, also where the output is a pipe."""
    print(line, flush=True)


def listening_socket(port: int) -> socket.socket:
    """On the wished-for port, or on a free one where that is taken."""
    try:
        return socket.create_server((HOST, port))
    except OSError:
        if port:
            say(f"Port {port} is taken; here is another one.")
        return socket.create_server((HOST, 0))


def address_of(listening: socket.socket) -> str:
    """Its URL."""
    return f"http://{HOST}:{listening.getsockname()[1]}"


def server(app: Any) -> uvicorn.Server:
    """A quiet server: the journal is what a person wants to read."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=2)
    return uvicorn.Server(config)


@contextlib.contextmanager
def back_end_at(back_end: BackEnd) -> Generator[str]:
    """Serve the token back end in a thread and an event loop of its own, as if it were far away. Its URL."""
    with socket.create_server((HOST, 0)) as own:
        back_end_server = server(back_end)
        thread = threading.Thread(target=lambda: asyncio.run(back_end_server.serve(sockets=[own])), daemon=True)
        thread.start()
        try:
            yield address_of(own)
        finally:
            back_end_server.should_exit = True
            thread.join(timeout=5)


if __name__ == "__main__":
    main()
