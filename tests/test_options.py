"""Every option, given wrongly, is refused at start-up by a sentence that names it and says what to do."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, cast

import pytest

from asgi_token_rotation import (
    Callbacks,
    ConfigurationError,
    CookieOptions,
    Credentials,
    Events,
    Field,
    Lifetime,
    Pages,
    RefreshOptions,
    TokenRotation,
    TokenRotationMiddleware,
)
from asgi_token_rotation.stores import MemoryStore

SECRET = "0123456789abcdef" * 2
LOGGER = "asgi_token_rotation"
NAN, INFINITY = float("nan"), float("inf")
# What was expected, or what to do.
HELP = re.compile(r"expected |\b([Aa]dd|[Cc]hoose|[Gg]ive|[Ll]eave|[Mm]ake|[Pp]ut|[Uu]se)\b")

Make = Callable[..., object]


class Half:
    """Has some of a store's methods, and none of a client's or a provider's."""

    id = name = type = "half"

    async def get(self, key: str) -> bytes | None:
        """As a store has it."""
        return None


class Named(Half):
    """A provider but for its id."""

    refresh = None

    def __init__(self, id: Any) -> None:  # noqa: A002 the protocol's word
        self.id = id


def some(credentials: object) -> None:
    """An authorize function."""


def rotation(**options: Any) -> TokenRotation:
    return TokenRotation(**{"secret": SECRET, **options})


def credentials(**options: Any) -> Credentials:
    return Credentials(**{"authorize": some, **options})


def wrong(make: Make, option: str, *values: Any, **others: Any) -> list[Any]:
    """One case for each value. Ids hold no address, so they are the same in every worker."""
    name = getattr(make, "__name__", "")
    return [
        pytest.param(make, option, {option: value, **others}, id=f"{name}.{option}-{number}")
        for number, value in enumerate(values)
    ]


def no_seconds(*more: Any) -> tuple[Any, ...]:
    return ("30", "", [], True, NAN, INFINITY, -1, -0.5, *more)


