"""The servers, and what they are known to do and not to do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

PREFIX = "/shop"
WAIT_CLOSED_WAITS = sys.version_info >= (3, 12, 1)  # asyncio's Server.wait_closed(), for connections


@dataclass(frozen=True, slots=True)
class Server:
    """A column of the table. Each of its limits is asserted, so that the run notices when one is gone."""

    name: str
    distributions: Sequence[str]  # whose versions the table names
    module: str  # python -m …
    options: Sequence[str]
    port_option: str
    prefix_option: str
    http2: bool = False
    accept_cookie: bool = True  # it sends the cookie that stands in websocket.accept
    waits_for_the_gone: bool = False  # SIGTERM waits for an HTTP/2 connection whose client hung up in a request
    socket_scheme: bool = True  # a WebSocket's scope has one
    minor_version: bool = True  # it says "1.0" of HTTP/1.0
    lifespan: bool = True  # it speaks the lifespan protocol
    adds_prefix: bool = False  # its prefix option puts the prefix before the path; else it takes the path as it comes
    bind: str = field(default="{port}")

    def command(self, application: str, *, port: int, prefix: str | None) -> list[str]:
        """The arguments behind ``python -m``."""
        prefixed = [] if prefix is None else [self.prefix_option, prefix]
        return [self.module, *self.options, self.port_option, self.bind.format(port=port), *prefixed, application]


def _uvicorn(name: str, distributions: Sequence[str], *options: str) -> Server:
    return Server(
        name,
        ("uvicorn", *distributions),
        "uvicorn",
        ("--log-level", "warning", *options),
        "--port",
        "--root-path",
        adds_prefix=True,
    )


def _hypercorn(name: str, *, http2: bool) -> Server:
    return Server(
        name,
        ("hypercorn",),
        "hypercorn",
        (),
        "--bind",
        "--root-path",
        http2=http2,
        bind="127.0.0.1:{port}",
        waits_for_the_gone=http2 and WAIT_CLOSED_WAITS,
    )


def _granian(name: str, *, http2: bool) -> Server:
    options = ("--interface", "asgi", "--log-level", "warning", "--http", "auto" if http2 else "1")
    return Server(
        name,
        ("granian",),
        "granian",
        options,
        "--port",
        "--url-path-prefix",
        http2=http2,
        accept_cookie=False,
        minor_version=False,
    )


SERVERS = (
    _uvicorn("uvicorn, h11", ("h11",), "--http", "h11", "--loop", "asyncio"),
    _uvicorn("uvicorn, httptools", ("httptools",), "--http", "httptools", "--loop", "asyncio"),
    _uvicorn("uvicorn, httptools, uvloop", ("httptools", "uvloop"), "--http", "httptools", "--loop", "uvloop"),
    _hypercorn("hypercorn, HTTP/1.1", http2=False),
    _hypercorn("hypercorn, HTTP/2", http2=True),
    _granian("granian, HTTP/1.1", http2=False),
    _granian("granian, HTTP/2", http2=True),
    Server(
        "daphne",
        ("daphne",),
        "daphne",
        ("-v", "0"),
        "-p",
        "--root-path",
        accept_cookie=False,
        socket_scheme=False,
        lifespan=False,
    ),
)
