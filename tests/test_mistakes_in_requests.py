"""What only requests can show of a mistake is logged once, or said where it is seen; and the troubleshooting page knows it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from asgi_token_rotation import TokenRotationMiddleware
from asgi_token_rotation.types import ASGIApp
from mistakes_at_start import ERRORS, WARNINGS
from mistakes_in_requests import (
    LOGGED,
    LOGGED_EACH_TIME,
    SHOWN,
    Scenario,
    browser,
    called_back,
    form_sign_in,
    tokens_that,
)
from rig import Rig, user_of

LOGGER = "asgi_token_rotation"
PAGE = Path(__file__).parent.parent / "docs" / "troubleshooting.md"
SECRETS = ("lovelace", "refresh-1", "access-1", "access-2", "access-9", "ada@example.com")


def ids(mistakes: list[tuple[str, Scenario]]) -> list[str]:
    return [f"{number}-{start[:50]}" for number, (start, _) in enumerate(mistakes)]


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What our logger said at warning or above."""
    records = [record for record in caplog.records if record.name == LOGGER and record.levelno >= logging.WARNING]
    return [record.getMessage() for record in records]


@pytest.mark.parametrize(("start", "scenario"), LOGGED, ids=ids(LOGGED))
async def test_a_mistake_is_logged_once(start: str, scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    """However often it happens, a mistake is one line in the log, which says what to do and holds no secret."""
    with caplog.at_level(logging.WARNING, LOGGER):
        await scenario()

    [sentence] = [message for message in logged(caplog) if message.startswith(start)]
    assert re.search(
        r"\b([Aa]dd|[Gg]ive|[Kk]eep|[Ll]eave|[Mm]ake|[Oo]pen|[Pp]ut|[Rr]emove|[Rr]eturn|[Ss]et|[Uu]se|mends)\b",
        sentence,
    )
    assert [secret for secret in SECRETS if secret in sentence] == []


async def test_a_token_that_never_expires_needs_no_refresh_token(caplog: pytest.LogCaptureFixture) -> None:
    """A back end whose access tokens have no end, as GitHub's, makes no mistake by giving no refresh token."""
    with caplog.at_level(logging.WARNING, LOGGER):
        await tokens_that(refresh_token=None, expires_at=None)

    assert logged(caplog) == []


@pytest.mark.parametrize(("start", "scenario"), LOGGED_EACH_TIME, ids=ids(LOGGED_EACH_TIME))
async def test_a_failure_is_logged_with_our_sentence(
    start: str, scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a sign-in or a refresh fails by a wrong value, the log repeats our sentence about it, not only its type."""
    with caplog.at_level(logging.WARNING, LOGGER):
        await scenario()

    found = [message for message in logged(caplog) if message.startswith(start)]
    assert found
    assert all("expected" in message for message in found)


@pytest.mark.parametrize(
    ("callbacks", "sentence"),
    [
        ({"jwt": lambda _: "token"}, "The jwt callback answered a str: expected the token"),
        ({"jwt": lambda params: params.token | {"at": object()}}, "to something that JSON does not have (object)"),
        ({"session": lambda _: None}, "The session callback answered a NoneType: expected the session"),
        (
            {"session": lambda params: params.session | {"r": params.token["refresh_token"]}},
            "The session callback put the refresh token into the session",
        ),
    ],
)
async def test_a_callback_that_fails_at_a_sign_in(
    callbacks: dict[str, Any], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A sign-in at the endpoints, which answer no exception, logs what the callback did wrong in our own words."""
    await called_back(**callbacks)

    [message, *_] = [message for message in logged(caplog) if message.startswith("The sign-in with the provider")]
    assert sentence in message


@pytest.mark.parametrize(("start", "scenario"), SHOWN, ids=ids(SHOWN))
async def test_a_mistake_is_seen_in_these_words(start: str, scenario: Scenario) -> None:
    """What the page quotes of exceptions, answers and addresses is what frameworks, and we, really say."""
    said = await scenario()

    assert any(start in text for text in said), said


def quoted() -> list[str]:
    """The messages and codes in the page's headings, below its chapter of symptoms."""
    messages = PAGE.read_text("utf-8").partition("\n## Codes ")[2]
    headings = re.findall(r"^#{2,4} (.+)$", messages, re.MULTILINE)
    return [quote for heading in headings for quote in re.findall(r"`([^`]+)`", heading)]


def test_the_page_quotes_what_is_really_said() -> None:
    """Each message that heads an entry of the troubleshooting page begins like one that these tests produce."""
    produced = [start for start, _ in [*ERRORS, *WARNINGS, *LOGGED, *LOGGED_EACH_TIME, *SHOWN]]

    assert len(quoted()) > 40
    assert [quote for quote in quoted() if not any(alike(quote, start) for start in produced)] == []


def test_the_page_knows_every_mistake() -> None:
    """Whatever is logged or shown because of a mistake has an entry, by the words that people see."""
    said = [start for start, _ in [*WARNINGS, *LOGGED, *LOGGED_EACH_TIME, *SHOWN]]

    assert [start for start in said if not any(alike(quote, start) for quote in quoted())] == []


def alike(quote: str, start: str) -> bool:
    """Whether a quote, in which … stands for anything, and the beginning of a message are the beginning of one text."""
    pattern = ".+?".join(re.escape(part) for part in quote.strip(" .").split("…"))
    return re.match(pattern, start) is not None or quote.startswith(start)


def plain(app: ASGIApp) -> ASGIApp:
    """A BaseHTTPMiddleware that does nothing."""
    return BaseHTTPMiddleware(app, dispatch=lambda request, call_next: call_next(request))


NEIGHBOURS: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "gzip": lambda app: GZipMiddleware(app, minimum_size=1),
    "trusted-host": lambda app: TrustedHostMiddleware(app, allowed_hosts=["testserver"]),
    "cors": lambda app: CORSMiddleware(
        app, allow_origins=["http://a.example"], allow_methods=["*"], allow_credentials=True
    ),
    "base-http": plain,
}


@pytest.mark.parametrize("outside", [True, False], ids=["outside", "inside"])
@pytest.mark.parametrize("name", NEIGHBOURS)
async def test_the_order_of_middlewares_does_not_matter(name: str, outside: bool) -> None:
    """Common middlewares may stand on either side of ours: sign-in, session and one refresh for all work."""
    rig, neighbour = Rig(), NEIGHBOURS[name]
    app = neighbour(rig.app) if outside else TokenRotationMiddleware(neighbour(rig.app.app), rotation=rig.rotation)

    async with browser(app) as client:
        await client.get("/login")
        rig.past_expiry()
        answers = await asyncio.gather(*(client.get("/me") for _ in range(3)))
        after = await client.get("/api/auth/session")

    assert [user_of(answer) for answer in [*answers, after]] == ["ada@example.com"] * 4
    assert (rig.server.rotations, rig.server.reuses) == (1, 0)


async def test_cors_outside_answers_for_the_endpoints() -> None:
    """With CORSMiddleware outside, a trusted front end of another origin is let in, preflight and credentials included."""
    rig = Rig(trusted_origins=["http://a.example"])
    app = NEIGHBOURS["cors"](rig.app)
    headers = {"origin": "http://a.example", "access-control-request-method": "POST"}

    async with browser(app) as client:
        before = await client.options("/api/auth/session", headers=headers)
        answer = await form_sign_in(client, "http://a.example")
        shown = await client.get("/api/auth/session", headers={"origin": "http://a.example"})

    assert before.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "http://a.example"
    assert user_of(shown) == "ada@example.com"
    assert shown.headers["access-control-allow-credentials"] == "true"
