from __future__ import annotations

import logging

import pytest

from asgi_token_rotation._cookies.chunks import Attributes, crumbs
from asgi_token_rotation._cookies.jwe import cookie_key_ring
from asgi_token_rotation._cookies.session_cookie import SessionCookie, session_cookie_for
from asgi_token_rotation.errors import ConfigurationError, CookieTooLargeError
from asgi_token_rotation.options import CookieOptions
from asgi_token_rotation.types import Dialect
from cookies.handmade import NAME, NOW, OTHER, SECRET, browser, cookie_header, request, vectors


def cookie(*secrets: str, options: CookieOptions | None = None, secure: bool = False) -> SessionCookie:
    return session_cookie_for(secrets or [SECRET], options or CookieOptions(), dialect="authjs", secure=secure)


def jar_of(claims: dict[str, object], *secrets: str, expires: float = NOW + 100) -> dict[bytes, bytes]:
    return browser(cookie(*secrets).write(claims, now=NOW, expires=expires, present=[]))


def claims_in(jar: dict[bytes, bytes], *secrets: str, now: float = NOW) -> dict[str, object] | None:
    opened, names = cookie(*secrets).read(crumbs(request(cookie_header(jar))), now=now)
    assert set(names) == {name for name in jar if name.startswith(NAME.encode())}
    return None if opened is None else opened.claims()


@pytest.mark.parametrize("size", [10, 3000, 6000, 10_000])
def test_what_is_written_is_read(size: int) -> None:
    """A session of one to four cookies comes back, and its cookie lives as long as its token."""
    lines = cookie().write({"sub": "1", "x": "x" * size}, now=NOW + 0.5, expires=NOW + 100, present=[])
    assert all(b"; Max-Age=100; Path=/; HttpOnly; SameSite=Lax" in line and len(line) <= 4096 for line in lines)
    claims = claims_in(browser(lines))
    assert claims is not None
    assert (claims["sub"], claims["x"], claims["exp"]) == ("1", "x" * size, NOW + 100)


def test_no_cookie() -> None:
    """A request without a cookie of ours has no token and no names, and the lists are its own."""
    opened, names = cookie().read(crumbs(request("a=b")), now=NOW)
    assert (opened, names) == (None, [])
    names.append(b"x")
    assert cookie().read(crumbs(request("a=b")), now=NOW)[1] == []


def test_over_is_over() -> None:
    """An expired cookie is skipped, and its name is told so that the caller may decide."""
    jar = jar_of({}, expires=NOW + 100)
    assert claims_in(jar, now=NOW + 114) is not None
    assert claims_in(jar, now=NOW + 115) is None
    assert b"; Max-Age=1; " in cookie().write({}, now=NOW, expires=NOW - 5, present=[])[0]


def test_the_first_that_opens() -> None:
    """C2, C4: stale, foreign, damaged and expired cookies beside the right one do not hide it."""
    good = jar_of({"sub": "good"})[NAME.encode()]
    newer = jar_of({}, OTHER)[NAME.encode()]
    keys = cookie_key_ring([SECRET], cookie_name=NAME, dialect="authjs")
    expired = keys.seal({"sub": "old"}, now=NOW - 90, expires=NOW - 50).encode()
    for bad in (b"garbage", good[:-3], newer, expired):
        header = b"; ".join((NAME.encode() + b".0=" + bad, NAME.encode() + b"=" + bad, NAME.encode() + b"=" + good))
        opened, names = cookie().read(crumbs(request(header)), now=NOW)
        assert opened is not None
        assert opened.claims()["sub"] == "good"
        assert names == [NAME.encode() + b".0", NAME.encode()]


def test_another_secret() -> None:
    """C7: a cookie of a newer secret is not opened, and reading clears nothing; of an older one it is opened as such."""
    jar = jar_of({"sub": "1"}, OTHER)
    assert claims_in(jar, SECRET) is None
    opened, _ = cookie(SECRET, OTHER).read(crumbs(request(cookie_header(jar))), now=NOW)
    assert opened is not None
    assert not opened.newest


def test_a_large_cookie_of_authjs() -> None:
    """A session that Auth.js wrote in four chunks is read, and rewritten in place of them."""
    vector = next(v for v in vectors("v5", "tokens") if v["id"] == "v5-large")
    case = next(v for v in vectors("v5", "chunking") if v["id"] == "v5-chunk-large")
    assert case["value_to_store"] == vector["token"]
    jar = {c["name"].encode(): c["value"].encode() for c in case["set_cookies"]}
    opened, names = cookie(vector["secret"]).read(crumbs(request(cookie_header(jar))), now=vector["decode_at"])
    assert opened is not None
    assert opened.claims() == vector["expected"]["payload"]
    lines = cookie(vector["secret"]).write({"sub": "1"}, now=NOW, expires=NOW + 9, present=names)
    assert list(browser(lines, jar)) == [NAME.encode()]


def test_clear() -> None:
    """Clearing removes exactly the names that were present, with the attributes that they were set with."""
    secure = cookie(options=CookieOptions(domain="example.com", path="/app"), secure=True)
    name = secure.name.encode()
    tail = b"=; Max-Age=0; Domain=example.com; Path=/app; HttpOnly; Secure; SameSite=Lax"
    assert secure.clear([name, name + b".1"]) == [name + tail, name + b".1" + tail]
    assert secure.clear([]) == []


