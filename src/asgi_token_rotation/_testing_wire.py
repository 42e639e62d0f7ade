"""What the token server reads and writes: requests as data in, answers as data out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import parse_qsl

from ._testing_families import Issued
from .types import Receive, Scope, Send

Omission: TypeAlias = Literal["missing", "null", "empty"]
Wire: TypeAlias = Callable[[Issued, Omission | None], "Answer"]


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def json_answer(status: int, content: Mapping[str, Any], *headers: tuple[str, str]) -> Answer:
    """An answer in JSON that is not stored (RFC 6749, 5.1)."""
    return Answer(status, json.dumps(content).encode(), headers=(("cache-control", "no-store"), *headers))


def error(status: int, code: str, description: str, *headers: tuple[str, str]) -> Answer:
    """An OAuth error (RFC 6749, 5.2)."""
    return json_answer(status, {"error": code, "error_description": description}, *headers)


REFUSAL = error(400, "invalid_grant", "The refresh token is not valid.")
WRONG_CLIENT = error(401, "invalid_client", "The client is not known, or its secret is wrong.")
WRONG_TOKEN = error(
    401,
    "invalid_token",
    "The access token is not valid.",
    ("www-authenticate", 'Bearer error="invalid_token"'),
)
HTML = b"<!doctype html><title>Welcome</title><p>The load balancer greets you."


def failed(
    status: int, body: bytes | str | Mapping[str, Any], *, retry_after: tuple[str, float | str] | None
) -> Answer:
    """A failure with any status and body; ``retry_after`` is a header's name and value (RFC 9110: whole seconds)."""
    headers: tuple[tuple[str, str], ...] = ()
    if retry_after is not None:
        name, value = retry_after
        headers = ((name, value if isinstance(value, str) else str(math.ceil(value))),)
    if isinstance(body, Mapping):
        return Answer(status, json.dumps(body).encode(), headers=headers)
    return Answer(status, body.encode() if isinstance(body, str) else body, "text/plain", headers)


def article_tokens(issued: Issued, omission: Omission | None) -> dict[str, Any]:
    """The tokens as the JSON endpoints name them; the expiry in milliseconds."""
    tokens = {"accessToken": issued.access_token, "accessTokenExpiry": int((issued.at + issued.expires_in) * 1000)}
    return tokens | _refresh_token("refreshToken", issued, omission)


def article_answer(issued: Issued, omission: Omission | None) -> Answer:
    """What the JSON refresh endpoint answers."""
    return json_answer(200, article_tokens(issued, omission))


def oauth_answer(issued: Issued, omission: Omission | None) -> Answer:
    """What the OAuth token endpoint answers (RFC 6749, 5.1); ``refresh_expires_in`` is Keycloak's."""
    tokens: dict[str, Any] = {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": _seconds(issued.expires_in),
    }
    if issued.refresh_expires_in is not None:
        tokens["refresh_expires_in"] = _seconds(issued.refresh_expires_in)
    return json_answer(200, tokens | _refresh_token("refresh_token", issued, omission))


def _seconds(seconds: float) -> float:
    return int(seconds) if seconds == int(seconds) else seconds


def _refresh_token(name: str, issued: Issued, omission: Omission | None) -> dict[str, Any]:
    if omission == "missing":
        return {}
    return {name: {None: issued.refresh_token, "null": None, "empty": ""}[omission]}


def json_texts(body: bytes) -> dict[str, str]:
    """The text fields of a JSON object; none where the body is no such thing."""
    try:
        content: object = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(content, dict):
        return {}
    fields = cast("dict[str, Any]", content)
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def form_texts(body: bytes) -> dict[str, str]:
    """The fields of a form."""
    return dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))


def query_texts(scope: Scope) -> dict[str, str]:
    """The query's parameters."""
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))


def authorization(scope: Scope) -> str:
    """The header of that name, or an empty text."""
    return str(dict(scope["headers"]).get(b"authorization", b"").decode("latin-1"))


def bearer_token(scope: Scope) -> str:
    """The request's access token (RFC 6750, 2.1), or an empty text."""
    scheme, _, token = authorization(scope).partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def read_body(receive: Receive) -> bytes:
    """The whole body."""
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if not message.get("more_body", False):
            return body


async def send_answer(answer: Answer, send: Send) -> None:
    """Send it whole."""
    headers = [("content-type", answer.content_type), ("content-length", str(len(answer.body))), *answer.headers]
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    await send({"type": "http.response.body", "body": answer.body})


async def answer_lifespan(receive: Receive, send: Send) -> None:
    """Nothing to start and nothing to stop."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
