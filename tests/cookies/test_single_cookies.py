from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_token_rotation._cookies.chunks import Attributes, read_one, set_one
from asgi_token_rotation.errors import CookieTooLargeError
from cookies.handmade import request, vectors

NAME = b"authjs.csrf-token"
HTTP = Attributes(secure=False)


def written(value: str) -> bytes:
    return set_one(NAME, value, HTTP, max_age=None).partition(b";")[0].partition(b"=")[2]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"abc%7Cdef", "abc|def"),
        (b"abc|def", "abc|def"),
        (b"http%3A%2F%2Fa%2F%C3%A9", "http://a/é"),
        (b"100%", "100%"),
        (b"%zz%7C", "%zz%7C"),
        (b"%7C%7", "%7C%7"),
        (b"%ff", "%ff"),
        (b"%ed%a0%80", "%ed%a0%80"),
        (b"\xe9%7C", "é|"),
        (b'"a%7Cb"', "a|b"),
        (b"a+b", "a+b"),
        (b"", ""),
    ],
)
def test_percent_decoding(raw: bytes, value: str) -> None:
    """A value is percent-decoded, and taken as it is where that fails as a whole."""
    assert read_one(request(NAME + b"=" + raw), NAME) == value


def test_the_first_one_wins() -> None:
    """Of several cookies of the name the first counts; numbered and foreign ones are no cookie of that name."""
    assert read_one(request(NAME + b".0=x; " + NAME + b"-x=y; " + NAME + b"=1; " + NAME + b"=2"), NAME) == "1"
    assert read_one(request(NAME + b"=1", NAME + b"=2"), NAME) == "1"
    assert read_one(request(NAME + b".0=x"), NAME) is None
    assert read_one(request(), NAME) is None


def test_a_value_has_a_limit() -> None:
    """I10: a value that no browser would send is no value."""
    assert read_one(request(NAME + b"=" + b"x" * 4096), NAME) == "x" * 4096
    assert read_one(request(NAME + b"=" + b"x" * 4097), NAME) is None


def test_encode_uri_component() -> None:
    """Everything but A-Z a-z 0-9 - _ . ! ~ * ' ( ) is encoded, so no value can inject."""
    unreserved = "AZaz09-_.!~*'()"
    assert written(unreserved) == unreserved.encode()
    assert written('a|b;c,d\r\n\0 "\\é/') == b"a%7Cb%3Bc%2Cd%0D%0A%00%20%22%5C%C3%A9%2F"
    assert written("\ud800") == b"%3F"


@pytest.mark.parametrize("version", ["v4", "v5"])
def test_csrf_cookies_of_authjs(version: str) -> None:
    """The CSRF cookie of the real Auth.js is read, and ours is written as it is there."""
    for vector in vectors(version, "csrf"):
        raw = vector.get("cookie_header_value", vector["cookie_value"])
        assert read_one(request(NAME + b"=" + raw.encode()), NAME) == vector["cookie_value"]
        assert written(vector["cookie_value"]).decode() == vector["cookie_value"].replace("|", "%7C")


def test_line() -> None:
    """The line has the attributes that were asked for, and a session cookie has no Max-Age."""
    assert set_one(b"a", "b", HTTP, max_age=None) == b"a=b; Path=/; HttpOnly; SameSite=Lax"
    assert set_one(b"a", "b", HTTP, max_age=900) == b"a=b; Max-Age=900; Path=/; HttpOnly; SameSite=Lax"


def test_a_line_has_a_limit() -> None:
    """C1: a line over 4096 bytes is an error, because a browser would drop it."""
    room = 4096 - len(set_one(NAME, "", HTTP, max_age=None))
    assert len(set_one(NAME, "x" * room, HTTP, max_age=None)) == 4096
    with pytest.raises(CookieTooLargeError, match="4097 bytes"):
        set_one(NAME, "x" * (room + 1), HTTP, max_age=None)


@given(st.text(max_size=100))
@settings(max_examples=200, deadline=None)
def test_round_trip(value: str) -> None:
    """Any text comes back as it was set."""
    assert read_one(request(b"x=y; " + NAME + b"=" + written(value)), NAME) == value
