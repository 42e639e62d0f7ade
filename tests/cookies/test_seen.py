from __future__ import annotations

import threading
import tracemalloc
from typing import Any

import pytest

from asgi_token_rotation._contents import contents_of
from asgi_token_rotation._cookies.jwe import KeyRing, Opened, cookie_key_ring
from asgi_token_rotation._cookies.seen import ENTRY_BYTES, SeenCookies
from asgi_token_rotation._cookies.session_cookie import SessionCookie, session_cookie_for
from asgi_token_rotation.options import CookieOptions, Lifetime, RefreshOptions

SECRET = "a secret of the tests, long enough for everybody"
NAME = "authjs.session-token"
NOW = 1_800_000_000.0
OPENED = Opened({}, newest=True)


def ring(*secrets: str) -> KeyRing:
    """The keys of the session cookie."""
    return cookie_key_ring(secrets or (SECRET,), cookie_name=NAME, dialect="authjs")


def cookie(*secrets: str, cache: float = 60) -> SessionCookie:
    """A session cookie with a cache of its own."""
    return session_cookie_for(secrets or (SECRET,), CookieOptions(cache=cache), dialect="authjs", secure=False)


def sealed(claims: dict[str, Any], *, expires: float = NOW + 3600, secret: str = SECRET) -> bytes:
    """A cookie's value that the reader has not made itself."""
    return ring(secret).seal(claims, now=NOW, expires=expires).encode()


def read(reader: SessionCookie, value: bytes, *, now: float = NOW) -> Opened | None:
    """What a request with the cookie is opened to."""
    return reader.read([NAME.encode() + b"=" + value], now=now)[0]


def test_seen_again_within_the_seconds() -> None:
    """A cookie is decrypted once within the seconds of ``cache``, and again after them."""
    reader, value = cookie(cache=60), sealed({"sub": "1"})
    first = read(reader, value)

    assert first is not None
    assert read(reader, value, now=NOW + 59) is first
    assert read(reader, value, now=NOW + 60) is not first
    assert read(reader, value, now=NOW + 61) is not None


def test_off() -> None:
    """With ``cache=0`` every reading decrypts, and nothing is kept."""
    reader, value = cookie(cache=0), sealed({"sub": "1"})

    assert read(reader, value) is not read(reader, value)
    seen = SeenCookies(keep=0)
    seen.put(value, OPENED, now=NOW)
    assert (len(seen), seen.size) == (0, 0)


def test_never_past_its_expiry() -> None:
    """What is kept is never consulted from ``exp`` on, however long it may be kept: the token's own times are judged anew."""
    reader, value = cookie(cache=3600), sealed({"sub": "1"}, expires=NOW + 30)
    first = read(reader, value)

    assert read(reader, value, now=NOW + 29) is first
    within_tolerance = read(reader, value, now=NOW + 31)
    assert within_tolerance is not None
    assert within_tolerance is not first
    assert read(reader, value, now=NOW + 50) is None


def test_not_before_its_time() -> None:
    """A clock that was set back, or a cookie whose ``nbf`` lies ahead, is judged anew as well."""
    seen = SeenCookies(keep=60)
    seen.put(b"a" * 40, OPENED, now=NOW)
    seen.put(b"b" * 40, Opened({}, newest=True, begins=NOW + 10), now=NOW)

    assert seen.get(b"a" * 40, now=NOW - 1) is None
    assert seen.get(b"b" * 40, now=NOW) is None
    assert seen.get(b"b" * 40, now=NOW + 10) is not None


@pytest.mark.parametrize("place", [0, 200, 300, 400, -30])
def test_the_whole_cookie_counts(place: int) -> None:
    """A cookie with another's tag is not taken for it: every byte is compared."""
    reader, value = cookie(), sealed({"sub": "1", "filler": "x" * 200})
    assert read(reader, value) is not None
    forged = bytearray(value)
    forged[place] = ord("A") if forged[place] != ord("A") else ord("B")

    assert read(reader, bytes(forged)) is None
    assert read(reader, value) is not None


def test_only_what_opens_is_kept() -> None:
    """A client can't push others out with cookies that don't open: they leave no trace."""
    reader, value = cookie(), sealed({"sub": "1"})
    first = read(reader, value)
    for number in range(5000):
        assert read(reader, value[:-10] + b"%010d" % number) is None

    assert read(reader, value) is first


def test_entries_are_bounded() -> None:
    """There are never more entries than allowed; the oldest go first."""
    seen = SeenCookies(keep=60, max_entries=10)
    for number in range(25):
        seen.put(b"%040d" % number, OPENED, now=NOW)

    assert len(seen) == 10
    assert [number for number in range(25) if seen.get(b"%040d" % number, now=NOW)] == list(range(15, 25))


