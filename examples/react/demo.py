"""Runs the React example: ``python examples/react/demo.py``, or with ``--client 4``. ``make demo-react`` installs Python's part.

It installs and bundles the React application where that is not done yet (Node.js and npm), starts a token back end and the
application on 127.0.0.1, and tells in words what happens. Control-C stops both.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import sys
from pathlib import Path

import httpx

sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from examples.back_end import BackEnd  # noqa: E402
from examples.demo import USUAL_LATENCY, address_of, back_end_at, listening_socket, say, server  # noqa: E402
from examples.journal import Journal  # noqa: E402
from examples.react.app import Dialect, create_app  # noqa: E402
from examples.react.bundle import CannotBundleError, bundle  # noqa: E402

CLIENTS: dict[str, Dialect] = {"4": "nextauth-v4", "5": "authjs"}

WHAT_TO_TRY = """\
  {address}

  next-auth/react {client}, in the dialect "{dialect}".
  Sign in as "ada" with the password "lovelace". An access token is good for {lifetime:g} s here, and the page asks for
  its session shortly before that: every rotation stands below.
  Then try: 8 calls at once, a second tab, signing out in one of them, a reload after a minute with the lid closed.
  Control-C stops everything.
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs the React example with a token back end of its own.")
    parser.add_argument(
        "--client", choices=sorted(CLIENTS), default="4", help="next-auth 4.24 or 5 beta; 4 if you don't say"
    )
    parser.add_argument("--port", type=int, default=8000, help="8000 if you don't say; another one if it is taken")
    parser.add_argument("--lifetime", type=float, default=30.0, help="seconds that an access token is good for")
    options = parser.parse_args()
    say("Bundling the React application; the first time npm installs what it needs ...")
    try:
        bundle()
    except CannotBundleError as error:
        raise SystemExit(str(error)) from None
    with contextlib.suppress(KeyboardInterrupt):
        run(options.client, port=options.port, lifetime=options.lifetime)
    say("Stopped.")


def run(client: str, *, port: int, lifetime: float) -> None:
    """Serve until Control-C."""
    journal = Journal(say=say)
    dialect = CLIENTS[client]
    with (
        listening_socket(port) as own,
        back_end_at(BackEnd(access_token_lifetime=lifetime, latency=USUAL_LATENCY)) as url,
        journal.listening(),
    ):
        api = httpx.AsyncClient(base_url=url)
        app = create_app(api=api, secret=secrets.token_urlsafe(32), journal=journal, dialect=dialect)
        say(WHAT_TO_TRY.format(address=address_of(own), client=client, dialect=dialect, lifetime=lifetime))
        running = server(app)
        running.run(sockets=[own])
    if not running.started:
        raise SystemExit("The application did not start; the lines above say why.")


if __name__ == "__main__":
    main()
