"""``accept_dialects``: the cookies of one NextAuth read beside those of the other."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_token_rotation._claims import with_session_id
from asgi_token_rotation._cookies.chunks import MAX_CANDIDATES, Attributes, crumbs
from asgi_token_rotation._cookies.jwe import Opened, cookie_key_ring
from asgi_token_rotation._cookies.session_cookie import DEFAULT_NAMES, SessionCookie, session_cookie_for
from asgi_token_rotation.errors import InvalidTokenError
from asgi_token_rotation.options import CookieOptions
from asgi_token_rotation.types import Dialect
from cookies.handmade import NOW, OTHER, SECRET, browser, cookie_header, request, vectors

V4: Dialect = "nextauth-v4"
V5: Dialect = "authjs"
PAIRS = [pytest.param(V5, V4, id="v4-in-v5"), pytest.param(V4, V5, id="v5-in-v4")]
Jar = dict[bytes, bytes]


def cookie(
    dialect: Dialect, *accepted: Dialect, secrets: tuple[str, ...] = (SECRET,), secure: bool = False, **options: Any
) -> SessionCookie:
    return session_cookie_for(
        secrets, CookieOptions(**options), dialect=dialect, secure=secure, accept_dialects=accepted
    )


def jar_of(dialect: Dialect, *, now: float = NOW, secret: str = SECRET, claims: Any = None, **options: Any) -> Jar:
    """What a browser holds that was signed in by that dialect alone."""
    minted = cookie(dialect, secrets=(secret,), **options)
    return browser(minted.write(claims or {"sub": dialect}, now=now, expires=now + 100, present=[]))


def read(ours: SessionCookie, jar: Jar, *, now: float = NOW) -> tuple[Opened | None, list[bytes]]:
    opened, names = ours.read(crumbs(request(cookie_header(jar))), now=now)
    return opened, list(names)


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize(("dialect", "accepted"), PAIRS)
def test_the_other_dialect_is_read(dialect: Dialect, accepted: Dialect, secure: bool) -> None:
    """I1: a cookie of an accepted dialect opens, is never the newest seal, and is replaced by the dialect's own."""
    ours = cookie(dialect, accepted, secure=secure)
    jar = jar_of(accepted, secure=secure, claims={"sub": "1", "big": "x" * 5000})
    assert len(jar) == 2
    opened, names = read(ours, jar)
    assert opened is not None
    assert (opened.claims()["sub"], opened.newest) == ("1", False)
    assert names == list(jar)

    lines = ours.write({"sub": "1"}, now=NOW, expires=NOW + 9, present=names)
    assert list(browser(lines, jar)) == [ours.name.encode()]
    assert browser(ours.clear(names), jar) == {}


@pytest.mark.parametrize(("dialect", "accepted"), PAIRS)
def test_the_other_dialect_is_not_read_unasked(dialect: Dialect, accepted: Dialect) -> None:
    """Without the option a cookie of the other dialect is none of ours, and a pinned name does not open it either."""
    assert read(cookie(dialect), jar_of(accepted)) == (None, [])
    jar = jar_of(accepted, name="sid")
    assert read(cookie(dialect, name="sid"), jar) == (None, [b"sid"])


@pytest.mark.parametrize(("dialect", "accepted"), PAIRS)
def test_a_pinned_name_serves_both(dialect: Dialect, accepted: Dialect) -> None:
    """Under a pinned name the other dialect's keys are tried after our own, and its default name means nothing."""
    ours = cookie(dialect, accepted, name="sid", secure=True)
    opened, names = read(ours, jar_of(accepted, name="sid", secure=True))
    assert opened is not None
    assert (opened.claims()["sub"], opened.newest, names) == (accepted, False, [b"__Secure-sid"])
    opened, _ = read(ours, jar_of(dialect, name="sid", secure=True))
    assert opened is not None
    assert opened.newest
    assert read(ours, jar_of(accepted, secure=True)) == (None, [])


@pytest.mark.parametrize("version", ["v4", "v5"])
def test_what_the_real_one_sealed(version: str) -> None:
    """Every token of the real NextAuth v4 and Auth.js v5 that has our session cookie's key opens in the other dialect."""
    accepted: Dialect = V4 if version == "v4" else V5
    seen = 0
    for vector in vectors(version, "tokens"):
        one_secret = isinstance(vector["secret"], str)
        ours_to_read = vector["salt"] in ("", DEFAULT_NAMES[accepted]) and "payload" in vector["expected"]
        if one_secret and ours_to_read and len(vector["token"]) < 4000 and "A128" not in vector["id"]:
            ours = cookie(V5 if accepted == V4 else V4, accepted, secrets=(vector["secret"],))
            jar = {DEFAULT_NAMES[accepted].encode(): vector["token"].encode()}
            opened, _ = read(ours, jar, now=vector["decode_at"])
            assert opened is not None, vector["id"]
            assert opened.claims() == vector["expected"]["payload"]
            seen += 1
    assert seen >= 5


