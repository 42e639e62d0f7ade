"""Checks of TokenRotation's options: each refusal says what was wrong, what was expected and what to do."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
from collections.abc import Callable, Collection, Sequence
from typing import cast

from ._log import logger
from .errors import ConfigurationError
from .options import CookieOptions, Lifetime, Pages, RefreshOptions, number
from .providers.base import Provider
from .types import Callbacks, Events

SHORTEST_SECRET = 16  # characters
SHORT_SECRET = 32  # characters
MAKE_ONE = "Make one with: openssl rand -base64 33"
_PLACEHOLDER = re.compile(r"change.?me|your.?(own.?)?secret|replace.?me|openssl.rand|super.?secret", re.IGNORECASE)
_LONG_WAIT = 900  # seconds: no browser waits so long
_LONG_LIFE = 10 * 365 * 86_400  # seconds; browsers keep a cookie for 400 days at most (RFC 6265bis, 5.5)


def checked_secrets(secret: object) -> list[str]:
    """The secrets, newest first. Under 16 characters: an error; under 32: a warning."""
    given = cast("Sequence[object]", secret if isinstance(secret, list | tuple) else [secret])
    texts = [key for key in given if isinstance(key, str)]
    if not texts or len(texts) < len(given):
        wrong = next((kind_of(key) for key in given if not isinstance(key, str)), "an empty list")
        raise ConfigurationError(
            f"secret is missing or no text, but {wrong}: expected a string, or a list of strings, newest first. Is the"
            f" environment variable set that it is read from? {MAKE_ONE}"
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
    _warn_of_texts(texts)
    return texts


def _warn_of_texts(secrets: Sequence[str]) -> None:
    if any(_PLACEHOLDER.search(secret) for secret in secrets):
        logger.warning(
            "secret looks like the placeholder of an example, which others know: expected one of your own. %s", MAKE_ONE
        )
    if any(secret != secret.strip().strip("\"'") for secret in secrets):
        logger.warning(
            "secret begins or ends with white space or a quotation mark, which counts as part of it: other programs, such as"
            " Auth.js, may read it without. Take it out, for instance with .strip()."
        )


def kind_of(value: object) -> str:
    """What a value is, in words that show nothing of it."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return "None" if value is None else f"a {type(value).__name__}"


def check_middleware(
    app: object, rotation: object, *, kind: type, given: Collection[str], known: Collection[str]
) -> None:
    """Refuse an application that can't be called, a rotation that is none, and options that there are not."""
    if not callable(app):
        raise ConfigurationError(
            f"TokenRotationMiddleware got {kind_of(app)} as the application: expected an ASGI application. Write"
            " TokenRotationMiddleware(app, rotation=rotation)."
        )
    if rotation is not None and not isinstance(rotation, kind):
        raise ConfigurationError(f"rotation is {kind_of(rotation)}: expected TokenRotation(…), with its options.")
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else " Look it up in the reference."
            raise ConfigurationError(
                f"{name!r} is no option of TokenRotation: expected one that this version knows.{hint}"
            )


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
            raise ConfigurationError(f"{name} is {kind_of(value)}: expected {kinds[name].__name__}(…).")
        if isinstance(value, Callbacks | Events):
            check_callables(**{f"{name}.{item.name}": getattr(value, item.name) for item in dataclasses.fields(value)})


def check_callables(**options: object) -> None:
    """Refuse what is neither None nor a function that can be called with one argument."""
    for name, value in options.items():
        if value is None:
            continue
        if not callable(value) or isinstance(value, type):
            raise ConfigurationError(
                f"{name} is {kind_of(value)}: expected a function. Give its name, without calling it."
            )
        if not _takes_one_argument(value):
            raise ConfigurationError(
                f"{name} can't be called with one argument: expected a function of exactly one, {_argument_of(name)}."
                " Take what you need from it."
            )


def _argument_of(name: str) -> str:
    group, _, last = name.rpartition(".")
    if group == "callbacks":
        return {"jwt": "JWTParams", "session": "SessionParams", "sign_in": "SignInParams"}.get(last, "RedirectParams")
    if group == "events":
        return "the Event"
    return {"skip": "the ASGI scope", "authorize": "the mapping of credentials"}.get(last, "the token, a dict")


def _takes_one_argument(function: Callable[..., object]) -> bool:
    try:
        # What a decorator wraps may have parameters that the decorator fills in.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # some built-in ones don't tell
        return True
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True


def check_skip(skip: object) -> None:
    """Refuse an async ``skip``: a coroutine is true, so that every request would be skipped."""
    check_callables(skip=skip)
    if is_async(skip):
        raise ConfigurationError(
            "skip is async: expected a plain function that takes the scope and answers True or False. Write def, not async def."
        )


def is_async(function: object) -> bool:
    """Whether calling it makes a coroutine, as far as can be told."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 an object's own method


def check_seconds(**options: float | None) -> None:
    """Refuse what is neither None nor a number of seconds."""
    for name, value in options.items():
        if value is not None:
            number(name, value)


def checked_providers(providers: Sequence[Provider]) -> dict[str, Provider]:
    """The providers by id."""
    if not isinstance(providers, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            f"providers is {kind_of(providers)}: expected a list, such as [Credentials(authorize=…)]. Put it in brackets."
        )
    by_id: dict[str, Provider] = {}
    for provider in providers:
        has_all = all(hasattr(provider, name) for name in ("id", "name", "type", "refresh"))
        if isinstance(provider, type) or not has_all:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"providers has {kind_of(provider)}: expected providers such as Credentials(authorize=…)."
            )
        for function in ("authorize", "refresh"):
            check_callables(**{f"{type(provider).__name__}.{function}": getattr(provider, function, None)})
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


def check_accepted(accept_dialects: object, *, dialect: object) -> None:
    """Refuse what is no list of known dialects, each once and other than the one that seals."""
    if isinstance(accept_dialects, str) or not isinstance(accept_dialects, Sequence):
        raise ConfigurationError(
            f'accept_dialects is {accept_dialects!r}: expected a list, such as ["nextauth-v4"]. Put it in brackets.'
        )
    given = cast("Sequence[object]", accept_dialects)
    for place, accepted in enumerate(given):
        if accepted not in ("authjs", "nextauth-v4"):
            raise ConfigurationError(
                f'accept_dialects has {accepted!r}: expected "authjs" (Auth.js v5) or "nextauth-v4", whichever dialect is not.'
            )
        if accepted == dialect:
            raise ConfigurationError(
                f"accept_dialects has {accepted!r}, which is the dialect, and always read: expected the other one. Leave it out."
            )
        if accepted in given[:place]:
            raise ConfigurationError(f"accept_dialects has {accepted!r} twice: expected it once. Leave one out.")


def warn_of_durations(refresh_options: RefreshOptions, lifetime: Lifetime) -> None:
    """Say so where a duration can hardly be meant in seconds."""
    longest = (
        ("RefreshOptions.timeout", refresh_options.timeout, _LONG_WAIT),
        ("RefreshOptions.wait", refresh_options.wait, _LONG_WAIT),
        ("Lifetime.max_age", lifetime.max_age, _LONG_LIFE),
    )
    for name, seconds, limit in longest:
        if seconds > limit:
            logger.warning(
                "%s is %g seconds, which is more than %g: milliseconds are not expected. Divide them by 1000.",
                name,
                seconds,
                limit,
            )