REFRESH = [
    *wrong(RefreshOptions, "margin", *no_seconds()),
    *wrong(RefreshOptions, "timeout", *no_seconds(0, None)),
    *wrong(RefreshOptions, "wait", *no_seconds(0, None)),
    *wrong(RefreshOptions, "grace", *no_seconds(None)),
    *wrong(RefreshOptions, "undelivered", *no_seconds(None)),
    *wrong(RefreshOptions, "lease", *no_seconds(0, None, 10, 11)),
    *wrong(RefreshOptions, "shutdown_wait", *no_seconds(None)),
    *wrong(RefreshOptions, "concurrency", *no_seconds(0, 1.5, None)),
    *wrong(RefreshOptions, "refused_code", "", None, 5),
    *wrong(RefreshOptions, "on_refused", "flagged", None, True, []),
    *wrong(RefreshOptions, "on_stale", "end", None, True, []),
]
LIFETIME = [
    *wrong(Lifetime, "max_age", *no_seconds(0, None)),
    *wrong(Lifetime, "absolute_max_age", *no_seconds(0)),
    *wrong(Lifetime, "update_age", *no_seconds(51), max_age=100),
]
COOKIE = [
    *wrong(CookieOptions, "name", "", "a b", "a;b", "ä", "a=b", "__Host-a", "__Secure-a", 5),
    *wrong(CookieOptions, "domain", "", "a;b", "a b", "a\n", 5),
    *wrong(CookieOptions, "path", "", "app", "/a;b", "/a\r\n", 5, None),
    *wrong(CookieOptions, "secure", "yes", 1),
    *wrong(CookieOptions, "secure", False, prefix="__Secure-"),
    *wrong(CookieOptions, "secure", False, prefix="__Host-"),
    *wrong(CookieOptions, "secure", False, same_site="none"),
    *wrong(CookieOptions, "same_site", "Lax", "", None, []),
    *wrong(CookieOptions, "prefix", "__secure-", "x", 5),
    *wrong(CookieOptions, "prefix", "__Host-", domain="example.com"),
    *wrong(CookieOptions, "prefix", "__Host-", path="/app"),
    *wrong(CookieOptions, "encryption", "A128GCM", "a256gcm", None, []),
]
PAGES = [
    case
    for page in ("sign_in", "sign_out", "error")
    for case in wrong(Pages, page, "", "login", "//e.example", "/\\e.example", "javascript:alert(1)", 5)
]
ROTATION = [
    *wrong(rotation, "secret", "", None, 5, b"x" * 32, [], [SECRET, ""], [SECRET, None], "a" * 15, [SECRET, "a" * 15]),
    *wrong(
        rotation, "public_url", "", "example.com", "ftp://a", "https://", "https://a?b=c", "https://a#b", [], 5, [5]
    ),
    *wrong(rotation, "public_url", "https://user@a.example", "https://a.example:port", ["https://a.example", "b"]),
    *wrong(rotation, "providers", None, 5, credentials(), [5], [Half()], [credentials(), credentials()]),
    *wrong(rotation, "providers", [Named("")], [Named("a b")], [Named("a/b")], [Named("a" * 65)], [Named(None)]),
    *wrong(rotation, "callbacks", None, {}, some, Events(), Callbacks(jwt=cast("Any", "jwt"))),
    *wrong(rotation, "events", None, {}, some, Callbacks(), Events(refreshed=cast("Any", 5))),
    *wrong(rotation, "refresh", 5, "refresh"),
    *wrong(rotation, "refresh_options", None, {"margin": 5}),
    *wrong(rotation, "lifetime", None, 3600),
    *wrong(rotation, "store", None, 5, "", "memory", "memory://x", "mysql://user:password@host", Half()),
    *wrong(rotation, "store", "sqlite://", "postgres://host"),
    *wrong(rotation, "cookie", None, "session", {"name": "a"}),
    *wrong(rotation, "pages", None, {"sign_in": "/login"}),
    *wrong(rotation, "dialect", None, "", "authjs-v5", []),
    *wrong(rotation, "accept_dialects", None, 5, "nextauth-v4", ["authjs-v5"], [None], [[]], ["authjs"]),
    *wrong(rotation, "accept_dialects", ["nextauth-v4", "nextauth-v4"], ["nextauth-v4", "authjs"]),
    *wrong(rotation, "accept_dialects", ["nextauth-v4"], dialect="nextauth-v4"),
    *wrong(rotation, "base_path", None, "", "/", "api/auth", "/api/auth/", "/a b", "https://a.example/api", 5),
    *wrong(rotation, "trusted_origins", None, 5, "https://a.example", ["a.example"], ["https://a.example/path"], [5]),
    *wrong(rotation, "skip", 5, "/static"),
    *wrong(rotation, "http_client", 5, Half()),
    *wrong(rotation, "state_key", None, "", "a b", "1a", 5),
    *wrong(rotation, "clock", None, 5, 1_800_000_000.0),
]
OTHERS = [
    *wrong(credentials, "authorize", None, 5),
    *wrong(credentials, "refresh", 5),
    *wrong(
        credentials, "fields", None, 5, {"csrfToken": Field(label="x")}, {"username": "text"}, {5: Field(label="x")}
    ),
    *wrong(MemoryStore, "max_records", 0, -1, 1.5, "5", True, None),
]


@pytest.mark.parametrize(("make", "option", "options"), [*REFRESH, *LIFETIME, *COOKIE, *PAGES, *ROTATION, *OTHERS])
def test_a_wrong_option_is_refused(make: Make, option: str, options: dict[str, Any]) -> None:
    """A wrong value raises ConfigurationError, whose message names the option and says what to do."""
    with pytest.raises(ConfigurationError) as caught:
        make(**options)

    sentence = str(caught.value)
    assert option.rstrip("s") in sentence  # "A provider's id …" is about providers
    assert HELP.search(sentence), sentence
    assert sentence.endswith((".", ")", "33"))


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (RefreshOptions, {"margin": 0, "timeout": 1, "wait": 2.5, "grace": 0, "undelivered": 0, "lease": 0.5}),
        (RefreshOptions, {"shutdown_wait": 0, "concurrency": 1, "refused_code": "RefreshTokenError"}),
        (RefreshOptions, {"on_refused": "end", "on_stale": "end_session"}),
        (Lifetime, {"max_age": 100, "absolute_max_age": 50, "update_age": 50}),
        (CookieOptions, {"name": "sid", "domain": "example.com", "path": "/app", "secure": True, "same_site": "none"}),
        (CookieOptions, {"prefix": "__Host-", "encryption": "A256CBC-HS512"}),
        (CookieOptions, {"prefix": "", "secure": False}),
        (Pages, {"sign_in": "/login", "sign_out": "/bye", "error": "https://example.com/oops"}),
        (
            rotation,
            {"secret": [SECRET, SECRET[::-1]], "public_url": ["https://a.example/app", "http://b.example:8000"]},
        ),
        (rotation, {"providers": [credentials(), credentials(id="other")], "store": MemoryStore(max_records=1)}),
        (rotation, {"base_path": "/auth", "trusted_origins": ["https://a.example"], "state_key": "user_session"}),
        (rotation, {"skip": lambda scope: False, "dialect": "nextauth-v4", "clock": lambda: 0.0}),
        (rotation, {"dialect": "nextauth-v4", "accept_dialects": ["authjs"]}),
        (rotation, {"accept_dialects": ("nextauth-v4",), "cookie": CookieOptions(encryption="A256CBC-HS512")}),
    ],
)
def test_a_right_option_is_taken(make: Make, options: dict[str, Any]) -> None:
    """What the reference allows is allowed, at its bounds too."""
    assert make(**options)


