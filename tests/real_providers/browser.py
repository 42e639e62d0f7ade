"""A browser without JavaScript: cookies, redirects and forms."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Self
from urllib.parse import urljoin

import httpx

from real_providers.forms import Form, forms_of

AT_ONCE = 20  # requests
MOST_STEPS = 20  # redirects in a row
PATIENCE = 60.0  # seconds for one answer


class Browser:
    """One jar of cookies for all hosts. Like a real one it sends Secure cookies to loopback without TLS."""

    def __init__(self) -> None:
        self._cookies = httpx.Cookies(CookieJar(DefaultCookiePolicy(secure_protocols=("https", "http"))))
        keeps_nothing = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._client = httpx.AsyncClient(cookies=keeps_nothing, timeout=PATIENCE, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(self, url: str) -> httpx.Response:
        """One page, wherever the redirects lead."""
        return await self._followed(self._client.build_request("GET", url))

    async def post(self, url: str, fields: Mapping[str, str]) -> httpx.Response:
        """A form, sent."""
        return await self._followed(self._client.build_request("POST", url, data=dict(fields)))

    async def press(self, page: httpx.Response, button: str | None = None, **filled_in: str) -> httpx.Response:
        """Fill in the page's form that has these fields, and send it by that button."""
        form = next(
            form for form in forms_of(page.text) if set(filled_in) <= set(form.fields) and form.method == "post"
        )
        pressed = {button: form.buttons[button]} if button in form.buttons and button is not None else {}
        return await self.post(urljoin(str(page.url), form.action or str(page.url)), form.fields | filled_in | pressed)

    async def json(self, url: str) -> dict[str, Any]:
        """What an endpoint of the application answers."""
        answer: dict[str, Any] = (await self.get(url)).raise_for_status().json()
        return answer

    async def json_at_once(self, *urls: str) -> list[dict[str, Any]]:
        """Twenty requests at one time with the same cookies, spread over the addresses."""
        return await asyncio.gather(*(self.json(urls[number % len(urls)]) for number in range(AT_ONCE)))

    async def _followed(self, request: httpx.Request) -> httpx.Response:
        for _ in range(MOST_STEPS):
            request.headers.pop("cookie", None)
            self._cookies.set_cookie_header(request)
            response = await self._client.send(request)
            self._cookies.extract_cookies(response)
            if response.next_request is None:
                return response
            request = response.next_request
        raise AssertionError(f"{MOST_STEPS} redirects in a row")


def password_form(page: httpx.Response) -> Form | None:
    """The sign-in form on the page, if there is one."""
    return next((form for form in forms_of(page.text) if "password" in form.fields), None)
