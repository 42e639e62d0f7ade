"""Sends the scenarios, and records what came back."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import httpx

from asgi_token_rotation._cookies.jwe import KeyRing, cookie_key_ring
from asgi_token_rotation._cookies.session_cookie import DEFAULT_NAMES
from asgi_token_rotation.types import Dialect
from contract.normal import normal_answer, sorted_calls
from contract.scenarios import Role, Scenario, Step
from contract.worlds import SECRET

STEMS: Mapping[Dialect, str] = {"authjs": "authjs", "nextauth-v4": "next-auth"}
DAY = 86_400.0

Recording = dict[str, list[dict[str, Any]]]


class Browser:
    """A jar of cookies, and the CSRF token that it read last."""

    def __init__(self, client: httpx.Client, *, dialect: Dialect, origin: str) -> None:
        self.jar: dict[str, str] = {}
        self._state = ""
        self.origin = origin
        self._client = client
        self._dialect = dialect

    def plant(self, role: Role, value: str) -> None:
        """Put a cookie into the jar."""
        self.jar[self._name(role)] = self._filled(value)

    def does(self, step: Step) -> dict[str, Any] | None:
        """Send one request; its record, or None for one that is not to be recorded."""
        for role, value in step.plant.items():
            self.plant(role, value)
        headers, content = self._body(step)
        if step.script and self._dialect == "authjs":
            headers["x-auth-return-redirect"] = "1"
        response = self.sends(step.method, f"/api/auth/{step.path}", headers, content)
        calls = self._client.get(f"{self.origin}/calls").json()
        if not step.recorded:
            return None
        answer = normal_answer(response, origin=self.origin)
        request = f"{step.method} {step.path}"
        return {"request": request, **answer, **({"calls": sorted_calls(calls)} if calls else {})}

    def sends(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> httpx.Response:
        """Send what is ready, with the jar's cookies, and take what the answer sets."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        sent = {**headers, "cookie": cookie} if cookie else headers
        filled = None if content is None else self._filled(content.decode()).encode()
        response = self._client.request(method, self.origin + self._filled(url), headers=sent, content=filled)
        self._client.cookies.clear()  # httpx keeps a jar of its own, which would travel on
        self._take(response.headers.get_list("set-cookie"))
        found = re.search(r"[?&]state=([^&\"]+)", response.headers.get("location", "") + response.text)
        self._state = found[1] if found else self._state
        return response

    def _body(self, step: Step) -> tuple[dict[str, str], bytes | None]:
        if step.raw is not None:
            return {"content-type": step.raw[0]}, step.raw[1].encode()
        if step.json is not None:
            return {"content-type": "application/json"}, json.dumps(step.json).encode()
        if step.form is None:
            return ({"content-type": "application/json"} if step.method == "GET" else {}), None
        form = {name: self._filled(value) for name, value in step.form.items()}
        if step.script and self._dialect == "nextauth-v4":
            form["json"] = "true"
        return {"content-type": "application/x-www-form-urlencoded"}, str(httpx.QueryParams(form)).encode()

    def _filled(self, text: str) -> str:
        if "{" not in text:
            return text
        cookie = unquote(self.jar.get(self._name("csrf"), ""))
        words = {"csrf": cookie.partition("|")[0], "csrf cookie": cookie, "origin": self.origin, "state": self._state}
        for word, value in words.items():
            text = text.replace(f"{{{word}}}", value)
        for word in ("expired", "foreign", "sealed"):
            if f"{{{word}}}" in text:
                text = text.replace(f"{{{word}}}", self._minted(word))
        return text

    def _minted(self, kind: str) -> str:
        name, now = DEFAULT_NAMES[self._dialect], time.time()
        secret = "a secret of somebody else, long enough" if kind == "foreign" else SECRET
        encryption: Any = "A256CBC-HS512" if self._dialect == "authjs" else "A256GCM"
        ring: KeyRing = cookie_key_ring([secret], cookie_name=name, dialect=self._dialect, encryption=encryption)
        expires = now - DAY if kind == "expired" else now + DAY
        return ring.seal({"sub": "7", "name": "ada", "email": "a@b.example"}, now=now - 2 * DAY, expires=expires)

    def _name(self, role: Role) -> str:
        suffix = "session-token" if role == "session" else "csrf-token" if role == "csrf" else role
        ending = f"{STEMS[self._dialect]}.{suffix}"
        return next((name for name in self.jar if name.endswith(ending)), ending)

    def _take(self, lines: Iterable[str]) -> None:
        for line in lines:
            pair, *attributes = line.split(";")
            name, _, value = pair.partition("=")
            self.jar.pop(name, None)
            if "max-age=0" not in {attribute.strip().lower() for attribute in attributes}:
                self.jar[name] = value


def recorded(scenarios: Iterable[Scenario], *, dialect: Dialect, ports: Mapping[str, int]) -> Recording:
    """Run scenarios against one side; the records by scenario."""
    found: Recording = {}
    with httpx.Client(trust_env=False, follow_redirects=False, timeout=60) as client:
        for name, port in ports.items():
            if name.startswith(f"{dialect} "):
                client.get(f"http://127.0.0.1:{port}/calls")  # what others asked before
        for scenario in scenarios:
            origin = f"http://127.0.0.1:{ports[f'{dialect} {scenario.world}']}"
            browser = Browser(client, dialect=dialect, origin=origin)
            steps = [browser.does(step) for step in scenario.steps]
            assert scenario.name not in found, f"two scenarios are called {scenario.name!r}"
            found[scenario.name] = [step for step in steps if step is not None]
    return found
