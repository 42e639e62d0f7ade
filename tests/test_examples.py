"""The examples do what they are there to show."""

from __future__ import annotations

import importlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import anyio
import httpx
import pytest

from asgi_token_rotation.testing import Clock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the examples are no part of the package: they are found from the root

from examples.back_end import BackEnd  # noqa: E402
from examples.journal import Journal  # noqa: E402
from examples.panel import LateRequestWatch  # noqa: E402

FRAMEWORKS = ("fastapi", "litestar")
SECRET = "a secret of an example that is long enough"
BROWSER = "http://testserver"
ASSETS = ("/static/demo.css", "/static/demo.js", "/static/timeline.js", "/static/icon.svg")


@dataclass(frozen=True)
class Running:
    """An example and its back end, without a port."""

    browser: httpx.AsyncClient
    back_end: BackEnd
    journal: Journal
    clock: Clock

    async def sign_in(self) -> None:
        csrf = (await self.browser.get("/api/auth/csrf")).json()["csrfToken"]
        form = {"username": "ada", "password": "lovelace", "csrfToken": csrf, "callbackUrl": "/", "json": "true"}
        response = await self.browser.post("/api/auth/callback/credentials", data=form)
        assert "error" not in response.json()["url"]

    async def session(self) -> Any:
        return (await self.browser.get("/api/auth/session")).json()

    async def be(self, mood: str) -> httpx.Response:
        return await self.browser.post("/demo/back-end", json={"mood": mood})

    async def burst(self, count: int = 50) -> list[httpx.Response]:
        """So many requests at once, all with the cookie that the browser has now."""
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await self.browser.get("/api/profile"))

        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(ask)
        return answers

    def texts(self) -> list[str]:
        return [note["text"] for note in self.journal.after(0)]


@asynccontextmanager
async def running(framework: str) -> AsyncIterator[Running]:
    clock = Clock()
    back_end = BackEnd(clock=clock, access_token_lifetime=30, latency=0.02)
    journal = Journal(clock=clock)
    api = httpx.AsyncClient(transport=httpx.ASGITransport(app=back_end), base_url="http://back-end")
    create_app = importlib.import_module(f"examples.{framework}.app").create_app
    app = LateRequestWatch(create_app(api=api, secret=SECRET, journal=journal, clock=clock), journal=journal)
    async with api, httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BROWSER) as browser:
        yield Running(browser, back_end, journal, clock)


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_sign_in_shows_the_session_and_no_token(framework: str) -> None:
    """After the sign-in the browser sees who it is and when to come back, and nothing secret."""
    async with running(framework) as example:
        anonymous = await example.browser.get("/api/me")
        await example.sign_in()
        session = await example.session()
        me = await example.browser.get("/api/me")

    assert anonymous.status_code == 401
    assert session["user"] == {"name": "Ada", "email": "ada@example.com", "id": "ada"}
    assert set(session) == {"user", "expires", "accessTokenExpires", "refreshAt", "generation", "accessTokenIssued"}
    assert me.json() == session


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_an_expired_token_and_a_burst_make_one_refresh(framework: str) -> None:
    """Fifty requests with an expired access token get their answers from the API, and the back end one refresh call."""
    async with running(framework) as example:
        await example.sign_in()
        example.clock.advance(31)
        answers = await example.burst()

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["token"] for answer in answers} == {"1-1"}
    assert (example.back_end.token_server.refresh_calls, example.back_end.token_server.reuses) == (1, 0)
    assert any("had expired 1 s ago: refreshed, generation 1" in text for text in example.texts())


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_a_back_end_that_is_down_signs_nobody_out(framework: str) -> None:
    """While the back end is down the session stays; when it is back, the next request after the back-off refreshes."""
    async with running(framework) as example:
        await example.sign_in()
        await example.be("down")
        example.clock.advance(31)
        during = await example.session()
        refused = await example.browser.get("/api/profile")
        await example.be("normal")
        example.clock.advance(30)
        after = await example.session()

    assert (during["user"]["name"], during["error"]) == ("Ada", "RefreshUnavailable")
    assert refused.status_code == 503
    assert (after["generation"], after.get("error")) == (1, None)
    assert any("the refresh failed (unavailable" in text for text in example.texts())


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_a_refusal_asks_for_a_new_sign_in(framework: str) -> None:
    """A back end that refuses to refresh flags the session, and the routes ask for a new sign-in."""
    async with running(framework) as example:
        await example.sign_in()
        await example.be("refusing")
        example.clock.advance(31)
        session = await example.session()
        statuses = [(await example.browser.get(path)).status_code for path in ("/api/me", "/api/profile")]

    assert session["error"] == "RefreshAccessTokenError"
    assert statuses == [401, 401]
    assert example.journal.after(0)[-1]["kind"] == "refused"


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_the_log_tells_of_requests_that_were_served_from_grace(framework: str) -> None:
    """A request with the previous cookie gets the newest tokens, and the log says so; looking at it visits nobody."""
    async with running(framework) as example:
        await example.sign_in()
        previous = dict(example.browser.cookies)
        example.clock.advance(25)
        await example.session()
        example.browser.cookies = httpx.Cookies(previous)
        late = await example.browser.get("/api/me")
        await anyio.sleep(1.2)  # late requests are counted into one note for a second
        example.clock.advance(25)
        log = (await example.browser.get("/demo/log", params={"after": "1"})).json()

    assert late.json()["generation"] == 1
    assert [note["kind"] for note in log["notes"]] == ["refreshed", "grace"]
    assert example.back_end.token_server.refresh_calls == 1
    assert "token" not in json.dumps(log).replace("access token", "").replace("newest tokens", "")


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_sign_out_ends_the_session(framework: str) -> None:
    """After the sign-out nobody is signed in, and the log says who left."""
    async with running(framework) as example:
        await example.sign_in()
        csrf = (await example.browser.get("/api/auth/csrf")).json()["csrfToken"]
        await example.browser.post("/api/auth/signout", data={"csrfToken": csrf, "json": "true"})
        session = await example.session()

    assert not session
    assert example.texts()[-1] == "Ada signed out"


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_the_controls_answer_what_is_no_mood_with_400(framework: str) -> None:
    """What the back end can't be is refused, and changes nothing."""
    async with running(framework) as example:
        wrong = [await example.be("furious"), await example.browser.post("/demo/back-end", content=b"{")]
        counters = (await example.browser.get("/demo/back-end")).json()
        unknown = await example.browser.get("/demo/nothing")

    assert [response.status_code for response in wrong] == [400, 400]
    assert counters == {"mood": "normal", "logins": 0, "refreshCalls": 0, "rotations": 0, "reuses": 0}
    assert unknown.status_code == 404


