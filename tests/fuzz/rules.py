"""What holds for every answer, whatever was asked. Judged by what is sent, without the package's own judgement."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any

from asgi_token_rotation.types import Message
from fuzz.minted import STEMS, USER
from fuzz.requests import MARK, Asked
from fuzz.worlds import World

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(rb"[\x20-\x7e\t]*")
_URL = re.compile(r"(https?)://([^/?#@\\]+)(?:[/?#][\x21-\x5b\x5d-\x7e]*)?", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_ADDRESS = re.compile(r' (?:action|href|src)="([^"]*)"')
_ELEMENT = re.compile(
    r"<(?:!doctype|/?(?:html|head|meta|title|style|body|main|h1|p|form|input|button|label|span|a))(?=[\s>])", re.ASCII
)
_ATTRIBUTE = re.compile(
    r"(?:html|lang|charset|name|content|method|action|type|value|href|role|autocomplete|placeholder)", re.ASCII
)
_PORTS = {"http": ":80", "https": ":443"}


class BrokenRuleError(AssertionError):
    """An input for which a rule does not hold."""


class TooCostlyError(BrokenRuleError):
    """An input whose answer took more than it may."""


def need(holds: object, sentence: str) -> None:
    """The rule, or BrokenRuleError."""
    if not holds:
        raise BrokenRuleError(sentence)


def judge_answer(sent: list[Message], asked: Asked, world: World, *, left: bool) -> None:
    """All rules for the messages of one answer. ``left``: the client went away before it had sent its body."""
    if asked.scope["type"] == "websocket":
        need([message["type"] for message in sent] == ["websocket.accept"], "a WebSocket is accepted once")
        _headers(sent[0])
        _cookies(sent[0], asked, world)
        _who(sent[0]["session"], asked, world)
        need(not asked.foreign or not sent[0]["session"], "I11: a socket that a foreign page opened is nobody's")
        return
    if left and not sent:
        return
    kinds = [message["type"] for message in sent]
    need(kinds[:1] == ["http.response.start"] and set(kinds[1:]) == {"http.response.body"}, "one start, then the body")
    need(
        [message.get("more_body", False) for message in sent[1:]] == [True] * (len(sent) - 2) + [False],
        "the body ends once",
    )
    start, body = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
    need(200 <= start["status"] < 500, "no 5xx")
    headers = _headers(start)
    need(headers.get(b"content-length", b"%d" % len(body)) == b"%d" % len(body), "content-length is the body's length")
    _cookies(start, asked, world)
    _content(headers, body, asked, world)
    if b"x-content-type-options" in headers:
        _endpoint(start, asked, world)


def _endpoint(start: Message, asked: Asked, world: World) -> None:
    """What an endpoint does with what it must not take."""
    status, path = start["status"], asked.scope["path"]
    need(not asked.refused or status >= 400, "I10: such a body is refused")
    if asked.foreign and asked.scope["method"] == "POST" and "_log" not in path:
        # A provider's form is sent on with the same words, and a logout token counts whoever brings it.
        sent_on = bool(world.leads_to) and ("/callback/" in path or "/backchannel-logout" in path)
        need(sent_on or status >= 400, "I11: what a foreign page sends is refused")
        need(not any(value.startswith(world.place.wire) for _, value in start["headers"]), "I11: it changes no session")


def _headers(message: Message) -> dict[bytes, bytes]:
    seen: dict[bytes, bytes] = {}
    for name, value in message["headers"]:
        need(type(name) is bytes and type(value) is bytes, "header names and values are bytes")
        need(_TOKEN.fullmatch(name) and _VALUE.fullmatch(value), "headers are well-formed")
        need(name == b"set-cookie" or name not in seen, f"{name.decode()} comes once")
        seen[name] = value
    return seen


def _cookies(message: Message, asked: Asked, world: World) -> None:
    lines = [value for name, value in message["headers"] if name == b"set-cookie"]
    names = [line.partition(b"=")[0] for line in lines]
    need(len(set(names)) == len(names), "no cookie is set twice")
    need(all(len(line) <= 4096 for line in lines), "a cookie line has at most 4096 bytes")
    need(len(lines) <= 40, "a bounded number of cookie lines")
    session = world.place.wire
    stem = STEMS[world.place.dialect].encode()
    for name in names:
        small = name.endswith((stem + b".csrf-token", stem + b".callback-url"))
        checks = bool(world.leads_to) and name.startswith(world.state + b".")
        need(name.startswith(session) or small or checks, "only our own cookies are set")
    cleared = [line for line in lines if b"Max-Age=0" in line and not line.startswith(world.state)]
    written = [line for line in lines if line.startswith(session) and line not in cleared]
    need(not cleared or written or asked.may_end, "nothing but a sign-out clears the session cookie")
    if asked.jar.who == "nobody" and asked.scope["type"] == "websocket":
        need(not lines, "a socket of nobody gets no cookie")


def _content(headers: dict[bytes, bytes], body: bytes, asked: Asked, world: World) -> None:
    content_type = headers.get(b"content-type", b"")
    if b"location" in headers:
        _place(headers[b"location"].decode(), asked, world)
    if content_type.startswith(b"text/html"):
        _html(body.decode(), asked, world)
    elif content_type.startswith(b"application/json"):
        document = json.loads(body)
        if isinstance(document, dict) and isinstance(document.get("url"), str):
            _place(document["url"], asked, world)
        if isinstance(document, dict) and ("expires" in document or not document) and not asked.may_end:
            _who(document, asked, world)
        if document is None:
            _who({}, asked, world)
    else:
        need(not body or content_type.startswith(b"text/plain"), "a content type that runs nothing")
    if b"x-content-type-options" not in headers:
        need(
            headers.get(b"cache-control") != b"public, s-maxage=60" or asked.jar.who != "ada",
            "R13: never shared where a session cookie came",
        )


def _who(session: dict[str, Any], asked: Asked, world: World) -> None:
    """Who is signed in: Ada where her cookie is there, nobody where it is not."""
    if asked.jar.who == "anyone":
        return
    user = (session.get("user") or {}).get("email")
    need(user in (None, USER), "nobody else's session")
    need(asked.jar.who != "nobody" or user is None, "a forged cookie opens no session")
    socket = asked.scope["type"] == "websocket" and any(name.lower() == b"origin" for name, _ in asked.scope["headers"])
    need(asked.jar.who != "ada" or user == USER or socket, "what else a request brings takes nobody's session away")


def _place(url: str, asked: Asked, world: World) -> None:
    """Our own and trusted origins only, as a browser would read the URL; and the provider where it is meant."""
    for action, addresses in world.leads_to.items():
        meant = f"/{action}" in asked.scope["path"] and asked.scope["method"] == "POST"
        starts = tuple(f"{address}{'&' if '?' in address else '?'}" for address in addresses)
        if meant and url.startswith(starts):
            need(_URL.fullmatch(url), "a redirect is an absolute http(s) URL in visible ASCII")
            return
    found = _URL.fullmatch(url)
    need(found, "a redirect is an absolute http(s) URL in visible ASCII")
    assert found is not None
    scheme, host = found[1].lower(), found[2].lower()
    host = host.removesuffix(_PORTS[scheme])
    if world.origins is not None:
        need(f"{scheme}://{host}" in world.origins, "no redirect to a foreign origin")
    else:
        own = {value.decode("latin-1").lower() for name, value in asked.scope["headers"] if name.lower() == b"host"}
        need(
            host in own | {name.removesuffix(":80") for name in own} and _is_loopback(host),
            "no redirect to a foreign origin",
        )


def _is_loopback(host: str) -> bool:
    name, *_ = host.rpartition(":") if re.search(r":[0-9]+\Z", host) and not host.endswith("]") else (host, "", "")
    if name in ("localhost", "testserver") or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _html(page: str, asked: Asked, world: World) -> None:
    """No element and no attribute but the pages' own, and addresses that are ours: nothing of the input is markup."""
    need(MARK not in page, "input in HTML is escaped")
    for tag in _TAG.findall(re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)):
        need(_ELEMENT.match(tag), "no foreign element in a page")
        names = re.findall(r'\s([^\s=>"]+)(?:="[^"]*")?', tag)
        need(all(_ATTRIBUTE.fullmatch(name) for name in names), "no foreign attribute in a page")
    for address in _ADDRESS.findall(page):
        if not re.match(r"/(?![/\\])", address):
            _place(address.replace("&amp;", "&").replace("&#x27;", "'"), asked, world)
