"""What the documents show works: every Python block runs, and what they name is there."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import uvicorn

from asgi_token_rotation import (
    Callbacks,
    CookieOptions,
    Credentials,
    Event,
    Events,
    Field,
    JWTParams,
    Lifetime,
    Pages,
    RedirectParams,
    RefreshOptions,
    SessionParams,
    SignIn,
    SignInParams,
    TokenRotation,
    TokenSet,
    errors,
)
from asgi_token_rotation.integrations import fastapi, litestar
from asgi_token_rotation.integrations.fastapi import require_session
from asgi_token_rotation.stores import MemoryStore, SQLiteStore
from asgi_token_rotation.stores.redis import RedisStore
from asgi_token_rotation.testing import TokenServer

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))
COOKIE = "authjs.session-token"


@dataclass(frozen=True)
class Block:
    """One fenced Python block."""

    line: int
    code: str
    not_run: str | None  # the reason


def blocks_of(document: Path) -> list[Block]:
    text = document.read_text("utf-8")
    fence = re.compile(
        r"^(?:<!-- not run: (?P<why>[^>]+) -->\n)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
    )
    return [Block(text[: m.start("code")].count("\n") + 1, m["code"], m["why"]) for m in fence.finditer(text)]


def run(block: Block, document: Path, names: dict[str, Any]) -> None:
    # The lines before it keep line numbers true in tracebacks.
    code = compile("\n" * (block.line - 1) + block.code, str(document), "exec", dont_inherit=True)
    exec(code, names)


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """A real server on a free port of 127.0.0.1."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()


async def signed_in(browser: httpx.AsyncClient, *, password: str = "lovelace") -> httpx.Response:
    """Sign in through the endpoints, as the built-in form does."""
    csrf = (await browser.get("/api/auth/csrf")).json()["csrfToken"]
    form = {"csrfToken": csrf, "username": "ada", "password": password, "callbackUrl": "/me"}
    return await browser.post("/api/auth/callback/credentials", data=form)


def cookie_of(browser: httpx.AsyncClient) -> str | None:
    return browser.cookies.get(COOKIE)


