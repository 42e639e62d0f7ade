"""The request of an input: path, method, headers and body, from a valid one to anything that a socket can bring."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from asgi_token_rotation.types import Message, Scope
from fuzz.cookies import KINDS, Jar, Place, cookie_headers, intact
from fuzz.dice import Dice
from fuzz.minted import PASSWORD, STEMS, csrf_pair

MARK = "<fz\"'>"  # in HTML it must not stand as it is
ACTIONS = (
    "session", "csrf", "signin", "callback/credentials", "signout", "error", "providers", "signin/credentials",
    "_log",
    "callback/nobody", "signin/nobody", "callback", "signin/a/b", "", "nothing", "signin/op", "callback/op",
    "backchannel-logout",
)  # fmt: skip
PATHS = (
    "/",
    "/page",
    "/api/auth",
    "/api/authx",
    "/api/auth/session/",
    "/API/AUTH/session",
    "//api/auth/session",
    "/caf\xe9",
    "*",
    "",
)
PATH_ENDS = (
    "/",
    "//",
    "/..",
    "/../session",
    "%2e%2e",
    "%2F",
    "\x00",
    "\n",
    "é\u202e",
    "\\",
    ";a=b",
    "?",
    "#",
    "." * 50,
    "a" * 5000,
    "\ufffd",
    MARK,
)
METHODS = (
    "GET",
    "POST",
    "HEAD",
    "OPTIONS",
    "PUT",
    "DELETE",
    "PATCH",
    "get",
    "post",
    "TRACE",
    "CONNECT",
    "M-SEARCH",
    "!#$%&'*+-.^_`|~",
    "G" * 300,
)
HOSTS = (
    b"testserver", b"localhost:3000", b"example.com", b"evil.example", b"", b"testserver:99999", b"testserver:",
    b"testserver:0",
    b"testserver\x00", b"[::1]:8000", b"[::1", b"testserver@evil.example", b"evil.example#testserver",
    b"127.0.0.1.evil.example", b"127.9.9.9",
    b"a.localhost", b"a.localhost.evil.example", b"TESTSERVER", b" testserver", b"caf\xe9.localhost",
    b"testserver/evil", b"testserver\r\nx: y",
    b"x" * 4000, b"example.com:443", b"localhost:80", b"testserver, evil.example",
)  # fmt: skip
ORIGINS = (
    b"http://testserver", b"https://example.com", b"null", b"http://evil.example", b"",
    b"http://testserver.evil.example", b"https://testserver",
    b"http://testserver@evil.example", b"http://testserver:80", b"HTTP://TESTSERVER", b"http://testserver/",
    b"http://testserver\\.evil.example",
    b"http://[::1", b"http://testserver:99999", b"file://", b"http://caf\xe9",
    b"http://testserver http://evil.example", b"https://example.com:443",
    b"http://testserver?.evil.example", b"javascript:alert(1)", b"x" * 3000, b"https://trusted.example",
    b"http://\xff",
)  # fmt: skip
TARGETS = (
    "/", "/ok?a=b#c", "//evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example",
    "https:/evil.example", "///evil.example",
    "http://testserver@evil.example", "http://testserver.evil.example", "http://evil.example#testserver",
    "http://evil.example?testserver",
    "javascript:alert(1)", "data:text/html,x", "/%0d%0aset-cookie:x=1", "/\r\nset-cookie: x=1",
    "http://testserver\t.evil.example",
    "http://testserver:80:80", "http://[::1", "\uff48ttp://evil.example", "http://testserver%00.evil.example",
    f"/{MARK}", f"http://testserver/{MARK}",
    "http://testserver:80/x", "HTTP://TESTSERVER/x", "http://testserver\u2100", "http://\u2100testserver",
    "/caf\xe9\u202e", "//", "/\x00", " /x",
    "http://testserver\\@evil.example", "http://evil.example\\@testserver", "https://example.com/ok",
    "https://trusted.example/ok",
    "https://trusted.example.evil.example", "https://example.com%2f@evil.example", "http://localhost:3000/x",
    "http:///evil.example", "?x", "#x", "",
    "/" + "a" * 2100, "/" + "\u20ac" * 700, "http://testserver/" + "%41" * 600, "ftp://testserver/",
    "/.//evil.example", "/%2f/evil.example", "/%5cevil",
    "http://user:pw@testserver/", "http://testserver:/x", "http://TESTSERVER.:80/", "http://testserver。evil.example",
    "\ud83d\ude00",
)  # fmt: skip
CODES = (
    "CredentialsSignin",
    "AccessDenied",
    "Configuration",
    "MissingCSRF",
    "verification",
    MARK,
    "x" * 65,
    "\x00",
    "%3Cscript%3E",
    "",
    "a\r\nb",
)
CONTENT_TYPES = (
    b"application/x-www-form-urlencoded", b"application/json", b"application/json; charset=utf-16",
    b"APPLICATION/JSON", b"text/plain", b"",
    b"multipart/form-data; boundary=x", b"application/json, text/html", b";", b"\xff", b"application/jsonx",
    b" application/json ", b"x" * 5000,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, and what is known of its answer beforehand."""

    scope: Scope
    messages: list[Message]
    jar: Jar
    may_end: bool  # a sign-out that is allowed, so that the cookie may be cleared
    refused: bool = False  # the body is one that no endpoint takes

    @property
    def foreign(self) -> bool:
        """Whether a page of somebody else's caused it."""
        origins = [value for name, value in self.scope["headers"] if name.lower() == b"origin"]
        host = re.match(rb"(?:[^/?#]*//)?[^/?#]*", b"".join(origins[:1]))  # what comes after it names no origin
        return host is not None and b"evil" in host[0]


