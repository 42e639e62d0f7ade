"""Checks of TokenRotation's options: each refusal says what was wrong, what was expected and what to do."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from typing import cast

from ._log import logger
from .errors import ConfigurationError
from .options import CookieOptions, Lifetime, Pages, RefreshOptions, number
from .providers.base import Provider
from .stores import Store, store_from_url
from .types import Callbacks, Events

SHORTEST_SECRET = 16  # characters
SHORT_SECRET = 32  # characters
MAKE_ONE = "Make one with: openssl rand -base64 33"


def checked_secrets(secret: object) -> list[str]:
    """The secrets, newest first. Under 16 characters: an error; under 32: a warning."""
    given = cast("Sequence[object]", secret if isinstance(secret, list | tuple) else [secret])
    texts = [key for key in given if isinstance(key, str)]
    if not texts or len(texts) < len(given):
        raise ConfigurationError(
            f"secret is missing or no text: expected a string, or a list of strings, newest first. {MAKE_ONE}"
        )
    shortest = min(len(text) for text in texts)
    if shortest < SHORTEST_SECRET:
        raise ConfigurationError(
            f"secret has {shortest} characters: expected {SHORT_SECRET} or more, at random. {MAKE_ONE}"
        )
    if shortest < SHORT_SECRET:
        logger.warning(
            "secret has %d characters: %d or more, at random, are safe. %s", shortest, SHORT_SECRET, MAKE_ONE
        )
    return texts


def check_kinds(**options: object) -> None:
    """Refuse an option that is no object of its kind, and a callback or handler that is no function."""
    kinds = {
        "callbacks": Callbacks,
        "events": Events,
        "refresh_options": RefreshOptions,
        "lifetime": Lifetime,
        "cookie": CookieOptions,
        "pages": Pages,
    }
    for name, value in options.items():
        if not isinstance(value, kinds[name]):
            raise ConfigurationError(f"{name} is a {type(value).__name__}: expected {kinds[name].__name__}(…).")
        if isinstance(value, Callbacks | Events):
            check_callables(**{f"{name}.{item.name}": getattr(value, item.name) for item in dataclasses.fields(value)})


def check_callables(**options: object) -> None:
    """Refuse what is neither None nor a function."""
    for name, value in options.items():
        if value is not None and not callable(value):
            raise ConfigurationError(f"{name} is a {type(value).__name__}: expected a function.")


def check_seconds(**options: float | None) -> None:
    """Refuse what is neither None nor a number of seconds."""
    for name, value in options.items():
        if value is not None:
            number(name, value)


def checked_providers(providers: Sequence[Provider]) -> dict[str, Provider]:
    """The providers by id."""
    if not isinstance(providers, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            f"providers is a {type(providers).__name__}: expected a list, such as [Credentials(authorize=…)]."
        )
    by_id: dict[str, Provider] = {}
    for provider in providers:
        if not all(hasattr(provider, name) for name in ("id", "name", "type", "refresh")):
            raise ConfigurationError(
                f"providers has a {type(provider).__name__}: expected providers such as Credentials(authorize=…)."
            )
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", provider.id if isinstance(provider.id, str) else ""):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"A provider's id is {provider.id!r}: expected letters, digits, - and _, since it stands in URLs."
            )
        if provider.id in by_id:
            raise ConfigurationError(
                f"Two providers have the id {provider.id!r}: expected different ones. Give one of them id=…."
            )
        by_id[provider.id] = provider
    return by_id


def check_texts(*, dialect: object, base_path: object, state_key: object) -> None:
    """Refuse an unknown dialect, a base path that is none, and a key that is no name."""
    if dialect not in ("authjs", "nextauth-v4"):
        raise ConfigurationError(f'dialect is {dialect!r}: expected "authjs" (Auth.js v5) or "nextauth-v4".')
    if not isinstance(base_path, str) or not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", base_path):
        raise ConfigurationError(
            f'base_path is {base_path!r}: expected a path such as "/api/auth", without a slash at its end.'
        )
    if not isinstance(state_key, str) or not state_key.isidentifier():
        raise ConfigurationError(
            f'state_key is {state_key!r}: expected a name, since it becomes request.state.<name>, such as "session".'
        )


def opened_store(store: object, *, clock: Callable[[], float]) -> tuple[Store, bool]:
    """The store behind a URL or an object, and whether it is ours to close."""
    if isinstance(store, str):
        return store_from_url(store, clock=clock), True
    if not all(callable(getattr(store, name, None)) for name in ("get", "compare_and_set", "delete", "aclose")):
        raise ConfigurationError(
            f'store is a {type(store).__name__}: expected a URL such as "memory://", or an object with the methods of Store.'
        )
    return store, False  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # checked above


def check_connections(*, trusted_origins: object, http_client: object, clock: object) -> None:
    """Refuse what is no list of origins, an HTTP client that is none, and a clock that can't be asked."""
    if isinstance(trusted_origins, str) or not isinstance(trusted_origins, Sequence):
        raise ConfigurationError(
            f"trusted_origins is {trusted_origins!r}: expected a list of origins. Put it in brackets."
        )
    if not callable(clock):
        raise ConfigurationError(f"clock is a {type(clock).__name__}: expected a function, such as time.time.")
    if http_client is not None and not callable(getattr(http_client, "request", None)):
        raise ConfigurationError(
            "http_client has no request method: expected an httpx.AsyncClient, or an object of that shape."
        )


def warn_of_workers() -> None:
    """Say so where several workers are about to have a memory of their own each."""
    text = os.environ.get("WEB_CONCURRENCY", "")
    if text.isdecimal() and int(text) > 1:
        logger.warning(
            "WEB_CONCURRENCY is %s and the store is memory://, which each worker has for itself: rotations will get lost."
            ' Use store="sqlite:///path.db" on one host, or store="redis://…" on several.',
            text,
        )
