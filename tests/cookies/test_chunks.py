from __future__ import annotations

import time
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_token_rotation._cookies import chunks
from asgi_token_rotation._cookies.chunks import Attributes
from asgi_token_rotation.errors import ConfigurationError, CookieError, CookieTooLargeError
from cookies.handmade import browser, cookie_header, request

NAME = b"authjs.session-token"
HTTP = Attributes(secure=False)
EVERYTHING = Attributes(path="/a/long/path", domain="sub.example.com", secure=True, same_site="none")


def write(
    value: str | bytes, *, attributes: Attributes = HTTP, present: list[bytes] | None = None, name: bytes = NAME
) -> list[bytes]:
    return chunks.write(name, value, attributes, max_age=2_592_000, present=present or [])


def found(*cookies: str | bytes) -> list[bytes]:
    return chunks.find(request(*cookies), NAME).candidates


def n(*suffixes: str) -> list[bytes]:
    return [NAME + suffix.encode() for suffix in suffixes]


def test_attributes_in_authjs_order() -> None:
    """The line is name, value, Max-Age, Domain, Path, HttpOnly, Secure, SameSite."""
    assert EVERYTHING.line(b"a", b"b", max_age=5) == (
        b"a=b; Max-Age=5; Domain=sub.example.com; Path=/a/long/path; HttpOnly; Secure; SameSite=None"
    )
    plain = Attributes(secure=False, same_site="strict", http_only=False)
    assert plain.line(b"a", b"", max_age=None) == b"a=; Path=/; SameSite=Strict"


@pytest.mark.parametrize("text", ["/a;b", "/a b", "/a\r\nSet-Cookie: x=y", "/é", "", "/\0"])
def test_attributes_cannot_inject(text: str) -> None:
    """A path or domain that would break the line is a configuration error."""
    with pytest.raises(ConfigurationError, match="path"):
        Attributes(path=text, secure=True)
    with pytest.raises(ConfigurationError, match="domain"):
        Attributes(domain=text, secure=True)


@pytest.mark.parametrize("bad", [b"\r", b"\n", b"\0", b";", b",", b" ", b'"', b"\\", b"\x7f", b"\xe9"])
def test_values_and_names_cannot_inject(bad: bytes) -> None:
    """A value or a name with a character that could end it is refused, not sent."""
    for value in (b"a" + bad, bad + b"a", b"a" + bad + b"b"):
        with pytest.raises(CookieError, match="value"):
            write(value)
        with pytest.raises(CookieError, match="name"):
            write(b"x", name=b"n" + value)
        with pytest.raises(CookieError, match="name"):
            chunks.clear([value], HTTP)
    with pytest.raises(CookieError, match="value"):
        write("é\ud800")


@pytest.mark.parametrize("attributes", [HTTP, EVERYTHING], ids=["http", "everything"])
@pytest.mark.parametrize("name", [NAME, b"__Secure-next-auth.session-token", b"a"])
def test_no_line_over_4096(attributes: Attributes, name: bytes) -> None:
    """C1: at every size around the limits each line is at most 4096 bytes, real attributes counted, and full lines are."""
    room = 4096 - len(attributes.line(name, b"", max_age=2_592_000))
    for size in (1, room - 1, room, room + 1, 2 * room - 5, 2 * room - 4, 2 * room - 3, 4 * (room - 2)):
        value = b"v" * size
        lines = write(value, attributes=attributes, name=name)
        assert max(map(len, lines)) <= 4096
        assert (len(lines) == 1) == (size <= room)
        assert len(lines) == chunks.chunk_count(size, name=name, attributes=attributes, max_age=2_592_000)
        assert len(lines) == 1 or len(lines[0]) == 4096
        assert chunks.find(request(cookie_header(browser(lines))), name).candidates[0] == value
    with pytest.raises(CookieTooLargeError, match=f"at most {4 * (room - 2)}"):
        write(b"v" * (4 * (room - 2) + 1), attributes=attributes, name=name)


def test_attributes_that_leave_no_room() -> None:
    """Where path and name alone fill a line, the error is the same, and nothing loops."""
    attributes = Attributes(path="/" + "p" * 4100, secure=True)
    assert chunks.chunk_count(1, name=NAME, attributes=attributes, max_age=1) == chunks.MAX_CHUNKS + 1
    with pytest.raises(CookieTooLargeError, match="at most 0"):
        write(b"x", attributes=attributes)