def asked(dice: Dice, place: Place, *, secure: bool) -> Asked:
    """One request to an application with this cookie."""
    kind = dice.pick(("http",) * 9 + ("websocket",))
    to_endpoint = dice.chance(55)
    path = _path(dice, to_endpoint=to_endpoint)
    method = dice.pick(METHODS) if dice.chance(10) else "POST" if to_endpoint and dice.chance(60) else "GET"
    jar = (
        dice.pick(KINDS)(dice, place)
        if dice.chance(75)
        else Jar([], "nobody")
        if dice.chance(50)
        else intact(dice, place)
    )
    csrf_token, others, knows = _small_cookies(dice, place, secure=secure)
    headers = (
        [(b"cookie", line) for line in cookie_headers(dice, jar.pairs, others=others)] if jar.pairs or others else []
    )
    content_type, body, refused = _body(dice, csrf_token) if method == "POST" else (None, b"", False)
    headers = _headers(dice, headers, content_type, len(body), secure=secure)
    if dice.chance(3):
        # Of cookies with the session's name 32 are looked at: a flood of them may hide it.
        headers.append((b"cookie", dice.pick(_FLOODS)))
        jar = replace(jar, who="either" if jar.who == "ada" else jar.who)
    if dice.chance(10):
        headers = headers[::-1]
    scope: dict[str, Any] = {
        "type": kind, "path": path, "query_string": _query(dice), "headers": headers,
        "scheme": "https" if secure else "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
    }  # fmt: skip
    if kind == "http":
        scope |= {"method": method, "raw_path": quote(path).encode()}
    else:
        scope |= {"subprotocols": [], "scheme": dice.pick(("wss" if secure else "ws", "")) or None}
    if dice.chance(10):
        scope["root_path"] = dice.pick(("", "/api", "/api/auth", "/", "//", "/app", "/a b", "/\u20ac", "x", "/" + MARK))
    if dice.chance(10):
        scope["state"] = dice.pick(({}, {"session": "foreign"}, {"other": 1}))
    messages = _arrival(dice, body) if kind == "http" else [{"type": "websocket.connect"}]
    types = [value for name, value in headers if name.lower() == b"content-type"]
    refused = len(body) > 65_536 or (refused and types[:1] == [b"application/json"])
    refused = refused and kind == "http" and method == "POST" and "_log" not in path
    return Asked(scope=scope, messages=messages, jar=jar, may_end=knows and "signout" in path, refused=refused)


def _path(dice: Dice, *, to_endpoint: bool) -> str:
    path = f"/api/auth/{dice.pick(ACTIONS)}" if to_endpoint else dice.pick(PATHS)
    if dice.chance(15):
        path += dice.pick(PATH_ENDS)
    return path + dice.text(20) if dice.chance(5) else path