@pytest.mark.parametrize(("dialect", "accepted"), PAIRS)
@pytest.mark.parametrize("pinned", [{}, {"name": "sid"}])
def test_foreign_and_expired_ones_are_refused(dialect: Dialect, accepted: Dialect, pinned: dict[str, Any]) -> None:
    """I3: an accepted dialect's cookie that is over, damaged or of another secret opens nothing, and its name is told."""
    ours = cookie(dialect, accepted, **pinned)
    good = jar_of(accepted, **pinned)
    damaged = {name: value[:-3] for name, value in good.items()}
    for jar, now in ((good, NOW + 115), (damaged, NOW), (jar_of(accepted, secret=OTHER, **pinned), NOW)):
        assert read(ours, jar, now=now) == (None, list(good))
    older = cookie(dialect, accepted, secrets=(OTHER, SECRET), **pinned)
    assert read(older, good)[0] is not None


@pytest.mark.parametrize("later", ["dialect", "accepted"])
@pytest.mark.parametrize(("dialect", "accepted"), PAIRS)
def test_the_later_sign_in_counts(dialect: Dialect, accepted: Dialect, later: str) -> None:
    """Of two dialects' cookies the later sign-in is taken, whichever it is, and a write leaves only one."""
    late = {"dialect": dialect, "accepted": accepted}[later]
    jar = jar_of(dialect, now=NOW + 5 * (late == dialect)) | jar_of(accepted, now=NOW + 5 * (late == accepted))
    ours = cookie(dialect, accepted)
    opened, names = read(ours, jar, now=NOW + 5)
    assert opened is not None
    assert (opened.claims()["sub"], opened.newest) == (late, late == dialect)
    assert set(names) == set(jar)
    assert list(browser(ours.write({}, now=NOW, expires=NOW + 9, present=names), jar)) == [ours.name.encode()]


def test_a_late_answer_of_the_old_application() -> None:
    """An old application's answer that seals an older generation of the same session anew does not hide the newer one."""
    derived = with_session_id({"refresh_token": "r0"})["session_id"]
    old = jar_of(V4, now=NOW + 50, claims={"sub": "1", "refresh_token": "r0"})
    rotated = {"sub": "1", "refresh_token": "r1", "session_id": derived, "generation": 1, "signed_in_at": NOW}
    jar = old | jar_of(V5, claims=rotated)
    opened, _ = read(cookie(V5, V4), jar, now=NOW + 50)
    assert opened is not None
    assert opened.claims()["refresh_token"] == "r1"


def test_a_late_answer_does_not_hide_a_later_sign_in() -> None:
    """Nor does such an answer make its old session younger than another one that was signed in meanwhile."""
    derived = with_session_id({"refresh_token": "r0"})["session_id"]
    late = jar_of(V4, now=NOW + 50, claims={"sub": "old", "refresh_token": "r0"})
    first = {"sub": "old", "refresh_token": "r1", "session_id": derived, "generation": 1, "signed_in_at": NOW}
    second = {"sub": "new", "session_id": "second", "generation": 0, "signed_in_at": NOW + 20}
    [(name, chunk)] = jar_of(V5, claims=first).items()
    jar = late | {name + b".0": chunk} | jar_of(V5, claims=second, now=NOW + 20)
    opened, names = read(cookie(V5, V4), jar, now=NOW + 50)
    assert opened is not None
    assert opened.claims()["sub"] == "new"
    assert len(names) == 3


class Refusing:
    """A key ring that counts what it is asked to open."""

    def __init__(self) -> None:
        self.asked = 0

    def open(self, token: bytes, **_: Any) -> Opened:
        self.asked += 1
        raise InvalidTokenError("Refused.")


@pytest.mark.parametrize("other_name", ["other", "sid"])
def test_the_work_is_bounded(other_name: str) -> None:
    """I10: however many cookies of both names come, each key ring tries MAX_CANDIDATES of them at most."""
    own: Any = Refusing()
    other: Any = Refusing()
    ours = SessionCookie(name="sid", attributes=Attributes(secure=False), keys=own, accepted=[(other_name, other)])
    header = "; ".join(f"{name}{suffix}=v{number}" for number in range(200) for name in ("sid", "other")
                       for suffix in ("", ".0", ".1"))  # fmt: skip
    assert ours.read(crumbs(request(header)), now=NOW)[0] is None
    assert 0 < own.asked <= MAX_CANDIDATES
    assert 0 < other.asked <= MAX_CANDIDATES
    good = cookie_key_ring([SECRET], cookie_name="sid", dialect=V5).seal({}, now=NOW, expires=NOW + 9)
    untried: Any = Refusing()
    ours = SessionCookie(
        name="sid",
        attributes=Attributes(secure=False),
        keys=cookie_key_ring([SECRET], cookie_name="sid", dialect=V5),
        accepted=[("sid", untried)],
    )
    assert ours.read(crumbs(request(f"sid={good}")), now=NOW)[0] is not None
    assert untried.asked == 0
