from __future__ import annotations

import pytest

from asgi_token_rotation._endpoints.beacon import PAUSE, ClientReports
from asgi_token_rotation._endpoints.body import MAX_BODY
from asgi_token_rotation._origins import Origins
from asgi_token_rotation.types import Message
from endpoints.browser import browsing, scope_of

REPORT = (
    b"level=error&code=CLIENT_FETCH_ERROR&client=true&message=m&error=%5Bobject+Object%5D&url=%2Fapi%2Fauth%2Fsession"
)
FORM = (b"content-type", b"application/x-www-form-urlencoded;charset=UTF-8")


class Reported:
    """Takes reports at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.reports = ClientReports(origins=Origins(public_url=None, trusted_origins=()), monotonic=lambda: self.now)

    async def __call__(self, body: bytes = REPORT, *headers: tuple[bytes, bytes]) -> int | None:
        """The status of the answer."""

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        scope = scope_of("/api/auth/_log", method="POST", headers=[FORM, *headers])
        response = await self.reports.take(scope, receive)
        assert response is None or bytes(response.body) == b"" or response.status_code != 200
        return None if response is None else response.status_code


async def test_a_report_is_a_line_with_level_and_code(caplog: pytest.LogCaptureFixture) -> None:
    """What v4's client reports is one log line of level and code, and nothing else of what it sent."""
    async with browsing(dialect="nextauth-v4") as browser:
        fields = {"level": "error", "code": "CLIENT_FETCH_ERROR", "message": "forged\nline", "url": "/secret"}
        response = await browser.client.post("/api/auth/_log", data=fields)

    assert (response.status_code, response.content) == (200, b"")
    assert [record.getMessage() for record in caplog.records if "NextAuth client" in record.getMessage()] == [
        "A browser's NextAuth client reports CLIENT_FETCH_ERROR (error). Reports left out since the last such line: 0."
    ]
    assert "forged" not in caplog.text
    assert "/secret" not in caplog.text


async def test_a_flood_is_a_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """However many reports come, one line a minute is written, which counts those that were left out."""
    reported = Reported()
    for _ in range(500):
        assert await reported() == 200
    assert len(caplog.records) == 1

    reported.now += PAUSE - 1
    await reported()
    assert len(caplog.records) == 1

    reported.now += 1
    await reported()
    assert len(caplog.records) == 2
    assert caplog.records[1].getMessage().endswith("left out since the last such line: 500.")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"level=error",
        b"level=error&code=",
        b"level=error&code=forged%0Aline",
        b"level=error&code=lower_case",
        b"level=error&code=" + b"A" * 65,
        b"level=fatal&code=CLIENT_FETCH_ERROR",
        b"level=error&code=CLIENT_FETCH_ERROR&x=%ff",
        b"&" * 200,
    ],
)
async def test_what_is_no_report_is_not_logged(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A body that is none of v4's reports is answered 200 all the same, and leaves no line."""
    assert await Reported()(body) == 200
    assert caplog.records == []


async def test_another_sites_page_writes_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """I11: a report that another origin made a browser send does nothing."""
    assert await Reported()(REPORT, (b"origin", b"https://evil.example")) == 200
    assert caplog.records == []


async def test_the_body_is_bounded() -> None:
    """I10: a report of more than 64 KiB is 413."""
    assert await Reported()(b"a=" + b"x" * MAX_BODY) == 413


async def test_a_client_that_goes_away_is_not_answered() -> None:
    """A client that goes away in the middle of its report is not answered."""

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    assert await Reported().reports.take(scope_of("/api/auth/_log", method="POST", headers=[FORM]), receive) is None


async def test_v5_has_no_such_endpoint(caplog: pytest.LogCaptureFixture) -> None:
    """v5's client reports nothing, so in that dialect it is an unknown action."""
    async with browsing(dialect="authjs") as browser:
        response = await browser.client.post(
            "/api/auth/_log", content=REPORT, headers={"content-type": FORM[1].decode()}
        )

    assert (response.status_code, response.json()) == (400, "Bad request.")
    assert "NextAuth client" not in caplog.text