def _small_cookies(dice: Dice, place: Place, *, secure: bool) -> tuple[str, list[tuple[bytes, bytes]], bool]:
    """The token for the body, the small cookies, and whether they belong together."""
    stem = STEMS[place.dialect]
    name = (f"__Host-{stem}" if secure else stem) + ".csrf-token"
    token, value = csrf_pair(dice)
    kind = dice.pick(("good", "good", "good", "none", "wrong", "bent", "twice"))
    if kind == "wrong":
        value = value[:-1] + ("0" if value[-1] != "0" else "1")
    elif kind == "bent":
        value = dice.pick(
            (
                value + "x",
                value.replace("|", "%7C"),
                value.upper(),
                value[:64],
                "|" * 200,
                dice.noise().hex(),
                '"' + value,
                "%",
                "%80",
            )
        )
    others = [] if kind == "none" else [(name.encode(), value.encode())] * (2 if kind == "twice" else 1)
    if dice.chance(20):
        url = dice.pick(TARGETS).encode("utf-8", "replace")
        callback = (f"__Secure-{stem}" if secure else stem) + ".callback-url"
        others.append((callback.encode(), quote(url).encode() if dice.chance(50) else url.replace(b";", b"")))
    return token, others, kind in ("good", "twice", "bent")


def _query(dice: Dice) -> bytes:
    if not dice.chance(35):
        return b""
    pairs: list[tuple[str, str]] = []
    for _ in range(1 + dice.number(3)):
        name = dice.pick(("callbackUrl", "error", "csrf", "code", "json", "callbackUrl[]", "", MARK))
        pairs.append((name, dice.pick(CODES) if name == "error" else dice.pick((*TARGETS, "true"))))
    text = urlencode(pairs, errors="replace") if dice.chance(80) else "&".join("=".join(pair) for pair in pairs)
    if dice.chance(5):
        text = dice.pick(
            ("&" * 9000, "a=b&" * 200, "callbackUrl=" + "%" * 3000, "%FF=%C0%80", "callbackUrl=%ED%A0%80", ";" * 100)
        )
    if dice.chance(10):
        return dice.noise(200)
    return text.encode("utf-8", "replace")


def _headers(
    dice: Dice, cookies: list[tuple[bytes, bytes]], content_type: bytes | None, length: int, *, secure: bool
) -> list[tuple[bytes, bytes]]:
    own = (b"example.com", b"https://example.com") if secure else (b"testserver", b"http://testserver")
    headers = [(b"host", dice.pick(HOSTS) if dice.chance(20) else own[0])] if not dice.chance(3) else []
    if dice.chance(50):
        headers.append((b"origin", dice.pick(ORIGINS) if dice.chance(30) else own[1]))
    if content_type is not None and not dice.chance(4):
        headers.append((b"content-type", content_type))
    if dice.chance(30):
        odd = dice.pick((b"0", b"-1", b"65537", b"9" * 400, b"1e3", b"\xb2", b"", b"0x10", b"+5", b"1, 2"))
        headers.append((b"content-length", odd if dice.chance(30) else b"%d" % length))
    headers += cookies
    for _ in range(dice.number(4) if dice.chance(40) else 0):
        headers.append(dice.pick(_MORE))
    if dice.chance(10):
        headers = [(name.title(), value) for name, value in headers]
    return headers


_FLOODS = (
    b";" * 60_000, b"authjs.session-token" * 3000, b"authjs.session-token=;" * 3000, b"=" * 60_000, b"", b"a",
    b"".join(b"__Secure-authjs.session-token.%d=x;" % number for number in range(2000)),
    b"authjs.session-token=a.a.a.a.a;" * 31,
)  # fmt: skip
_MORE = (
    (b"x-auth-return-redirect", b"1"), (b"sec-fetch-site", b"cross-site"), (b"sec-fetch-site", b"same-origin"),
    (b"x-forwarded-host", b"evil.example"),
    (b"x-forwarded-proto", b"https"), (b"forwarded", b"host=evil.example;proto=https"),
    (b"x-original-url", b"/api/auth/signout"),
    (b"daphne-root-path", b"/evil"), (b"host", b"evil.example"), (b"origin", b"http://evil.example"),
    (b"x-http-method-override", b"POST"),
    (b"referer", b"http://evil.example/"), (b"cookie", b"\xff=\xff"), (b"content-type", b"application/json"),
    (b"", b""), (b"caf\xe9", b"\xff"),
    (b"transfer-encoding", b"chunked"), (b"content-encoding", b"gzip"), (b"x" * 3000, b"y" * 3000),
)  # fmt: skip


