"""An answer without what differs from run to run: tokens, hashes, dates, ports."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from datetime import datetime
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, quote

import httpx

_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_JWE = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_AUTHORIZE = re.compile(r"(https://hub\.example/authorize\?)([^\"\s\\\\]*)")
_STATE = re.compile(r"([?&]state=)[^&\"\s]+")
_HEX = re.compile(r"[0-9a-f]{64}")
_TOLD = ("content-type", "location", "cache-control", "pragma", "expires")
_YEAR = 365 * 86_400
_HOUR = 3600.0


def normal_answer(response: httpx.Response, *, origin: str) -> dict[str, Any]:
    """Status, the headers that a client or a cache goes by, cookies, and the body: JSON, a page's forms, or text."""
    port = origin.rpartition(":")[2]

    def plain(text: str) -> str:
        return normal_text(text, port=port)

    answer: dict[str, Any] = {"status": response.status_code}
    for name in _TOLD:
        if name in response.headers:
            # The charset of v4's answers is its framework's; everything here is UTF-8.
            answer[name] = (
                re.sub(";.*", "", response.headers[name]) if name == "content-type" else plain(response.headers[name])
            )
    for line in response.headers.get_list("set-cookie"):
        name, said = normal_cookie(line, plain=plain)
        answer[f"cookie {name}"] = said
    return answer | _body(response, plain=plain)


def normal_text(text: str, *, port: str) -> str:
    """Text without ports, tokens and dates, encoded or not."""
    for scheme in ("http", "https"):
        origin = f"{scheme}://127.0.0.1:{port}"
        text = text.replace(origin, f"{scheme}:ORIGIN")
        text = text.replace(quote(origin, safe=""), f"{scheme}%3AORIGIN")
    text = _ISO.sub(lambda found: _moment(datetime.fromisoformat(found[0]).timestamp()), text)
    text = _AUTHORIZE.sub(lambda found: found[1] + _params(found[2]), text)
    text = _STATE.sub(r"\1<new>", text)
    return _HEX.sub("<hex>", _JWE.sub("<jwe>", text))


def _params(query: str) -> str:
    """An authorization request's parameters in one order, without what is new each time."""
    params = {
        **dict(parse_qsl(query)),
        **{name: "<new>" for name in ("state", "code_challenge") if f"{name}=" in query},
    }
    return " ".join(f"{name}={value}" for name, value in sorted(params.items()))


def normal_cookie(line: str, *, plain: Any) -> tuple[str, str]:
    """A ``Set-Cookie`` value as name and what a browser makes of it, in one order."""
    pair, *attributes = line.split(";")
    name, _, value = pair.partition("=")
    given = {key.strip().lower(): content for key, _, content in (part.partition("=") for part in attributes)}
    expires, max_age = given.pop("expires", None), given.pop("max-age", None)
    if max_age is not None:  # it wins over Expires (RFC 6265, 5.3)
        life = "cleared" if int(max_age) <= 0 else f"for {_hours(float(max_age))}"
    elif expires is not None:
        life = f"for {_hours(parsedate_to_datetime(expires).timestamp() - time.time())}"
    else:
        life = "until the browser closes"
    rest = [f"{key}={content}" if content else key for key, content in sorted(given.items())]
    return re.sub(r"\.state\..+", ".state.<flow>", name), "; ".join(
        [plain(value) or "nothing", life, *rest]
    ).lower().replace("origin", "ORIGIN")


def flattened(value: Any, name: str) -> dict[str, Any]:
    """Each member of nested objects by its path; an empty object, a list and anything else is one value."""
    if not isinstance(value, dict) or not value:
        return {name: value}
    flat: dict[str, Any] = {}
    for key, member in value.items():
        flat |= flattened(member, f"{name}.{key}")
    return flat


def _body(response: httpx.Response, *, plain: Any) -> dict[str, Any]:
    kind = response.headers.get("content-type", "").partition(";")[0]
    if not response.content:
        return {}
    if kind == "application/json":
        return flattened(json.loads(plain(response.text)), "body")
    if kind == "text/html" and "<form" in response.text:
        return {"forms": _Forms(response.text).told(plain)}
    if kind == "text/html" and "<html" in response.text.lower():
        return {"body": "<page>"}
    return {"body": plain(response.text)}


class _Forms(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self._forms: list[tuple[str, list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._forms.append((f"{(given.get('method') or 'GET').upper()} {given.get('action')}", []))
        elif tag == "input" and self._forms and given.get("name"):
            self._forms[-1][1].append(f"{given['name']}:{given.get('type') or 'text'}")

    def told(self, plain: Any) -> list[str]:
        # A form may name its address with or without the origin: it leads to the same place.
        return [
            re.sub(r"https?:ORIGIN", "", plain(f"{action} {' '.join(sorted(inputs))}"))
            for action, inputs in self._forms
        ]


def _moment(seconds: float) -> str:
    left = seconds - time.time()
    return f"<in {_hours(left)}>" if left < _YEAR else "<not in this year>"


def _hours(seconds: float) -> str:
    return f"{round(seconds / _HOUR)} h" if seconds > 1.5 * _HOUR else f"{round(seconds / 300) * 5} min"


def sorted_calls(calls: Iterable[str]) -> list[str]:
    """What was called, in its order; the events, which we tell in the background, at the end."""
    told = list(calls)
    return [call for call in told if not call.startswith("event")] + [call for call in told if call.startswith("event")]
