"""Request bodies: read with a limit, and judged strictly. What a client sends is refused with a sentence, never a 500."""

from __future__ import annotations

import json
import re
from binascii import unhexlify
from dataclasses import dataclass
from typing import Any, Final, cast

from .._origins import header
from ..types import Receive, Scope

MAX_BODY = 64 * 1024  # bytes
MAX_FIELDS = 100
MAX_DEPTH = 32  # of nested arrays and objects, the outermost counted
MAX_INTEGER = 2**53  # what a JavaScript number holds exactly
MAX_QUERY = 8 * 1024  # bytes

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served: the status, a stable word for programs, and a sentence for people."""

    status: int
    error: str
    message: str


TOO_LARGE: Final = Refusal(413, "BodyTooLarge", f"The request body is larger than {MAX_BODY} bytes. Send less.")
WRONG_TYPE: Final = Refusal(
    415,
    "UnsupportedMediaType",
    "The request body must be application/json or application/x-www-form-urlencoded, and Content-Type must say so.",
)


async def read_body(scope: Scope, receive: Receive) -> bytes | Refusal | None:
    """The whole body; None where the client went away. No more than ``MAX_BODY`` bytes are kept."""
    announced = (header(scope, b"content-length") or "").lstrip("0")
    if announced.isdecimal() and (len(announced) > len(str(MAX_BODY)) or int(announced) > MAX_BODY):
        return TOO_LARGE
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body") or b""
        if len(body) > MAX_BODY:
            return TOO_LARGE
        if not message.get("more_body", False):
            return bytes(body)


def fields_of(raw: bytes, *, content_type: str | None) -> dict[str, Any] | Refusal:
    """The fields of a form, or the members of a JSON object. Of a name that comes twice the last counts."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if not raw and not kind:
        return {}
    try:
        if kind == "application/x-www-form-urlencoded":
            return _form(raw)
        if kind == "application/json":
            return _json_object(raw)
    except (ValueError, RecursionError) as error:
        # The parsers' own sentences may quote what was sent; these are for our own only.
        reason = str(error) if type(error) is ValueError else "it can't be parsed as UTF-8 text of that type."
        return Refusal(400, "BadRequest", f"The request body is refused: {reason}")
    return WRONG_TYPE


def query_of(raw: bytes) -> dict[str, str]:
    """The query's parameters. One that is longer than any client of ours sends counts as absent."""
    if len(raw) > MAX_QUERY:
        return {}
    try:
        return _pairs(raw.decode("latin-1"), errors="replace")
    except ValueError:
        return {}


def _form(raw: bytes) -> dict[str, Any]:
    # Strict also about percent-encoded bytes: a lone surrogate is not UTF-8.
    return dict(_pairs(raw.decode("utf-8"), errors="strict"))


def _pairs(text: str, *, errors: str) -> dict[str, str]:
    """As urllib's parse_qsl, in bounded memory: before Python 3.12 that one takes 190 bytes for each percent sign."""
    if text.count("&") >= MAX_FIELDS:
        raise ValueError(f"it has more than {MAX_FIELDS} fields.")
    pairs = (part.replace("+", " ").partition("=") for part in text.split("&") if part)
    return {_decoded(name, errors): _decoded(value, errors) for name, _, value in pairs}


def _decoded(text: str, errors: str) -> str:
    if "%" not in text:
        return text
    return _ESCAPE.sub(lambda escape: unhexlify(escape[1]), text.encode("utf-8")).decode("utf-8", errors)


def _json_object(raw: bytes) -> dict[str, Any]:
    value: Any = _decoder.decode(raw.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("the JSON must be an object.")  # noqa: TRY004 it is the client's value, not a caller's type
    members = cast("dict[str, Any]", value)
    if len(members) > MAX_FIELDS:
        raise ValueError(f"it has more than {MAX_FIELDS} fields.")
    if _too_deep(members):
        raise ValueError(f"the JSON is nested deeper than {MAX_DEPTH} levels.")
    json.dumps(members, ensure_ascii=False).encode("utf-8")  # UnicodeEncodeError: a lone surrogate
    return members


def _too_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for container in level:
            inner += container.values() if isinstance(container, dict) else container  # pyright: ignore[reportUnknownMemberType]
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _integer(digits: str) -> int:
    # Judged by length first: turning a text of 64 KiB into a number is slow, and refused by Python.
    number = int(digits) if len(digits) <= len(str(-MAX_INTEGER)) else MAX_INTEGER + 1
    if abs(number) > MAX_INTEGER:
        raise ValueError("the JSON has an integer beyond 2**53, which JavaScript can't hold.")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if abs(number) == float("inf"):
        raise ValueError("the JSON has a number that is too large.")
    return number


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON.")  # RFC 8259, 6


_decoder = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_constant)