def test_too_large_names_the_claims() -> None:
    """C8: over the cap the error names the largest claims and their sizes, never their values."""
    claims = {"access_token": "secret" * 2000, "groups": ["secret"] * 300, "sub": "secret"}
    with pytest.raises(CookieTooLargeError) as caught:
        cookie().write(claims, now=NOW, expires=NOW + 9, present=[])
    message = str(caught.value)
    assert "'access_token' with 12002 bytes, 'groups' with 2701 bytes, 'sub' with 8 bytes" in message
    assert "4 cookies of 4096 bytes" in message
    assert "secret" not in message


def test_one_warning_at_the_second_chunk(caplog: pytest.LogCaptureFixture) -> None:
    """C8: the first session that needs two cookies logs one warning that names its two largest claims, not their values."""
    caplog.set_level(logging.WARNING, logger="asgi_token_rotation")
    ours = cookie()
    ours.write({"sub": "secret"}, now=NOW, expires=NOW + 9, present=[])
    assert caplog.messages == []
    claims = {"id_token": "secret" * 500, "evil\nname" * 9: "secret" * 200, "sub": "secret"}
    for _ in range(3):
        ours.write(claims, now=NOW, expires=NOW + 9, present=[])
    (message,) = caplog.messages
    assert "needs 2 cookies" in message
    assert "'id_token' with 3002 bytes, 'evil\\nname" in message
    assert "'sub'" not in message
    assert "secret" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("options", "secure", "name", "line_end"),
    [
        (CookieOptions(), False, "authjs.session-token", "Path=/; HttpOnly; SameSite=Lax"),
        (CookieOptions(), True, "__Secure-authjs.session-token", "Path=/; HttpOnly; Secure; SameSite=Lax"),
        (CookieOptions(secure=True), False, "__Secure-authjs.session-token", "Path=/; HttpOnly; Secure; SameSite=Lax"),
        (CookieOptions(secure=False), True, "authjs.session-token", "Path=/; HttpOnly; SameSite=Lax"),
        (CookieOptions(prefix=""), True, "authjs.session-token", "Path=/; HttpOnly; Secure; SameSite=Lax"),
        (CookieOptions(prefix="__Host-", name="sid"), True, "__Host-sid", "Path=/; HttpOnly; Secure; SameSite=Lax"),
        (CookieOptions(prefix="__Host-", name="sid"), False, "sid", "Path=/; HttpOnly; SameSite=Lax"),
        (CookieOptions(prefix="__Host-", name="sid", secure=True), False, "__Host-sid", "Secure; SameSite=Lax"),
        (CookieOptions(same_site="none"), False, "authjs.session-token", "Path=/; HttpOnly; SameSite=Lax"),
        (CookieOptions(same_site="none"), True, "__Secure-authjs.session-token", "Secure; SameSite=None"),
        (CookieOptions(same_site="strict", name="s"), False, "s", "Path=/; HttpOnly; SameSite=Strict"),
        (CookieOptions(domain="a.b", path="/x"), False, "authjs.session-token", "Domain=a.b; Path=/x; HttpOnly; SameSite=Lax"),
    ],
)  # fmt: skip
def test_names_and_prefixes(options: CookieOptions, secure: bool, name: str, line_end: str) -> None:
    """A prefix or SameSite=None stands only where Secure does, because browsers drop such a cookie otherwise."""
    ours = cookie(options=options, secure=secure)
    assert ours.name == name
    (line,) = ours.write({}, now=NOW, expires=NOW + 9, present=[])
    assert line.startswith(name.encode() + b"=")
    assert line.endswith(line_end.encode())


@pytest.mark.parametrize(("dialect", "version"), [("authjs", "v5"), ("nextauth-v4", "v4")])
@pytest.mark.parametrize("secure", [True, False])
def test_default_names_are_those_of_the_dialect(dialect: Dialect, version: str, secure: bool) -> None:
    """Without options name and attributes are those of the real NextAuth or Auth.js."""
    defaults = vectors(version, "default_cookies")["secure" if secure else "insecure"]["sessionToken"]  # type: ignore[call-overload]
    ours = session_cookie_for([SECRET], CookieOptions(), dialect=dialect, secure=secure)
    assert ours.name == defaults["name"]
    assert defaults["options"] == {"httpOnly": True, "sameSite": "lax", "path": "/", "secure": secure}


def test_the_name_is_the_salt() -> None:
    """The key belongs to the full name, prefix included, as in Auth.js v5."""
    ours = cookie(secure=True)
    (line,) = ours.write({"sub": "1"}, now=NOW, expires=NOW + 9, present=[])
    token = line.partition(b"=")[2].partition(b";")[0]
    assert (
        cookie_key_ring([SECRET], cookie_name=ours.name, dialect="authjs").open(token, now=NOW).claims()["sub"] == "1"
    )


def test_encryption_option() -> None:
    """A256CBC-HS512 seals as Auth.js does; a cookie of the other encryption is still read."""
    cbc = cookie(options=CookieOptions(encryption="A256CBC-HS512"))
    jar = browser(cbc.write({"sub": "1"}, now=NOW, expires=NOW + 9, present=[]))
    assert jar[NAME.encode()].startswith(b"eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoi")
    assert claims_in(jar) is not None
    with pytest.raises(ConfigurationError, match="v4"):
        session_cookie_for([SECRET], CookieOptions(encryption="A256CBC-HS512"), dialect="nextauth-v4", secure=True)


def test_a_path_that_leaves_no_room() -> None:
    """A name, path and domain that fill the cookie are refused at start-up, not at the first sign-in."""
    keys = cookie_key_ring([SECRET], cookie_name="s", dialect="authjs")
    with pytest.raises(ConfigurationError, match="Shorten them"):
        SessionCookie(name="s", attributes=Attributes(path="/" + "x" * 2100, secure=True), keys=keys)