def _body(dice: Dice, csrf_token: str) -> tuple[bytes, bytes, bool]:
    """A content type, a body, and whether it is refused as JSON. Most have a CSRF token that may belong to the cookie."""
    fields: dict[str, Any] = {"csrfToken": csrf_token} if not dice.chance(15) else {"csrfToken": dice.text(80)}
    if dice.chance(70):
        fields |= {"username": "ada", "password": PASSWORD if dice.chance(50) else dice.text(12)}
    if dice.chance(40):
        fields["callbackUrl"] = dice.pick(TARGETS)
    if dice.chance(30):
        fields["json"] = dice.pick(("true", "false", "", MARK))
    if dice.chance(25):
        fields[dice.text(10)] = dice.text(60)
    if dice.chance(45):
        return _typed(dice, b"application/json"), *_json_body(dice, fields)
    text = urlencode(fields, errors="replace").encode()
    if dice.chance(15):
        text += dice.pick(
            (
                b"&a=%ff",
                b"&a=%ED%A0%80",
                b"&" * 200,
                b"\xff",
                b"&=",
                b"&a",
                b"&a=" + b"x" * 66_000,
                b"&csrfToken=x",
                b"&a[]=1",
                b"%",
            )
        )
    if dice.chance(10):
        text = dice.noise(300)
    return _typed(dice, b"application/x-www-form-urlencoded"), text, False


def _typed(dice: Dice, content_type: bytes) -> bytes:
    return dice.pick(CONTENT_TYPES) if dice.chance(12) else content_type


def _json_body(dice: Dice, fields: dict[str, Any]) -> tuple[bytes, bool]:
    if dice.chance(60):
        fields["data"] = dice.pick(_DATA)
    text = json.dumps(fields, ensure_ascii=not dice.chance(30))
    raw = text.encode("utf-8", "surrogatepass")
    if dice.chance(10):
        return raw[:-1] + b',"data":' + dice.pick(_REFUSED) + b"}", True
    if dice.chance(20):
        raw = (
            raw[:-1] + b',"data":' + (dice.material if dice.material and dice.chance(50) else dice.pick(_TAKEN)) + b"}"
        )
    if dice.chance(5):
        raw = dice.pick(
            (
                b"\xef\xbb\xbf" + raw,
                raw.decode("utf-8", "replace").encode("utf-16"),
                raw[: dice.number(len(raw))],
                raw + b"x",
                b"[]",
                b"null",
                b'""',
                b"",
            )
        )
    return dice.noise(300) if dice.chance(5) else raw, False


_DATA: tuple[Any, ...] = (
    {"theme": "dark"}, None, [], "", 1, {"a": {"b": [1, 2.5, True, None]}}, {"\ud800": 1}, "\udfff",
    {"session_id": "x", "generation": 9, "error": None},
    {"access_token": "x", "expires_at": 1}, {"refresh_token": "x"}, {"exp": 1, "iat": "x"}, {"x": "y" * 5000},
    {"x": "y" * 20_000}, {MARK: MARK},
    {"provider": None, "signed_in_at": "x"}, [[[]]], 2**53, 2**53 + 1, -1e308, {"name": ["x"], "email": 7},
    {"__class__": "x"}, {str(n): n for n in range(90)},
)  # fmt: skip
# RFC 8259 has no such thing, or I10 takes none.
_REFUSED = (
    b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-" + b"9" * 17, b"1" * 17, b"[" * 32 + b"]" * 32, b"[" * 30_000,
    b'{"a":' * 10_000,
    b'"\\ud800"', b'"\xed\xa0\x80"', b'"\x00"', b"01", b"tru", b"[[]" * 5000, b"\xff", b"'x'", b"/**/1",
    b'{"a":' * 32 + b"1" + b"}" * 32,
)  # fmt: skip
_TAKEN = (
    b"[" * 31 + b"]" * 31, b'"\\ud83d\\ude00"', b'"\\u0000"', b"0.1e-400", b"[" + b"1," * 30_000 + b"1]",
    b'{"a":1,"a":2}', b'"' + b"x" * 65_000 + b'"',
    b"9007199254740992", b"{" + b",".join(b'"%d":1' % n for n in range(120)) + b"}",
)  # fmt: skip


def _arrival(dice: Dice, body: bytes) -> list[Message]:
    """How the body arrives: whole, in pieces, with nothing in them, or not to its end."""
    if not dice.chance(25):
        return [{"type": "http.request", "body": body, "more_body": False}]
    cuts = sorted(dice.number(len(body) + 1) for _ in range(dice.number(6)))
    parts = [body[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    ending = dice.number(4)
    if ending == 0:
        messages[-1]["more_body"] = False
    elif ending == 1:
        messages.append({"type": "http.request"})
    elif ending == 2:
        messages = [*messages[: dice.number(len(messages) + 1)], {"type": "http.disconnect"}]
    else:
        messages += [{"type": "http.request", "body": b"", "more_body": True}] * dice.number(50)
        messages.append({"type": "http.request", "body": dice.pick((b"", b"x" * 70_000))})
    return messages
