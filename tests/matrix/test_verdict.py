"""What the matrix says of its own journals: it must be able to fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asgi_token_rotation import TokenSet
from asgi_token_rotation.testing import session_cookie
from matrix import report
from matrix.frameworks import FRAMEWORKS
from matrix.journal import Count, count, refresh_token_in
from matrix.outcome import Outcome
from matrix.run import NAMES, Played
from matrix.servers import SERVERS

SECRET = "a secret of the tests, long enough for everybody"
GOOD = Played(FRAMEWORKS[0], SERVERS[0], dict.fromkeys(NAMES, Outcome()), Count(sessions=1, sends=1))


def test_a_session_that_holds_its_newest_token_is_counted_as_kept() -> None:
    """A family that rotated twice, each token sent once, whose browser has the third token: nothing is wrong."""
    assert count(["1-0", "1-1", "2-0"], {"1": "1-2", "2": "2-1", "3": "3-0"}) == Count(sessions=3, sends=3)


def test_a_token_that_came_twice_is_counted() -> None:
    """A refresh token that the token server received more than once is sent twice."""
    assert count(["1-0", "1-0", "2-0"], {"1": "1-1", "2": "2-1"}).twice == 1


@pytest.mark.parametrize("held", ["1-0", "2-1", "unknown", None])
def test_a_browser_without_the_newest_token_has_lost_it(held: str | None) -> None:
    """A cookie with an older token, somebody else's, or none at all: lost."""
    assert count(["1-0"], {"1": held}).lost == 1


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "https://shop.example"])
async def test_the_token_is_read_from_the_cookie(origin: str) -> None:
    """What a browser holds is read from its cookies, in chunks or not, with the site's prefix; other cookies hold nothing."""
    tokens = TokenSet(access_token="access", refresh_token="refresh-1", expires_at=1)
    for large in ("", "x" * 4000):
        cookies = session_cookie(
            secret=SECRET,
            user={"id": "ada"},
            tokens=tokens,
            claims={"large": large},
            secure=origin.startswith("https:"),
        )
        text = "; ".join(f"{name}={value}" for name, value in cookies.items())
        assert await refresh_token_in(text, secret=SECRET, origin=origin) == "refresh-1"
        assert await refresh_token_in(text[:-10], secret=SECRET, origin=origin) is None
    assert await refresh_token_in("", secret=SECRET, origin=origin) is None


def test_a_good_cell_has_no_failure() -> None:
    """A cell where all went well says how many checks passed."""
    assert report.symbol(GOOD) == str(len(NAMES))
    assert report.failures([GOOD]) == ""


@pytest.mark.parametrize("wrong", [Count(sends=2, twice=1), Count(sessions=1, lost=1)])
def test_the_journal_fails_a_cell(wrong: Count) -> None:
    """A token sent twice, or a lost one, fails a cell whose checks all passed."""
    cell = replace(GOOD, count=wrong)

    assert report.symbol(cell) == "FAILED"
    assert "Starlette on uvicorn, h11" in report.failures([cell])
    assert report.total([GOOD, cell]) == GOOD.count + wrong


def test_a_failed_check_fails_its_cell() -> None:
    """One failed check is enough, and its reason is told."""
    cell = replace(GOOD, outcomes={**GOOD.outcomes, NAMES[0]: Outcome(failed="because of this")})

    assert report.symbol(cell) == "FAILED"
    assert "because of this" in report.failures([cell])


def test_what_is_skipped_is_said_with_its_reason() -> None:
    """A check that was left out is not counted as passed, and the table says why; a known limit has its letter there."""
    outcomes = {**GOOD.outcomes, "websocket": Outcome(skipped="there is none"), "shutdown": Outcome(limit="d")}
    cell = replace(GOOD, outcomes=outcomes)

    assert report.symbol(cell) == f"{len(NAMES) - 1} d"
    assert "- **d**: the server speaks no lifespan" in "\n".join(report.notes([cell]))
    assert "- skipped: Starlette on uvicorn, h11, websocket: there is none." in report.notes([cell])