async def test_the_readme_works_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's application, copied as it stands, signs in, outlives its access token by one rotation, and signs out."""
    token_server, names = TokenServer(access_token_lifetime=1), dict[str, Any](__name__="readme")
    async with served(token_server) as address:
        monkeypatch.setenv("API_URL", address)
        monkeypatch.setenv("AUTH_SECRET", "a secret for a test, longer than thirty-two characters")
        monkeypatch.delenv("AUTH_URL", raising=False)
        run(blocks_of(ROOT / "README.md")[0], ROOT / "README.md", names)
        transport = httpx.ASGITransport(names["app"])
        async with names["api"], httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as browser:
            assert (await browser.get("/me")).status_code == 401
            await signed_in(browser, password="wrong")
            assert cookie_of(browser) is None

            answer = await signed_in(browser)
            first = cookie_of(browser)
            assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:8000/me")
            assert first is not None

            token_server.access_token_lifetime = 300
            await asyncio.sleep(1.1)
            answers = await asyncio.gather(*(browser.get("/me") for _ in range(20)))

            assert [answer.status_code for answer in answers] == [200] * 20
            assert answers[0].json()["user"] == {"name": "Ada", "email": "ada@example.com"}
            assert answers[0].json()["role"] is None
            assert (token_server.refresh_calls, token_server.rotations, token_server.reuses) == (1, 1, 0)
            assert cookie_of(browser) not in (None, first)
            assert (await browser.get("/api/auth/session")).json()["user"]["name"] == "Ada"

            csrf = (await browser.get("/api/auth/csrf")).json()["csrfToken"]
            await browser.post("/api/auth/signout", data={"csrfToken": csrf})
            assert cookie_of(browser) is None
            assert (await browser.get("/me")).status_code == 401


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
async def test_every_block_runs(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each document's Python blocks run one after the other, and the tests that they show pass."""
    monkeypatch.setenv("API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AUTH_SECRET", "a secret for a test, longer than thirty-two characters")
    monkeypatch.delenv("AUTH_URL", raising=False)
    module = ModuleType(document.stem)
    monkeypatch.setitem(sys.modules, document.stem, module)  # frameworks look annotations up in the module
    names = vars(module)
    for block in blocks_of(document):
        if block.not_run is None:
            before = dict(names)
            run(block, document, names)
            for name, shown in names.items():
                if name.startswith("test_") and shown is not before.get(name):
                    assert inspect.iscoroutinefunction(shown)
                    await shown()


def test_the_readme_has_blocks() -> None:
    """The blocks are found: an empty list would pass every other test."""
    blocks = blocks_of(ROOT / "README.md")

    assert len(blocks) >= 7
    assert any("async def test_" in block.code for block in blocks)
    assert len(blocks) == (ROOT / "README.md").read_text("utf-8").count("```python")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a document leads to a file that is there, and to a heading that it has."""
    links = re.findall(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", page.read_text("utf-8"))
    targets = [(page.parent / link if link else page, anchor) for link, anchor in links]

    assert [target for target, _ in targets if not target.exists()] == []
    assert [(target, anchor) for target, anchor in targets if anchor and anchor not in anchors_of(target)] == []


def anchors_of(page: Path) -> set[str]:
    """As code hosts make them of headings: lower case, without punctuation, with hyphens for blanks."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_make_targets_exist(page: Path) -> None:
    """Every `make …` that a document names is a target of the Makefile."""
    named = set(re.findall(r"`make ([a-z-]+)`", page.read_text("utf-8")))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert named - targets == set()


def section(heading: str) -> str:
    """What stands in the reference below a heading, up to the next one."""
    text = (ROOT / "docs" / "reference.md").read_text("utf-8")
    return re.split(r"\n###? ", re.split(rf"\n###? {re.escape(heading)}\n", text, maxsplit=1)[1], maxsplit=1)[0]


def table(heading: str) -> list[list[str]]:
    """The rows of the reference's table below a heading, cell by cell."""
    lines = section(heading).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `") or "| `" in line]
    return [[cell.strip() for cell in row] for row in rows]


def documented(heading: str) -> list[tuple[str, str]]:
    """The first two cells of each row: a name and its default."""
    return [(row[0], row[1]) for row in table(heading)]


@pytest.mark.parametrize("kind", [RefreshOptions, Lifetime, CookieOptions, Pages], ids=lambda kind: kind.__name__)
def test_the_reference_knows_every_option(kind: Any) -> None:
    """The reference names every option with its default, and no other, in the code's order."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}

    assert documented(f"`{kind.__name__}`") == [
        (f"`{name}`", f"`{shown(default)}`") for name, default in defaults.items()
    ]


@pytest.mark.parametrize(
    "kind",
    [Callbacks, JWTParams, SessionParams, SignInParams, RedirectParams, Credentials, Field, SignIn, TokenSet, Event],
    ids=lambda kind: kind.__name__,
)
def test_the_reference_knows_every_field(kind: Any) -> None:
    """The reference names every field of what the application hands in and gets, with its default, in the code's order."""
    fields = [(field.name, default_of(field)) for field in dataclasses.fields(kind)]
    expected = [(f"`{name}`", default) for name, default in fields if (kind, name) != (Credentials, "type")]

    assert documented(f"`{kind.__name__}`") == expected


def default_of(field: dataclasses.Field[Any]) -> str:
    """As the reference writes it: a mapping of form fields by its names."""
    made = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if isinstance(made, dict) and made:
        return ", ".join(f"`{name}`" for name in made)
    return "required" if made is dataclasses.MISSING else f"`{shown(made)}`"


@pytest.mark.parametrize(
    ("heading", "function"),
    [
        ("MemoryStore", MemoryStore),
        ("SQLiteStore", SQLiteStore),
        ("RedisStore.from_url", RedisStore.from_url),
        ("require_session", require_session),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_reference_knows_every_argument(heading: str, function: Callable[..., Any]) -> None:
    """The reference names every argument of the stores and of require_session with its default, in the code's order."""
    expected = [
        (f"`{name}`", "required" if parameter.default is parameter.empty else f"`{shown(parameter.default)}`")
        for name, parameter in inspect.signature(function).parameters.items()
    ]

    assert documented(f"`{heading}`") == expected


def test_the_reference_knows_every_exception() -> None:
    """The reference draws the tree of errors.py, and says of each exception when it is raised."""
    tree = section("Exceptions").split("```text\n")[1].split("```")[0].splitlines()
    drawn = [line for line in (errors.__doc__ or "").splitlines() if "Error" in line]
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    told = [name for row in table("Exceptions") for name in re.findall(r"`(\w+)`", row[0])]

    assert [line for line, of_code in zip(tree, drawn, strict=True) if not of_code.startswith(line)] == []
    assert sorted(told) == sorted(classes)


@pytest.mark.parametrize(("heading", "module"), [("FastAPI", fastapi), ("Litestar", litestar)])
def test_the_reference_knows_the_integrations(heading: str, module: ModuleType) -> None:
    """What the reference says of an integration is there."""
    names = [re.findall(r"\w+", row[0])[0] for row in table(heading)]

    assert len(names) == 3
    assert [name for name in names if not hasattr(module, name)] == []


def test_the_reference_knows_the_rotation() -> None:
    """The reference names every option of TokenRotation with its default, in the code's order."""
    names = {"Callbacks", "Events", "RefreshOptions", "Lifetime", "CookieOptions", "Pages"}
    expected: list[tuple[str, str]] = []
    for name, parameter in list(inspect.signature(TokenRotation.__init__).parameters.items())[1:]:
        default = parameter.default
        text = f"`{type(default).__name__}()`" if type(default).__name__ in names else f"`{shown(default)}`"
        text = "required" if default is parameter.empty else text
        expected.append((f"`{name}`", text))

    assert documented("`TokenRotation`") == expected


def shown(default: object) -> str:
    if default is time.time:
        return "time.time"
    return f'"{default}"' if isinstance(default, str) else repr(default)


def test_the_reference_knows_every_event() -> None:
    """The reference names every event, in the code's order."""
    assert [row[0].strip("`") for row in table("Events")] == [field.name for field in dataclasses.fields(Events)]


def test_log_lines_are_as_the_reference_says() -> None:
    """Each log line of the reference stands in the code."""
    sources = [path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py")]
    joined = [re.sub(r'"\s*\n\s*f?"', "", source) for source in sources]
    lines = [row[1].strip("`") for row in table("Log lines")]
    found: Callable[[str], bool] = lambda line: any(line in source for source in joined)  # noqa: E731

    assert len(lines) > 15
    assert [line for line in lines if not found(line)] == []
