"""What a provider answers: any status, any body, any header, or no answer at all."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

import httpx

from fuzz.dice import Dice
from fuzz.minted import NOW

STATUSES = (
    200,
    200,
    200,
    400,
    401,
    403,
    404,
    408,
    422,
    429,
    500,
    502,
    503,
    204,
    301,
    302,
    304,
    206,
    201,
    418,
    451,
    599,
    600,
    999,
    100,
    199,
    0,
)
CODES = (
    "invalid_grant", "invalid_request", "invalid_client", "unauthorized_client", "invalid_scope",
    "unsupported_grant_type", "slow_down", "server_error",
    "", "x" * 300, "INVALID_GRANT", "\ud800", None, 7, ["invalid_grant"], {"code": 400}, True,
)  # fmt: skip
WAITS = (
    "1", "0", "-1", "3600", "1e9", "inf", "-inf", "nan", "1e999", "9" * 5000, "", " ",
    "Wed, 21 Oct 2037 07:28:00 GMT", "Wed, 21 Oct 99999 07:28:00 GMT",
    "Wed, 21 Oct 2037 07:28:00 -0000", "Wed, 21 Oct 2037 07:28:00 +9999", "Wed, 21 Oct 2037 07:28:00 +99999999999999",
    "Wed, 00 Oct 2037 99:99:99 GMT",
    "Fri, 31 Feb 2037 00:00:00 GMT", "0x10", "1_000", "\u0661", "caf\xe9", "GMT", ",", "Mon,", "1 2 3 4 5 6 7",
    "01 Jan 0000 00:00 GMT", "01 Jan 0001 00:00 +2300",
    "Thu, 01 Jan 1970 00:00:00 GMT", "21 Oct 2037", "Sun, 06 Nov 1994 08:49:37", "Sunday, 06-Nov-94 08:49:37 GMT",
    "1, 2", "\t5", "+5", ".5", "(((", '"',
)  # fmt: skip
TIMES: tuple[Any, ...] = (
    3600, 0, -1, 1, 59, "3600", "", "soon", None, True, 1.5, 10**400, 10**30, 1e308, -1e308, float("nan"),
    float("inf"), "1e999", "nan", "9" * 5000, [],
    {}, NOW + 3600, (NOW + 3600) * 1000, "0x10", "1_0", 2**63, -(10**400), "\ud800",
)  # fmt: skip
ERRORS = (
    httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.ReadTimeout, httpx.ConnectTimeout, httpx.PoolTimeout,
    httpx.RemoteProtocolError,
    httpx.DecodingError, httpx.TooManyRedirects, httpx.UnsupportedProtocol, OSError, ConnectionResetError,
    TimeoutError, ValueError, KeyError,
    RuntimeError, RecursionError, MemoryError, EOFError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, or the error of a connection."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    error: type[Exception] | None = None

    def response(self, request: httpx.Request) -> httpx.Response:
        """What the transport brings."""
        if self.error is not None:
            transport = issubclass(self.error, httpx.RequestError)
            raise self.error("cut", request=request) if transport else self.error("cut")  # type: ignore[call-arg]
        return httpx.Response(self.status, headers=self.headers, content=self.body, request=request)


def answer(dice: Dice) -> Answer:
    """One answer."""
    status = dice.pick(STATUSES)
    if dice.chance(12):
        return Answer(0, [], b"", dice.pick(ERRORS))
    document = token_document(dice) if status < 300 or dice.chance(20) else _error_document(dice)
    body = json.dumps(document).encode()
    if dice.chance(20):
        body = dice.pick(_BODIES)
    if dice.chance(10):
        body = dice.noise(300)
    headers = [
        (b"content-type", dice.pick((b"application/json", b"text/html", b"application/json; charset=x", b"\xff", b"")))
    ]
    if dice.chance(40):
        headers.append(
            (dice.pick((b"retry-after", b"x-retry-after", b"Retry-After")), wait(dice).encode("latin-1", "replace"))
        )
    if dice.chance(8):
        headers.append((b"content-encoding", dice.pick((b"gzip", b"deflate", b"br", b"identity", b"x", b"gzip, gzip"))))
    if status in (301, 302) or dice.chance(3):
        headers.append(
            (b"location", dice.pick((b"/", b"https://evil.example/", b"", b"\xff", b"http://[::1", b"javascript:x")))
        )
    return Answer(status, headers, body)


def wait(dice: Dice) -> str:
    """A ``Retry-After``."""
    text = dice.pick(WAITS)
    if not dice.chance(25):
        return text
    at = dice.number(len(text) + 1)
    return text[:at] + dice.text(4) + text[at + dice.number(3) :]


def token_document(dice: Dice) -> dict[str, Any]:
    """A token set, more or less as RFC 6749, 5.1 has it."""
    document: dict[str, Any] = {
        "access_token": "fresh-access",
        "token_type": "Bearer",
        "expires_in": 3600,
        "refresh_token": "fresh-refresh",
    }
    for _ in range(dice.number(4)):
        name = dice.pick(
            (
                "expires_in",
                "expires_at",
                "refresh_token",
                "access_token",
                "refresh_expires_in",
                "refresh_token_expires_in",
                "scope",
                "id_token",
                "extra",
            )
        )
        if dice.chance(25):
            document.pop(name, None)
        elif name.startswith(("expires", "refresh_e", "refresh_token_")):
            document[name] = dice.pick(TIMES)
        else:
            document[name] = dice.pick(_TEXTS)
    if dice.chance(15):
        document.pop("expires_in", None)
        document["access_token"] = _jwt(dice)
    return document


def _jwt(dice: Dice) -> str:
    """An access token that may be a JWT with an ``exp``."""
    claims = json.dumps({"exp": dice.pick(TIMES), "sub": dice.pick(_TEXTS), "nbf": dice.pick(TIMES)}).encode()
    payload = dice.pick((claims, claims, b"[]", b"null", b"\xff", b"", b"[" * 5000, b'{"exp":' + b"9" * 5000 + b"}"))
    header = dice.pick(
        (
            b'{"alg":"HS256"}',
            b'{"alg":"none"}',
            b"{}",
            b"[]",
            b"[" * 5000,
            b'{"alg":"HS256","crit":["x"]}',
            b'{"alg":"HS256","b64":false,"crit":["b64"]}',
            b"x",
        )
    )
    parts = [urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, payload, b"sig")]
    if dice.chance(15):
        parts[dice.number(3)] = dice.pick(("", "A", "=", "\ud800", "caf\xe9", "." * 10, "-" * 5))
    return ".".join(parts)


def _error_document(dice: Dice) -> Any:
    code = dice.pick(CODES)
    return dice.pick(
        (
            {"error": code},
            {"error": code, "error_description": "x"},
            {"message": "no"},
            [],
            None,
            "x",
            7,
            {},
            {"error": {"code": code}},
        )
    )


_TEXTS: tuple[Any, ...] = (
    "text", "", None, 7, True, [], {}, "\ud800", "x" * 5000, "x" * 70_000, "a b", "\r\n", "\x00", "caf\xe9", "a.b.c",
    "..", ["a"], 1.5, "\u20ac" * 2000,
)  # fmt: skip
_BODIES = (
    b"", b"<!doctype html><title>x</title>", b"null", b"[]", b'""', b"[" * 100_000, b'{"a":' * 20_000,
    b'{"expires_in":' + b"9" * 5000 + b"}", b"NaN", b"\xff\xfe",
    b"\xef\xbb\xbf{}", b"{" * 10, b'{"access_token":"a","expires_in":1e999}',
    b'{"error":"invalid_grant"' + b" " * 70_000 + b"}", b"\x1f\x8b\x08\x00",
    b'{"access_token":"a","access_token":"b"}', b"access_token=a&expires_in=5", b'{"access_token":NaN}',
    b'{"error":"invalid_grant"}',
)  # fmt: skip