@pytest.mark.parametrize("make", [RefreshOptions, Lifetime, CookieOptions, Pages, rotation, credentials])
def test_an_unknown_option_is_refused(make: Make) -> None:
    """An option that this version does not know is refused by its name."""
    with pytest.raises((TypeError, ConfigurationError), match="strictness"):
        make(strictness=1)


def test_an_unknown_option_of_the_middleware_is_refused() -> None:
    """The middleware's flat form knows the options of TokenRotation, and no others."""
    unknown: Any = {"strictness": 1}

    with pytest.raises((TypeError, ConfigurationError), match="strictness"):
        TokenRotationMiddleware(some, secret=SECRET, **unknown)  # type: ignore[arg-type]


def test_the_middleware_takes_one_form() -> None:
    """A rotation together with options is refused, and so is neither."""
    with pytest.raises(ConfigurationError, match=r"rotation= came together with secret.*Give these to TokenRotation"):
        TokenRotationMiddleware(some, rotation=rotation(), secret=SECRET)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="secret"):
        TokenRotationMiddleware(some)  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [0, 1, 15])
def test_a_secret_under_16_characters_is_an_error(length: int) -> None:
    """A secret under 16 characters is refused, wherever in the list it stands, and is not repeated in the message."""
    short = "s3cr3t-s3cr3t-s3"[:length]
    for secret in (short, [short, SECRET], [SECRET, short]):
        with pytest.raises(ConfigurationError, match=rf"secret has {length} characters.*32.*openssl rand") as caught:
            rotation(secret=secret)
        assert length < 8 or short not in str(caught.value)


@pytest.mark.parametrize(("length", "warnings"), [(16, 1), (31, 1), (32, 0), (64, 0)])
def test_a_secret_under_32_characters_is_a_warning(
    length: int, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A secret of 16 to 31 characters works, with one warning; from 32 on there is none."""
    with caplog.at_level(logging.WARNING, LOGGER):
        rotation(secret="x1" * (length // 2) + "y" * (length % 2))

    messages = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert len(messages) == warnings
    assert all(f"secret has {length} characters" in message and "x1x1" not in message for message in messages)


def test_several_workers_with_a_memory_store_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """R7: WEB_CONCURRENCY above 1 with memory:// logs one warning that names the stores to use."""
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    with caplog.at_level(logging.WARNING, LOGGER):
        rotation()
    [message] = [record.getMessage() for record in caplog.records if record.name == LOGGER]

    assert "sqlite:///" in message
    assert "redis://" in message


@pytest.mark.parametrize("text", ["1", "", "many", "0"])
def test_one_worker_is_not_warned_of(
    text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One process, or a WEB_CONCURRENCY that is no number, logs nothing."""
    monkeypatch.setenv("WEB_CONCURRENCY", text)
    with caplog.at_level(logging.WARNING, LOGGER):
        rotation()

    assert caplog.records == []


def test_a_store_s_password_is_not_repeated() -> None:
    """I7: the message about an unknown store names its scheme, not its password."""
    with pytest.raises(ConfigurationError) as caught:
        rotation(store="mysql://user:hunter2@host/db")

    assert "mysql" in str(caught.value)
    assert "hunter2" not in str(caught.value)