def test_stale_chunks_are_removed() -> None:
    """C2: when the session shrinks or grows, every cookie of it that is not written is removed with the same attributes."""
    present = n(".0", ".1", ".2", ".7")
    assert write("v", present=present)[:4] == [name + b"=" + HTTP.suffix(0) for name in present]
    jar = browser(write("v", present=present), dict.fromkeys(present, b"old"))
    assert jar == {NAME: b"v"}
    jar = browser(write(b"v" * 9000, present=n("", ".1", ".5")), dict.fromkeys(n("", ".1", ".5"), b"old"))
    assert list(jar) == n(".1", ".0", ".2")
    assert found(cookie_header(jar)) == [b"v" * 9000]


def test_an_empty_value_only_removes() -> None:
    """An empty value sets no cookie, as in Auth.js."""
    assert write("") == []
    assert write("", present=n(".0")) == chunks.clear(n(".0"), HTTP)


@pytest.mark.parametrize(
    "rest", ["=stale", ".2=stale; {name}=plain", ".3=far", ".1=first"], ids=["plain", "stale-plain", "gap", "double"]
)
def test_stale_cookies_beside_chunks(rest: str) -> None:
    """C2: whatever stale cookie lies beside the chunks, the chunks alone are among the candidates."""
    name = NAME.decode()
    header = f"{name}.0=aaaa; {name}.1=bb; {name}" + rest.format(name=name)
    assert b"aaaabb" in found(header)


def test_what_follows_a_shorter_chunk_is_stale() -> None:
    """C2: a third chunk left over from a longer session does not spoil the two of a newer, shorter one."""
    old, new = browser(write(b"o" * 12_000)), browser(write(b"n" * 6000))
    assert b"n" * 6000 in found(cookie_header(old | new))


def test_chunks_in_numeric_order() -> None:
    """C3: chunk 10 comes after chunk 2, whatever the order of arrival."""
    order = [10, 2, 0, 11, 1, 9, 3, 8, 4, 7, 5, 6]
    header = "; ".join(f"{NAME.decode()}.{number}=<{number}>" for number in order)
    assert found(header)[0] == b"".join(b"<%d>" % number for number in range(12))


@pytest.mark.parametrize(
    "foreign",
    [
        "-legacy",
        ".x",
        ".01",
        ".-1",
        ".1.0",
        ".",
        "..0",
        ".0x",
        "0",
        ".1000",
        ".\N{SUPERSCRIPT TWO}",
        "s",
        "%2E0",
        ".0 x",
    ],
)
def test_foreign_cookies_of_the_same_prefix(foreign: str) -> None:
    """C4: a cookie that only begins with the name, or ends with it, is not ours: not read, not joined, not removed."""
    name = NAME.decode()
    for other in (name + foreign, foreign + name, "__Secure-" + name, "x" + name):
        for header in (f"{other}=bad; {name}=good", f"{name}=good; {other}=bad"):
            result = chunks.find(request(header), NAME)
            assert (result.candidates, result.names) == ([b"good"], n(""))
        assert chunks.find(request(f"{other}=bad"), NAME).names == []


@pytest.mark.parametrize(
    "header",
    ["a={name}=bad; {name}=good", "a={name}; {name}=good", "a=b {name}=bad; {name}=good", "{name}; {name}=good",
     ";; {name}=good;;", "\t{name} =\tgood \t", "{name}=\"good\"", "a=b;{name}=good", "=; ={name}=bad;  {name}=good; =",
     "{name}{name}=bad; {name}=good", "{name}=; {name}=good", "a={name}.0=bad; {name}=good"],
)  # fmt: skip
def test_odd_headers(header: str) -> None:
    """Only a cookie's own name counts, never what stands in a value; spaces, quotes and empty pairs do no harm."""
    assert found(header.format(name=NAME.decode())) == [b"good"]


def test_values_keep_their_equals_signs() -> None:
    """Everything after the first equals sign is the value."""
    assert found(NAME + b"=a=b==") == [b"a=b=="]
    assert found(NAME + b'="') == [b'"']


def test_no_cookie() -> None:
    """A request without our cookie has no candidate and no name."""
    for headers in ([], request(), request(""), request("a=b; c=d"), [(b"x-cook", NAME + b"=x")]):
        result = chunks.find(headers, NAME)
        assert (result.candidates, result.names) == ([], [])


def test_all_cookie_headers_count() -> None:
    """HTTP/2's crumbs, each in a header of its own and in any case, are read as one."""
    headers = [(b"cookie", NAME + b".1=b"), (b"Cookie", b"x=y"), (b"COOKIE", NAME + b".0=a; z=" + NAME)]
    result = chunks.find(headers, NAME)
    assert (result.candidates, result.names) == ([b"ab"], n(".1", ".0"))


