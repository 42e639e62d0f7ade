"""What people get wrong when they set the middleware up ends in a sentence that says what to do; once, and at start-up if it can."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware

from asgi import Lifespan
from asgi_token_rotation import ConfigurationError, TokenRotationMiddleware
from asgi_token_rotation._checks_of_surroundings import workers_told
from mistakes_at_start import ERRORS, RIGHT, SECRET, WARNINGS, rotation

LOGGER = "asgi_token_rotation"
# What was expected, or what to do.
TO_DO = re.compile(
    r"\b([Aa]dd|Divide|[Gg]ive|[Ll]eave|[Ll]ook|[Mm]ake|[Nn]ame|[Pp]ut|[Ss]et|[Tt]ake|[Uu]se|[Ww]rite|[Cc]reate|expected|mean)\b"
)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged at warning or above by our logger."""
    return [
        record.getMessage() for record in caplog.records if record.name == LOGGER and record.levelno >= logging.WARNING
    ]


@pytest.mark.parametrize(("start", "make"), ERRORS, ids=[f"{n}-{start[:40]}" for n, (start, _) in enumerate(ERRORS)])
def test_a_wrong_option_ends_in_a_sentence(start: str, make: Callable[[], object]) -> None:
    """What can be known at start-up is refused there: what was wrong, what was expected, what to do."""
    with pytest.raises(ConfigurationError) as caught:
        make()

    sentence = str(caught.value)
    assert sentence.startswith(start)
    assert TO_DO.search(sentence), sentence


@pytest.mark.parametrize(
    ("start", "make"), WARNINGS, ids=[f"{n}-{start[:40]}" for n, (start, _) in enumerate(WARNINGS)]
)
def test_a_doubtful_option_is_warned_of(
    start: str, make: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    """What works, but hardly as it was meant, logs one warning that says what to do."""
    with caplog.at_level(logging.WARNING, LOGGER):
        make()

    [sentence] = messages(caplog)
    assert sentence.startswith(start)
    assert TO_DO.search(sentence), sentence


@pytest.mark.parametrize("make", RIGHT)
def test_what_is_right_is_quiet(make: Callable[[], object], caplog: pytest.LogCaptureFixture) -> None:
    """A right set-up logs nothing at start-up."""
    with caplog.at_level(logging.DEBUG, LOGGER):
        make()

    assert messages(caplog) == []


@pytest.mark.parametrize(
    "secret", ["changeme-hunter2-hunter2-hunter2-x", " hunter2hunter2hunter2hunter2hunter2", "hunter2hunter2hunter2"]
)
def test_a_warning_shows_no_secret(secret: str, caplog: pytest.LogCaptureFixture) -> None:
    """I7: what is said of a secret does not repeat it."""
    with caplog.at_level(logging.DEBUG, LOGGER):
        rotation(secret=secret)

    assert messages(caplog)
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("environ", "arguments", "told"),
    [
        ({"WEB_CONCURRENCY": "4"}, ["app.py"], ("WEB_CONCURRENCY", "4")),
        ({}, ["/venv/bin/uvicorn", "main:app", "--workers", "4"], ("--workers", "4")),
        ({}, ["/lib/uvicorn/__main__.py", "main:app", "--workers=2"], ("--workers", "2")),
        ({}, ["/venv/bin/gunicorn", "-w", "3", "-k", "uvicorn.workers.UvicornWorker", "main:app"], ("-w", "3")),
        ({}, ["gunicorn", "-w3", "main:app"], ("-w", "3")),
        ({"GUNICORN_CMD_ARGS": "--bind=:80 --workers=8"}, ["gunicorn", "main:app"], ("--workers", "8")),
        ({}, ["C:\\venv\\Scripts\\uvicorn.exe", "main:app", "--workers", "4"], ("--workers", "4")),
        ({}, ["fastapi", "run", "--workers", "4", "main.py"], ("--workers", "4")),
        ({}, ["litestar", "run", "--wc", "4"], ("--wc", "4")),
        ({}, ["granian", "--interface", "asgi", "--workers", "4", "main:app"], ("--workers", "4")),
        ({}, ["uvicorn", "main:app", "--workers", "1"], None),
        ({}, ["uvicorn", "main:app"], None),
        ({}, ["pytest", "-w", "4", "--workers", "4"], None),
        ({"WEB_CONCURRENCY": "many"}, [], None),
        ({}, ["uvicorn", "main:app", "--workers", "four"], None),
    ],
)
def test_the_number_of_workers_is_read_off_the_command_line(
    environ: dict[str, str], arguments: list[str], told: tuple[str, str] | None
) -> None:
    """R7: several workers of a server with memory:// are noticed by the environment, or by the server's own options."""
    assert workers_told(environ, arguments) == told


def fastapi_with(**options: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(TokenRotationMiddleware, **options)
    return app


def starlette_with(**options: Any) -> Starlette:
    return Starlette(middleware=[Middleware(TokenRotationMiddleware, **options)])


@pytest.mark.parametrize("with_options", [fastapi_with, starlette_with])
@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"secret": None}, "ConfigurationError: secret is missing or no text, but None"),
        ({"secret": SECRET, "provider": []}, "ConfigurationError: 'provider' is no option of TokenRotation"),
        ({}, "ConfigurationError: TokenRotationMiddleware has neither rotation nor secret"),
    ],
)
async def test_a_server_does_not_start_with_wrong_options(
    with_options: Callable[..., Any], options: dict[str, Any], start: str
) -> None:
    """With add_middleware, which builds us when the lifespan begins, a wrong option stops the server by its sentence."""
    app = with_options(**options)
    lifespan = Lifespan(app)

    answer = await lifespan.say("startup")
    await lifespan.task

    assert answer["type"] == "lifespan.startup.failed"
    assert answer["message"].startswith(start)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        for path in ("/", "/api/auth/session"):
            with pytest.raises(ConfigurationError):
                await client.get(path)


async def test_without_a_lifespan_the_first_request_says_it() -> None:
    """Where no lifespan comes first, the wrong option is the exception of the request."""
    transport = httpx.ASGITransport(fastapi_with(secret="short"))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        with pytest.raises(ConfigurationError, match="secret has 5 characters"):
            await client.get("/")


async def test_a_right_server_starts() -> None:
    """The same way of building starts with right options."""
    lifespan = Lifespan(fastapi_with(secret=SECRET))

    assert (await lifespan.say("startup"))["type"] == "lifespan.startup.complete"
    await lifespan.say("shutdown")
    await lifespan.task


def test_uvicorn_stops_with_the_sentence(tmp_path: Path) -> None:
    """A FastAPI application with a wrong option ends uvicorn at start-up; its sentence stands in the log."""
    code = f"""
from fastapi import FastAPI
from asgi_token_rotation import TokenRotationMiddleware
app = FastAPI()
app.add_middleware(TokenRotationMiddleware, secret={SECRET!r}, provider=[])
"""
    (tmp_path / "wrong.py").write_text(code)
    command = [sys.executable, "-m", "uvicorn", "--port", "0", "wrong:app"]

    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert ended.returncode != 0
    assert "'provider' is no option of TokenRotation" in ended.stderr
    assert "Did you mean 'providers'?" in ended.stderr
    assert "Application startup failed" in ended.stderr
