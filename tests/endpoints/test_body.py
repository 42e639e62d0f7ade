from __future__ import annotations

import json
import tracemalloc
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_token_rotation._endpoints.body import MAX_BODY, Refusal, fields_of, query_of, read_body
from asgi_token_rotation.types import Message
from endpoints.browser import scope_of

FORM = "application/x-www-form-urlencoded"
JSON = "application/json; charset=utf-8"


def nested(levels: int) -> Any:
    """A JSON object of so many levels."""
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


async def reading(*messages: Message, headers: list[tuple[bytes, bytes]] | None = None) -> bytes | Refusal | None:
    queue = list(messages)

    async def receive() -> Message:
        return queue.pop(0)

    return await read_body(scope_of("/", method="POST", headers=headers or []), receive)


async def test_joins_what_comes_in_pieces() -> None:
    """A body that comes in several messages is read whole, and a message without a body is none."""
    pieces = ({"type": "http.request", "body": b"a=", "more_body": True}, {"type": "http.request", "more_body": True})

    assert await reading(*pieces, {"type": "http.request", "body": b"1"}) == b"a=1"


async def test_largest_body() -> None:
    """I10: a body of 64 KiB is read, one byte more is refused with 413, and nothing is read beyond that."""
    whole = {"type": "http.request", "body": b"x" * MAX_BODY, "more_body": True}

    assert await reading(whole, {"type": "http.request", "body": b""}) == b"x" * MAX_BODY
    refusal = await reading(whole, {"type": "http.request", "body": b"x", "more_body": True})
    assert isinstance(refusal, Refusal)
    assert refusal.status == 413


@pytest.mark.parametrize("announced", [b"65537", b"00065537", b"9" * 5000])
async def test_announced_too_large(announced: bytes) -> None:
    """I10: a Content-Length beyond the limit is refused before anything is read."""
    refusal = await reading(headers=[(b"content-length", announced)])

    assert isinstance(refusal, Refusal)
    assert refusal.status == 413


@pytest.mark.parametrize("announced", [b"1", b"0000000000000000000001", b"-1", b"\xb2", b""])
async def test_announced_otherwise(announced: bytes) -> None:
    """A Content-Length that is small, or nonsense, does not keep the body from being read."""
    body = {"type": "http.request", "body": b"x"}

    assert await reading(body, headers=[(b"content-length", announced)]) == b"x"


async def test_client_goes_away() -> None:
    """A client that disconnects while its body is read gets no answer, and raises nothing."""
    assert await reading({"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}) is None


def test_form() -> None:
    """A form's fields are decoded; empty ones stay, and of a name that comes twice the last counts."""
    fields = fields_of(b"a=1&b=&c=%C3%A9+x&a=2", content_type=FORM.upper())

    assert fields == {"a": "2", "b": "", "c": "é x"}


def test_json_object() -> None:
    """A JSON object's members arrive as they are, at the limits of depth and size."""
    content = {"n": 2**53, "m": -(2**53), "f": 1.5, "s": "😀", "deep": nested(31)}

    assert fields_of(json.dumps(content).encode(), content_type=JSON) == content


@pytest.mark.parametrize("content_type", [None, FORM, ""])
def test_nothing_sent(content_type: str | None) -> None:
    """An empty body is an empty form, with and without a Content-Type."""
    assert fields_of(b"", content_type=content_type) == {}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"\xff",
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e400}',
        b'{"a": 9007199254740993}',
        b'{"a": -9007199254740993}',
        b'{"a": ' + b"9" * 60_000 + b"}",
        rb'{"a": "\ud800"}',
        rb'{"\udfff": 1}',
        rb'{"a": [{"b": "x\udc00y"}]}',
        json.dumps(nested(33)).encode(),
        b'{"a": ' + b"[" * 32 + b"]" * 32 + b"}",
        b"[" * 65_000,
        b'{"a":' * 13_000,
        json.dumps(dict.fromkeys(map(str, range(101)))).encode(),
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_hostile_json(raw: bytes) -> None:
    """I10: JSON that is none, no object, too deep, too wide, or that JavaScript can't hold is refused with 400."""
    refusal = fields_of(raw, content_type=JSON)

    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.error) == (400, "BadRequest")


@pytest.mark.parametrize(
    "raw",
    [
        b"a=\xff",
        b"a=%FF",
        b"a=%ED%A0%80",
        b"%ED%A0%80=a",
        b"a=\xed\xa0\x80",
        b"&".join(b"a%d=1" % n for n in range(101)),
        b"&" * 60_000,
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_hostile_form(raw: bytes) -> None:
    """I10: a form that is not UTF-8, also behind percent signs, or that has over 100 fields is refused with 400."""
    refusal = fields_of(raw, content_type=FORM)

    assert isinstance(refusal, Refusal)
    assert refusal.status == 400


def test_refusal_quotes_nothing() -> None:
    """What is refused is not quoted back: it may be a password."""
    for raw, kind in ((b'{"password": "hunter2" oops', JSON), (b"password=hunter2%FF", FORM)):
        assert "hunter2" not in str(fields_of(raw, content_type=kind))


@pytest.mark.parametrize("content_type", [None, "text/plain", "multipart/form-data; boundary=x", "application/jsonp"])
def test_other_types(content_type: str | None) -> None:
    """Anything but a form or JSON is refused with 415: a page elsewhere can send text/plain without being asked."""
    refusal = fields_of(b'{"a": 1}', content_type=content_type)

    assert isinstance(refusal, Refusal)
    assert refusal.status == 415


def test_query() -> None:
    """A query's parameters are decoded; bytes that are no UTF-8 are replaced, and an oversized one counts as absent."""
    assert query_of(b"callbackUrl=%2Fa&error=&x=%FF") == {"callbackUrl": "/a", "error": "", "x": "\ufffd"}
    assert query_of(b"&".join(b"a%d=1" % n for n in range(101))) == {}
    assert query_of(b"a=" + b"x" * 9000) == {}


@given(st.text(st.sampled_from("ab=&+%4c1C3A9eE28\u00e9\u20ac"), max_size=60).map(str.encode))
@settings(max_examples=500, deadline=None)
def test_queries_and_forms_read_as_urllib_reads_them(raw: bytes) -> None:
    """Pairs, blanks and percent-encoded bytes mean what they mean to the standard library, damaged ones included."""
    expected = parse_qsl(raw.decode("latin-1"), keep_blank_values=True)
    assert query_of(raw) == dict(expected)
    try:
        form = dict(parse_qsl(raw.decode(), keep_blank_values=True, errors="strict"))
    except ValueError:
        assert isinstance(fields_of(raw, content_type=FORM), Refusal)
    else:
        assert fields_of(raw, content_type=FORM) == form


def test_percent_signs_take_no_memory_of_their_own() -> None:
    """I10: a form of nothing but percent signs takes a few times its size, on every Python."""
    raw = b"a=" + b"%" * 60_000
    fields_of(b"a=%41", content_type=FORM)
    tracemalloc.start()
    try:
        fields_of(raw, content_type=FORM)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(raw)
    finally:
        tracemalloc.stop()