class InlineCode(HTMLParser):
    """Collects what a policy without ``unsafe-inline`` forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if tag == "style" or (tag == "script" and "src" not in names):
            self.found.append(tag)
        self.found += [name for name in names if name == "style" or name.startswith("on")]
        self.found += [
            value or "" for name, value in attrs if name in ("src", "href") and not (value or "").startswith("/")
        ]


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_the_page_works_under_its_own_strict_policy(framework: str) -> None:
    """Page and assets are served under a policy that allows nothing inline and nothing foreign, and contain none."""
    async with running(framework) as example:
        page = await example.browser.get("/")
        assets = [await example.browser.get(path) for path in ASSETS]
        unknown = await example.browser.get("/static/app.py")
    inline = InlineCode()
    inline.feed(page.text)

    assert inline.found == []
    assert {response.status_code for response in (page, *assets)} == {200}
    for response in (page, *assets):
        assert response.headers["content-security-policy"].startswith("default-src 'self';")
        assert "unsafe" not in response.headers["content-security-policy"]
    assert [asset.headers["content-type"].partition(";")[0] for asset in assets] == [
        "text/css", "text/javascript", "text/javascript", "image/svg+xml",
    ]  # fmt: skip
    assert re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert not [script.text for script in assets if re.search(r"innerHTML|\beval\b|setAttribute\(.style", script.text)]
    assert unknown.status_code in (400, 404, 422)


@contextmanager
def demo(framework: str) -> Generator[SimpleQueue[str]]:
    """The real demo.py, with an access token that is good for 2 s; its lines as they come."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "demo.py"), framework, "--port", "0", "--lifetime", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: SimpleQueue[str] = SimpleQueue()
    stream = process.stdout
    assert stream is not None
    reader = threading.Thread(target=lambda: [lines.put(line) for line in stream], daemon=True)
    reader.start()
    try:
        yield lines
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()
        reader.join(timeout=5)
        stream.close()


def next_line(lines: SimpleQueue[str], pattern: str) -> str:
    seen: list[str] = []
    while True:
        try:
            seen.append(lines.get(timeout=20))
        except Empty:
            raise AssertionError(f"no line with {pattern!r} among {seen}") from None
        match = re.search(pattern, seen[-1])
        if match:
            return match[0]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_demo_tells_of_a_rotation_as_it_happens(framework: str) -> None:
    """demo.py starts both servers, prints its address, says in words what happens, and stops at Control-C."""
    with demo(framework) as lines, httpx.Client(base_url=next_line(lines, r"http://127\.0\.0\.1:\d+")) as browser:
        csrf = browser.get("/api/auth/csrf").json()["csrfToken"]
        form = {"username": "ada", "password": "lovelace", "csrfToken": csrf, "callbackUrl": "/"}
        browser.post("/api/auth/callback/credentials", data=form)
        next_line(lines, r"\[[0-9a-f]{8}\] Ada signed in; the access token is good for 2 s")
        for _ in range(40):
            if browser.get("/api/auth/session").json()["generation"] == 1:
                break
            threading.Event().wait(0.1)
        next_line(lines, r"Ada's access token had 1 s left: refreshed, generation 1, \d+ ms")
