from __future__ import annotations

import pytest

from asgi_token_rotation import Credentials
from asgi_token_rotation.types import Dialect
from endpoints.browser import authorize, browsing, set_cookies

BASE = "http://testserver/api/auth"


@pytest.mark.parametrize("dialect", ["authjs", "nextauth-v4"])
async def test_providers(dialect: Dialect) -> None:
    """GET providers lists them by id, with absolute URLs, and sets no cookie."""
    providers = [Credentials(authorize=authorize), Credentials(authorize=authorize, id="staff", name="Staff only")]
    async with browsing(dialect=dialect, providers=providers) as browser:
        response = await browser.get("/api/auth/providers/", params={"callbackUrl": "/a"})

        assert response.json() == {
            "credentials": {
                "id": "credentials",
                "name": "Credentials",
                "type": "credentials",
                "signinUrl": f"{BASE}/signin/credentials",
                "callbackUrl": f"{BASE}/callback/credentials",
            },
            "staff": {
                "id": "staff",
                "name": "Staff only",
                "type": "credentials",
                "signinUrl": f"{BASE}/signin/staff",
                "callbackUrl": f"{BASE}/callback/staff",
            },
        }
        assert list(response.json()) == ["credentials", "staff"]
        assert set_cookies(response) == {}
        assert (response.headers["cache-control"], response.headers["vary"]) == ("private, no-store", "Cookie")


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("signin", f"{BASE}/signin"),
        ("signin/credentials", f"{BASE}/signin"),
        ("signin/nobody", f"{BASE}/error?error=Configuration"),
    ],
)
async def test_post(action: str, expected: str) -> None:
    """POST signin for credentials leads to the sign-in page, which remembers where the visitor wanted to go."""
    async with browsing() as browser:
        response = await browser.post(action, callbackUrl="/wanted")
        page = await browser.get("/api/auth/signin")

        assert (response.status_code, response.json()) == (200, {"url": expected})
        assert 'value="http://testserver/wanted"' in page.text
