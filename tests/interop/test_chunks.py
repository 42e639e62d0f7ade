"""Cookies in chunks: cut by one side, joined by the other, over whatever was there before."""

from __future__ import annotations

import itertools

import pytest

from asgi_token_rotation._cookies.session_cookie import DEFAULT_NAMES, SessionCookie, session_cookie_for
from asgi_token_rotation.options import CookieOptions
from asgi_token_rotation.types import JWT, Dialect
from interop.node import DAY, SECRET, Jar, Node, bare, now, salt_of

DIALECTS: list[Dialect] = ["authjs", "nextauth-v4"]
# Bytes of one claim, for one to four chunks of ours, and the sizes at which one side takes a chunk more than the other.
SIZES = [10, 2700, 2800, 2900, 3000, 5500, 5900, 6000, 8700, 10_500]


def ours(dialect: Dialect) -> SessionCookie:
    return session_cookie_for([SECRET], CookieOptions(), dialect=dialect, secure=False)


def claims_of(size: int) -> JWT:
    return {"sub": "1", "big": "x" * size}


def written_by_us(dialect: Dialect, size: int, jar: Jar) -> None:
    lines = ours(dialect).write(claims_of(size), now=now(), expires=now() + DAY, present=read_by_us(dialect, jar)[1])
    jar.took([line.decode() for line in lines])


def written_by_them(node: Node, dialect: Dialect, size: int, jar: Jar) -> None:
    name = DEFAULT_NAMES[dialect]
    token = node("seal", dialect=dialect, claims=claims_of(size), secret=SECRET, salt=salt_of(dialect, name))
    for cookie in node("cut", dialect=dialect, name=name, value=token, present=jar):
        jar.pop(cookie["name"], None)
        if cookie["options"].get("maxAge") != 0:
            jar[cookie["name"]] = cookie["value"]


def read_by_us(dialect: Dialect, jar: Jar) -> tuple[JWT | None, list[bytes]]:
    opened, names = ours(dialect).read([jar.header.encode()], now=now())
    return None if opened is None else opened.claims(), names


def read_by_them(node: Node, dialect: Dialect, jar: Jar) -> JWT:
    name = DEFAULT_NAMES[dialect]
    token = node("join", dialect=dialect, name=name, present=jar)
    return node("open", dialect=dialect, token=token, secret=SECRET, salt=salt_of(dialect, name))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_ours_are_joined_by_them(node: Node, dialect: Dialect, size: int) -> None:
    """What we cut, though our chunks are of another size, Auth.js's own SessionStore joins to the same token."""
    jar = Jar()
    written_by_us(dialect, size, jar)
    assert bare(read_by_them(node, dialect, jar)) == claims_of(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_theirs_are_joined_by_us(node: Node, dialect: Dialect, size: int) -> None:
    """What Auth.js's own SessionStore cuts is joined by us, and all its names are known."""
    jar = Jar()
    written_by_them(node, dialect, size, jar)
    claims, names = read_by_us(dialect, jar)
    assert bare(claims) == claims_of(size)
    assert {name.decode() for name in names} == set(jar)


@pytest.mark.parametrize("order", [reversed, iter], ids=["reversed", "as set"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_order_of_chunks_is_no_matter(node: Node, dialect: Dialect, order: type[reversed[str]]) -> None:
    """A browser may send chunks in any order: both sides sort them."""
    jar = Jar()
    written_by_us(dialect, 9000, jar)
    turned = Jar((name, jar[name]) for name in order(list(jar)))
    assert read_by_them(node, dialect, turned)["sub"] == "1"
    written_by_them(node, dialect, 9000, jar)
    turned = Jar((name, jar[name]) for name in order(list(jar)))
    assert bare(read_by_us(dialect, turned)[0]) == claims_of(9000)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_in_turn_over_one_another(node: Node, dialect: Dialect) -> None:
    """C2, C4: whoever writes over whose cookie, from any number of chunks to any other, both then read the same."""
    jar = Jar()
    seen = set[int]()
    sizes = [10, 6000, 2900, 9000, 10]
    for (before, after), first in itertools.product(itertools.product(sizes, sizes), ("us", "them")):
        for size, who in ((before, first), (after, "them" if first == "us" else "us")):
            if who == "us":
                written_by_us(dialect, size, jar)
            else:
                written_by_them(node, dialect, size, jar)
            assert bare(read_by_us(dialect, jar)[0]) == claims_of(size)
            assert bare(read_by_them(node, dialect, jar)) == claims_of(size)
            seen.add(len(jar))
    assert {1, 3, 4} <= seen
