from __future__ import annotations

import hashlib
from importlib import resources

import pytest

from asgi_token_rotation import RefreshOptions
from asgi_token_rotation.testing import Clock
from asgi_token_rotation.types import Dialect
from endpoints.browser import browsing, run, scope_of, set_cookies
from rig import Rig

SOURCE = resources.files("asgi_token_rotation").joinpath("client.js").read_bytes()
PATH = "/api/auth/client.js"


@pytest.mark.parametrize("dialect", ["authjs", "nextauth-v4"])
async def test_the_module(dialect: Dialect) -> None:
    """GET client.js answers the package's module as JavaScript that no browser takes for anything else."""
    async with browsing(dialect=dialect) as browser:
        response = await browser.get(PATH)

        assert (response.status_code, response.content) == (200, SOURCE)
        assert response.headers["content-type"] == "text/javascript; charset=utf-8"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert b"export const { getSession" in response.content


async def test_caches() -> None:
    """Any cache may keep the module, and asks each time whether it is still the newest: one tag for one content."""
    async with browsing() as browser, browsing(base_path="/auth") as other:
        response, elsewhere = await browser.get(PATH), await other.get("/auth/client.js")

        assert response.headers["cache-control"] == "public, no-cache"
        assert response.headers["etag"] == f'"{hashlib.sha256(SOURCE).hexdigest()[:32]}"' == elsewhere.headers["etag"]
        assert "vary" not in response.headers


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '"a,b" , W/{}', "*"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_not_modified(form: str, method: str) -> None:
    """Who has the newest module gets a 304 with its tag and no body, also where a front end made the tag weak."""
    async with browsing() as browser:
        tag = (await browser.get(PATH)).headers["etag"]
        response = await browser.request(method, PATH, headers={"if-none-match": form.format(tag)})

        assert (response.status_code, response.content) == (304, b"")
        assert (response.headers["etag"], response.headers["cache-control"]) == (tag, "public, no-cache")


@pytest.mark.parametrize("value", ["", '"other"', "garbage", '"', "W/", '{}x"'])
async def test_modified(value: str) -> None:
    """Any other If-None-Match gets the module."""
    async with browsing() as browser:
        tag = (await browser.get(PATH)).headers["etag"]
        response = await browser.get(PATH, headers={"if-none-match": value.format(tag.strip('"'))})

        assert (response.status_code, response.content) == (200, SOURCE)


async def test_two_header_lines() -> None:
    """The tag may stand in a second If-None-Match line, too."""
    tag = f'"{hashlib.sha256(SOURCE).hexdigest()[:32]}"'.encode()
    sent = await run(scope_of(PATH, headers=[(b"if-none-match", b'"other"'), (b"If-None-Match", tag)]))

    assert sent[0]["status"] == 304


async def test_head() -> None:
    """HEAD says what GET would, without the body."""
    async with browsing() as browser:
        got, head = await browser.get(PATH), await browser.request("HEAD", PATH)

        assert (head.status_code, head.content) == (200, b"")
        assert head.headers == got.headers
        assert head.headers["content-length"] == str(len(SOURCE))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods(method: str) -> None:
    """Nothing else can be done to the module."""
    async with browsing() as browser:
        assert (await browser.request(method, PATH)).status_code == 400


async def test_no_cookie_work(clock: Clock) -> None:
    """A request for the module neither refreshes the session nor sets a cookie, and any cache may share its answer."""
    rig = Rig(clock=clock, refresh_options=RefreshOptions(margin=60))
    browser = await rig.signed_in()
    rig.past_expiry()
    response = await browser.get(PATH)

    assert (response.status_code, set_cookies(response)) == (200, {})
    assert (response.headers["cache-control"], response.headers.get("vary")) == ("public, no-cache", None)
    assert rig.server.refresh_calls == 0


async def test_on_a_host_that_is_not_known() -> None:
    """The module says nothing of the site, so it needs no public_url."""
    async with browsing(at="http://example.com") as browser:
        assert (await browser.get(PATH)).status_code == 200


async def test_below_a_root_path() -> None:
    """Mounted below a root path, the module is where the other endpoints are."""
    sent = await run(scope_of("/app/api/auth/client.js", root_path="/app"))

    assert sent[0]["status"] == 200