def test_order_of_candidates() -> None:
    """The chunk set comes first, then that of the last of double names, then plain ones by arrival, without repetition."""
    name = NAME.decode()
    header = f"{name}=p1; {name}.0=a; {name}.1=b; {name}=p2; {name}.1=c; {name}=p1; {name}=p3"
    assert found(header) == [b"ab", b"ac", b"p1", b"p2"]
    assert found(f"{name}.1=b; {name}=p1; {name}=p1") == [b"p1"]
    assert found(f"{name}.1=b; {name}.2=c") == []


def test_what_is_read_is_bounded() -> None:
    """I10: many, doubled or huge cookies give at most 4 candidates, 32 names, and none over 32 KiB together."""
    name = NAME.decode()
    many = chunks.find(request("; ".join(f"{name}=v{number}" for number in range(1000))), NAME)
    assert (many.candidates, many.names) == ([b"v0", b"v1", b"v2", b"v3"], n(""))
    numbered = chunks.find(request(*(f"{name}.{number}=v" for number in range(1000))), NAME)
    assert numbered.names == n(*(f".{number}" for number in range(32)))
    half = "x" * (chunks.MAX_COOKIE_BYTES // 2)
    assert found(f"{name}.0={half}; {name}.1={half}") == [(half + half).encode(), half.encode()][:1]
    over = chunks.find(request(f"{name}.0={half}; {name}.1={half}; {name}=y"), NAME)
    assert (over.candidates, over.names) == ([], n(".0", ".1", ""))
    assert found(f"{name}={half}{half}") == [(half + half).encode()]
    assert chunks.find(request(f"{name}={half}{half}x"), NAME).names == n("")
    assert found(f"{name}={half}{half}x") == []


@pytest.mark.parametrize(
    "unit", [NAME, NAME + b"=", b";" + NAME, NAME + b" ", b"; " + NAME + b"=x", b"=" + NAME + b".0"]
)
def test_a_huge_header_costs_no_more_than_its_length(unit: bytes) -> None:
    """I10: a megabyte of our name takes milliseconds, where a reader that looks back each time would take many seconds."""
    header = b"a=" + unit * (1_000_000 // len(unit))
    began = time.process_time()
    chunks.find(request(header), NAME)
    assert time.process_time() - began < 1


def test_found_shows_no_value() -> None:
    """I7: the repr of what was found has names and numbers, no value."""
    assert repr(chunks.find(request(NAME + b"=secret"), NAME)) == f"<Found candidates=1 names={n('')}>"


OURS = st.sampled_from(["", ".0", ".1", ".2", ".3", ".4", ".9", ".12"])
FOREIGN = st.sampled_from([b"theme", NAME + b"-legacy", NAME + b".x", b"__Host-" + NAME, b"0" + NAME])
VALUE = st.text("abcXYZ019-_.=", min_size=0, max_size=20).map(str.encode)
SAME_SITE: st.SearchStrategy[Literal["lax", "strict", "none"]] = st.sampled_from(["lax", "strict", "none"])


@given(
    size=st.integers(1, 4000) | st.integers(3900, 4100) | st.integers(7700, 8200) | st.integers(11_000, 15_800),
    present=st.dictionaries(OURS.map(lambda suffix: NAME + suffix.encode()), VALUE),
    foreign=st.dictionaries(FOREIGN, VALUE),
    attributes=st.builds(
        Attributes, secure=st.booleans(), same_site=SAME_SITE, domain=st.none() | st.just("a.example")
    ),
    headers=st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read(
    size: int, present: dict[bytes, bytes], foreign: dict[bytes, bytes], attributes: Attributes, headers: int
) -> None:
    """C1, C2, C4: from any cookies before, what the browser then sends is the value alone, and foreign cookies stay."""
    value = bytes(97 + place % 25 for place in range(size))
    before = {**foreign, **present}
    names = chunks.find(request(cookie_header(before)), NAME).names
    assert set(names) == present.keys()
    lines = chunks.write(NAME, value, attributes, max_age=60, present=names)
    assert max(map(len, lines)) <= 4096
    after = browser(lines, before)
    assert {name: after[name] for name in foreign} == foreign
    pairs = cookie_header(after).split(b"; ")
    split = [b"; ".join(pairs[start::headers]) for start in range(headers)]
    result = chunks.find(request(*split), NAME)
    assert result.candidates == [value]
    assert browser(chunks.clear(result.names, attributes), after) == foreign


@given(st.lists(st.tuples(OURS | st.just("-x"), VALUE), max_size=40), st.binary(max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_header_is_read(cookies: list[tuple[str, bytes]], noise: bytes) -> None:
    """I10: whatever the header, the reader answers within its bounds."""
    header = noise + b"; ".join(NAME + suffix.encode() + b"=" + value for suffix, value in cookies) + noise
    result = chunks.find(request(header), NAME)
    assert len(result.candidates) <= 4
    assert len(result.names) == len(set(result.names)) <= 32
    assert all(result.candidates)