def test_bytes_are_bounded() -> None:
    """The memory of all entries together is bounded, and what is larger than all of it is not kept."""
    seen = SeenCookies(keep=60, max_bytes=10 * ENTRY_BYTES)
    for number in range(100):
        seen.put(b"%0*d" % (ENTRY_BYTES // 2, number), OPENED, now=NOW)
        assert seen.size <= 10 * ENTRY_BYTES
    assert len(seen) == 5

    seen.put(b"y" * 5 * ENTRY_BYTES, OPENED, now=NOW)
    assert seen.get(b"y" * 5 * ENTRY_BYTES, now=NOW) is None


def test_the_same_cookie_twice() -> None:
    """A cookie that is opened again takes its room once."""
    seen = SeenCookies(keep=60)
    for later in range(5):
        seen.put(b"a" * 40, OPENED, now=NOW + later)

    assert len(seen) == 1
    assert seen.size == 2 * 40 + ENTRY_BYTES


def test_old_ones_go_when_others_enter() -> None:
    """What is over leaves the memory when other cookies enter it, two for each, so that no request pays for them all."""
    seen = SeenCookies(keep=60)
    for number in range(5):
        seen.put(b"%040d" % number, OPENED, now=NOW)
    sizes = []
    for letter in (b"x", b"y", b"z"):
        seen.put(letter * 40, OPENED, now=NOW + 61)
        sizes.append(len(seen))

    assert sizes == [4, 3, 3]
    seen = SeenCookies(keep=60)
    seen.put(b"a" * 40, OPENED, now=NOW)
    seen.put(b"z" * 40, OPENED, now=NOW + 61)
    assert seen.size == 2 * 40 + ENTRY_BYTES


def test_a_new_secret_is_noticed() -> None:
    """I1: a kept cookie of an older secret is still known to be one, so that it is sealed anew."""
    value = sealed({"sub": "1"}, secret="the older secret of this test, long enough")
    reader = cookie(SECRET, "the older secret of this test, long enough")

    for _ in range(2):
        opened = read(reader, value)
        assert opened is not None
        assert not opened.newest
    assert read(cookie(SECRET), value) is None


def test_what_was_written_is_known() -> None:
    """A cookie that this process sealed itself is known when it comes back, and says what opening it would say."""
    claims: dict[str, Any] = {"sub": "1", "groups": ["a", {"b": None}], "ü": "\ud800", "n": 2**70, "t": (1, 2)}
    writer = cookie()
    line = writer.write(claims, now=NOW, expires=NOW + 3600, present=())[0]
    value = line.partition(b";")[0].partition(b"=")[2]
    known, opened = read(writer, value), read(cookie(), value)

    assert known is not None
    assert opened is not None
    assert known is read(writer, value)
    assert known.claims() == opened.claims()
    assert known.newest
    assert (known.begins, known.ends) == (opened.begins, opened.ends)


def test_what_was_written_stays_as_it_was() -> None:
    """What the writer changes in its claims afterwards is not in the cookie, so it is not what the cookie is known by."""
    writer, claims = cookie(), {"groups": ["a"], "deep": {"list": [1]}}
    line = writer.write(claims, now=NOW, expires=NOW + 3600, present=())[0]
    claims["groups"].append("b")  # type: ignore[attr-defined]
    claims["deep"]["list"].clear()  # type: ignore[call-overload]
    known = read(writer, line.partition(b";")[0].partition(b"=")[2])

    assert known is not None
    assert known.claims().items() >= {"groups": ["a"], "deep": {"list": [1]}}.items()


def test_contents_leave_the_claims() -> None:
    """What is worked out of a cookie takes nothing away from it: of several that arrive, the later seal still counts."""
    opened = ring().open(sealed({"sub": "1", "session_id": "s", "generation": 0, "groups": ["a"]}), now=NOW)
    before = opened.claims()
    contents = contents_of(opened, options=RefreshOptions(), lifetime=Lifetime())

    assert {"iat", "exp", "jti"}.isdisjoint(contents.token)
    assert opened.claims() == before
    assert before["iat"] == NOW


def test_chunks_are_seen_again() -> None:
    """A cookie in chunks is known again as well."""
    writer = cookie()
    lines = writer.write({"sub": "1", "filler": "x" * 5000}, now=NOW, expires=NOW + 3600, present=())
    header = b"; ".join(line.partition(b";")[0] for line in lines)
    first = writer.read([header], now=NOW)[0]

    assert len(lines) == 2
    assert first is not None
    assert writer.read([header], now=NOW)[0] is first


@pytest.mark.parametrize("sealed_here", [True, False])
def test_entries_take_the_memory_that_is_counted(sealed_here: bool) -> None:
    """I10: what is kept takes no more memory than is counted for it: no buffer of whoever wrote or read the JSON."""
    reader, many = cookie(), 100
    claims = [{"sub": str(number), "access_token": f"{number:02000}", "groups": ["a", "b"]} for number in range(many)]
    values = [sealed(each) for each in claims]
    tracemalloc.start(1)
    try:
        for each, value in zip(claims, values, strict=True):
            if sealed_here:
                reader.write(each, now=NOW, expires=NOW + 60, present=())
            else:
                read(reader, value)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert many * len(values[0]) < held < many * (2 * len(values[0]) + ENTRY_BYTES)


def test_nothing_secret_in_the_repr() -> None:
    """I7: neither the cookie nor what it held is in a repr."""
    seen = SeenCookies(keep=60)
    seen.put(b"the cookie itself, which is a secret", Opened({"sub": "so is this"}, newest=True), now=NOW)

    assert repr(seen) == "<SeenCookies 1 of 4096>"


def test_threads() -> None:
    """Threads that share it leave its bounds and its sum in order."""
    seen = SeenCookies(keep=60, max_entries=20)

    def use(thread: int) -> None:
        for number in range(500):
            value = b"%038d%02d" % (number % 50, thread)
            seen.put(value, OPENED, now=NOW)
            seen.get(value, now=NOW)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == 20
    assert seen.size == 20 * (2 * 40 + ENTRY_BYTES)


@pytest.mark.parametrize(
    "claims", [{1: "a"}, {None: True}, {"emoji": "\ud83d\ude00"}, {"nested": {1: (2,)}}, {"n": 1e22}]
)
def test_what_was_written_is_known_as_others_read_it(claims: dict[Any, Any]) -> None:
    """The process that sealed a cookie knows it by what JSON gives back, as every other process does."""
    writer = cookie()
    [line] = writer.write(claims, now=NOW, expires=NOW + 3600, present=())
    value = line.partition(b"=")[2].partition(b";")[0]
    own, other = read(writer, value), read(cookie(), value)

    assert own is not None
    assert other is not None
    assert repr(own.claims()) == repr(other.claims())
