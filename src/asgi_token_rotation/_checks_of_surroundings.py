"""Checks of what surrounds TokenRotation: its store, its clock, its HTTP client, and how many processes there are."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from ._checks import is_async, kind_of
from ._log import logger
from .errors import ConfigurationError
from .stores import Store, store_from_url
from .types import MILLISECONDS_FROM

_LONG_AGO = 1e9  # seconds since the epoch: 2001
_SERVER = re.compile(r"(^|/)(uvicorn|gunicorn|hypercorn|granian|fastapi|litestar)(/__main__\.py|\.exe)?$")
_WORKERS = re.compile(r"(?:^|\s)(--workers|--web-concurrency|--wc|-[wW])[ =]?(\d{1,4})(?!\S)")


def opened_store(store: object, *, clock: Callable[[], float]) -> tuple[Store, bool]:
    """The store behind a URL or an object, and whether it is ours to close."""
    if isinstance(store, str):
        return store_from_url(store, clock=clock), True
    methods = ("get", "compare_and_set", "delete", "aclose")
    if isinstance(store, type) or not all(callable(getattr(store, name, None)) for name in methods):
        raise ConfigurationError(
            f'store is {kind_of(store)}: expected a URL such as "memory://", or an object with the methods of Store.'
        )
    return store, False  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # checked above


def check_clock(clock: object) -> None:
    """Refuse a clock that can't be asked, or that does not count seconds since the epoch; a low one is warned of."""
    if not callable(clock) or isinstance(clock, type) or is_async(clock):
        kind = "an async function" if callable(clock) and not isinstance(clock, type) else kind_of(clock)
        raise ConfigurationError(f"clock is {kind}: expected a plain function, such as time.time.")
    now = None if clock in (time.monotonic, time.perf_counter, time.process_time) else clock()
    if isinstance(now, bool) or not isinstance(now, int | float):
        kind = "no time of day" if now is None else kind_of(now)
        raise ConfigurationError(
            f"clock answers {kind}: expected seconds since the epoch as a number, as time.time does. Use that."
        )
    if not now < MILLISECONDS_FROM:
        raise ConfigurationError(
            f"clock answers {now:.0f}: that can only be milliseconds; seconds since the epoch are expected. Divide it by 1000."
        )
    if now < _LONG_AGO:
        logger.warning(
            "clock answers %.0f, which is long ago: expected seconds since the epoch, as time.time counts them, not since the"
            " machine's start. Use time.time.",
            now,
        )


def check_client(http_client: object) -> None:
    """Refuse an HTTP client that is none, or one that blocks."""
    if http_client is None:
        return
    if isinstance(http_client, type) or not callable(getattr(http_client, "request", None)):
        raise ConfigurationError(
            f"http_client is {kind_of(http_client)}, without a request method of its own: expected an httpx.AsyncClient, or"
            " an object of that shape."
        )
    if not callable(getattr(http_client, "aclose", None)) and callable(getattr(http_client, "close", None)):
        raise ConfigurationError(
            f"http_client is {kind_of(http_client)}, which blocks: expected an async client. Use httpx.AsyncClient."
        )


def warn_of_workers() -> None:
    """Say so where several workers are about to have a memory of their own each."""
    found = workers_told(os.environ, sys.argv)
    if found is not None:
        logger.warning(
            "%s is %s and the store is memory://, which each worker has for itself: rotations will get lost."
            ' Use store="sqlite:///path.db" on one host, or store="redis://…" on several.',
            *found,
        )


def workers_told(environ: Mapping[str, str], arguments: Sequence[str]) -> tuple[str, str] | None:
    """Where a server was told of several workers, and of how many. Its workers see its command line, too: pure."""
    text = environ.get("WEB_CONCURRENCY", "")
    if text.isdecimal() and int(text) > 1:
        return "WEB_CONCURRENCY", text
    words = environ.get("GUNICORN_CMD_ARGS", "")
    if arguments and _SERVER.search(arguments[0].replace("\\", "/")):
        words += "".join(f" {argument}" for argument in arguments[1:])
    for option, count in _WORKERS.findall(words):
        if int(count) > 1:
            return option, count
    return None
