"""The parts of the React example and of ``make e2e`` that need neither node nor a browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from asgi_token_rotation.testing import Clock

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # the examples are no part of the package: they are found from the root

from examples.back_end import BackEnd  # noqa: E402
from examples.journal import Journal  # noqa: E402
from examples.react.app import Dialect, create_app  # noqa: E402

NOBODY: dict[Dialect, Any] = {"authjs": None, "nextauth-v4": {}}


def browser(dialect: Dialect, clock: Clock) -> httpx.AsyncClient:
    back_end = httpx.AsyncClient(
        transport=httpx.ASGITransport(BackEnd(clock=clock)), base_url="http://back-end", trust_env=False
    )
    app = create_app(
        api=back_end,
        secret="a secret of an example that is long enough",
        journal=Journal(clock=clock),
        dialect=dialect,
        clock=clock,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")


@pytest.mark.parametrize("dialect", NOBODY)
async def test_each_client_understands_that_nobody_is_signed_in(dialect: Dialect, clock: Clock) -> None:
    """The React example answers GET session of somebody who is signed out as the client of its dialect expects it."""
    async with browser(dialect, clock) as client:
        assert (await client.get("/api/auth/session")).json() == NOBODY[dialect]


@pytest.mark.parametrize("dialect", NOBODY)
async def test_the_session_carries_what_the_interval_is_computed_from(dialect: Dialect, clock: Clock) -> None:
    """Whoever signs in to the React example has accessTokenExpires and refreshAt in the session, and a good API answer."""
    async with browser(dialect, clock) as client:
        csrf = (await client.get("/api/auth/csrf")).json()["csrfToken"]
        form = {"username": "ada", "password": "lovelace", "csrfToken": csrf, "callbackUrl": "/", "json": "true"}
        await client.post("/api/auth/callback/credentials", data=form, headers={"x-auth-return-redirect": "1"})
        session = (await client.get("/api/auth/session")).json()
        assert sorted(session) == ["accessTokenExpires", "expires", "refreshAt", "user"]
        assert session["refreshAt"] < session["accessTokenExpires"]
        assert (await client.get("/api/profile")).json()["name"] == "Ada"


@pytest.mark.parametrize("path", ["/", "/login", "/assets/style.css"])
async def test_the_page_is_the_same_for_everybody(path: str, clock: Clock) -> None:
    """The React example's own files are served under a strict policy, and without any cookie work."""
    async with browser("authjs", clock) as client:
        response = await client.get(path)
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    assert "vary" not in response.headers
    assert response.headers["content-security-policy"].startswith("default-src 'self'")


def test_both_clients_come_from_npm() -> None:
    """Both clients of the React example come from npm under their own names: 4.24 and the 5 beta."""
    wanted = json.loads((ROOT / "examples" / "react" / "package.json").read_text())["dependencies"]
    assert wanted["next-auth"].startswith("~4.24.")
    assert wanted["next-auth-beta"].startswith("npm:next-auth@5.0.0-beta.")


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("1", 1)])
def test_missing_programs_are_a_skip_and_in_ci_a_failure(ci: str, code: int) -> None:
    """Without Chromium make e2e says so and is done, and fails where CI is set."""
    environment = {**os.environ, "PATH": "", "CI": ci}
    environment.pop("CHROMIUM", None)
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "e2e" / "run.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "chromium is not installed" in done.stdout + done.stderr
