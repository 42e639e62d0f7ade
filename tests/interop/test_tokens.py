"""Single tokens: what we seal is opened by the real libraries, and what they seal by us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from asgi_token_rotation._cookies.ciphers import Encryption
from asgi_token_rotation._cookies.jwe import KeyRing, cookie_key_ring
from asgi_token_rotation.errors import ExpiredTokenError, InvalidTokenError
from asgi_token_rotation.types import Dialect
from interop.node import DAY, OLDER, SECRET, UNICODE, Node, RefusedByNode, bare, now, salt_of

V5, V4 = "authjs.session-token", "next-auth.session-token"
COOKIES = [
    pytest.param("authjs", V5, "A256GCM", id="v5-gcm"),
    pytest.param("authjs", V5, "A256CBC-HS512", id="v5-cbc"),
    pytest.param("authjs", f"__Secure-{V5}", "A256GCM", id="v5-gcm-secure"),
    pytest.param("authjs", f"__Secure-{V5}", "A256CBC-HS512", id="v5-cbc-secure"),
    pytest.param("authjs", "__Host-sid", "A256GCM", id="v5-gcm-pinned"),
    pytest.param("nextauth-v4", V4, "A256GCM", id="v4"),
    pytest.param("nextauth-v4", f"__Secure-{V4}", "A256GCM", id="v4-secure"),
]
DIALECTS = [pytest.param("authjs", V5, id="v5"), pytest.param("nextauth-v4", V4, id="v4")]


def ring(dialect: Dialect, name: str, *secrets: str, encryption: Encryption = "A256GCM") -> KeyRing:
    return cookie_key_ring(secrets or (SECRET,), cookie_name=name, dialect=dialect, encryption=encryption)


def sealed(keys: KeyRing, claims: dict[str, Any] | None = None, *, expires_in: float = DAY) -> str:
    return keys.seal(claims or {"sub": "1"}, now=now(), expires=now() + expires_in)


def theirs(node: Node, dialect: Dialect, name: str, **more: Any) -> str:
    settings = {"claims": {"sub": "1"}, "secret": SECRET, "salt": salt_of(dialect, name), "maxAge": DAY, **more}
    return node("seal", dialect=dialect, **settings)


def opened_by_them(node: Node, dialect: Dialect, name: str, token: str, *secrets: str) -> dict[str, Any]:
    secret = list(secrets or (SECRET,)) if dialect == "authjs" else (secrets or (SECRET,))[0]
    return node("open", dialect=dialect, token=token, secret=secret, salt=salt_of(dialect, name))


def test_the_versions(node: Node) -> None:
    """What is compared with is what the package promises: @auth/core 0.41, next-auth 4.24, and a jose of today."""
    versions = node("versions")
    assert versions["@auth/core"].startswith("0.41.")
    assert versions["next-auth"].startswith("4.24.")
    assert versions["jose"].startswith("6.")


@pytest.mark.parametrize(("dialect", "name", "encryption"), COOKIES)
def test_ours_is_opened_by_them(node: Node, dialect: Dialect, name: str, encryption: Encryption) -> None:
    """Every claim of a token that we seal comes out of the real library's decode as it went in, unicode included."""
    token = sealed(ring(dialect, name, encryption=encryption), UNICODE)
    claims = opened_by_them(node, dialect, name, token)
    assert bare(claims) == UNICODE
    assert claims.keys() - UNICODE.keys() == {"iat", "exp", "jti"}


@pytest.mark.parametrize(("dialect", "name", "encryption"), COOKIES)
def test_ours_is_opened_by_jose(node: Node, dialect: Dialect, name: str, encryption: Encryption) -> None:
    """Plain jose with a key of its own derivation opens what we seal, and agrees on the header."""
    token = sealed(ring(dialect, name, encryption=encryption), UNICODE)
    opened = node("open_by_jose", dialect=dialect, token=token, secret=SECRET, salt=salt_of(dialect, name))
    assert bare(opened["claims"]) == UNICODE
    header = opened["header"]
    kid = header.pop("kid", None)
    assert header == {"alg": "dir", "enc": encryption}
    assert (kid is None) == (dialect == "nextauth-v4")
    assert opened["right_kid"] == (dialect == "authjs")


@pytest.mark.parametrize(
    ("dialect", "name"), sorted({(case.values[0], case.values[1]) for case in COOKIES}, key=str)
)  # fmt: skip
def test_theirs_is_opened_by_us(node: Node, dialect: Dialect, name: str) -> None:
    """Every claim of a token that the real library seals is opened by us as it went in, whichever encryption we seal with."""
    token = theirs(node, dialect, name, claims=UNICODE).encode()
    for encryption in ("A256GCM", "A256CBC-HS512") if dialect == "authjs" else ("A256GCM",):
        opened = ring(dialect, name, encryption=encryption).open(token, now=now())
        assert opened.newest
        claims = opened.claims()
        assert bare(claims) == UNICODE
        assert claims["exp"] - claims["iat"] == DAY


@pytest.mark.parametrize("kid", [True, False])
@pytest.mark.parametrize(("dialect", "name", "encryption"), COOKIES)
def test_joses_is_opened_by_us(node: Node, dialect: Dialect, name: str, encryption: str, kid: bool) -> None:
    """A token of plain jose, with a kid or without, is opened by us."""
    settings: dict[str, Any] = {"claims": UNICODE, "enc": encryption, "kid": kid, "maxAge": DAY}
    token = node("seal_by_jose", dialect=dialect, secret=SECRET, salt=salt_of(dialect, name), **settings)
    assert bare(ring(dialect, name, OLDER, SECRET).open(token.encode(), now=now()).claims()) == UNICODE


def test_several_secrets_in_v5(node: Node) -> None:
    """C7: while a secret is replaced each side opens what the other sealed with either, and both seal with the first."""
    both = [SECRET, OLDER]
    for secrets, newest in (([SECRET], True), ([OLDER], False), (both, True)):
        token = theirs(node, "authjs", V5, secret=secrets)
        assert ring("authjs", V5, *both).open(token.encode(), now=now()).newest is newest
    for encryption in ("A256GCM", "A256CBC-HS512"):
        for secrets in ([SECRET], [OLDER], both):
            token = sealed(ring("authjs", V5, *secrets, encryption=encryption))
            assert opened_by_them(node, "authjs", V5, token, *both)["sub"] == "1"
        with pytest.raises(RefusedByNode, match="no matching decryption secret"):
            opened_by_them(node, "authjs", V5, sealed(ring("authjs", V5, *both, encryption=encryption)), OLDER)


def test_several_secrets_in_v4(node: Node) -> None:
    """v4 has neither kid nor a list: we try all secrets, and it opens what our first one sealed."""
    both = [SECRET, OLDER]
    for secret, newest in ((SECRET, True), (OLDER, False)):
        token = theirs(node, "nextauth-v4", V4, secret=secret)
        assert ring("nextauth-v4", V4, *both).open(token.encode(), now=now()).newest is newest
    token = sealed(ring("nextauth-v4", V4, *both))
    assert opened_by_them(node, "nextauth-v4", V4, token, SECRET)["sub"] == "1"
    with pytest.raises(RefusedByNode, match="decryption operation failed"):
        opened_by_them(node, "nextauth-v4", V4, token, OLDER)


@pytest.mark.parametrize(("dialect", "name"), DIALECTS)
def test_expired_ones_are_refused_by_both(node: Node, dialect: Dialect, name: str) -> None:
    """Both sides refuse a token 15 seconds after its end, and both still open it before that."""
    keys = ring(dialect, name)
    with pytest.raises(RefusedByNode, match="ERR_JWT_EXPIRED"):
        opened_by_them(node, dialect, name, sealed(keys, expires_in=-16))
    with pytest.raises(ExpiredTokenError):
        keys.open(theirs(node, dialect, name, maxAge=-16).encode(), now=now())
    assert opened_by_them(node, dialect, name, sealed(keys, expires_in=0))["sub"] == "1"
    assert keys.open(theirs(node, dialect, name, maxAge=0).encode(), now=now()).claims()["sub"] == "1"


@pytest.mark.parametrize(("dialect", "name"), DIALECTS)
def test_a_token_of_tomorrow_is_refused_by_both(node: Node, dialect: Dialect, name: str) -> None:
    """A token with an nbf that is still to come is opened by neither side."""
    claims = {"nbf": int(now()) + 3600}
    with pytest.raises(RefusedByNode, match="nbf"):
        opened_by_them(node, dialect, name, sealed(ring(dialect, name), claims))
    with pytest.raises(InvalidTokenError, match="not valid yet"):
        ring(dialect, name).open(theirs(node, dialect, name, claims=claims).encode(), now=now())


FOREIGN = [
    pytest.param("authjs", V5, "authjs", f"__Secure-{V5}", SECRET, id="v5-another-name"),
    pytest.param("authjs", V5, "authjs", V5, OLDER, id="v5-another-secret"),
    pytest.param("nextauth-v4", V4, "nextauth-v4", V4, OLDER, id="v4-another-secret"),
    pytest.param("authjs", V5, "nextauth-v4", V4, SECRET, id="v5-by-v4"),
    pytest.param("nextauth-v4", V4, "authjs", V5, SECRET, id="v4-by-v5"),
    pytest.param("nextauth-v4", V5, "authjs", V5, SECRET, id="v4-by-v5-same-name"),
]


@pytest.mark.parametrize(("dialect", "name", "reader", "read_as", "secret"), FOREIGN)
def test_foreign_ones_are_refused_by_both(
    node: Node, dialect: Dialect, name: str, reader: Dialect, read_as: str, secret: str
) -> None:
    """A token of another secret, another cookie name (v5) or the other dialect is opened by neither side."""
    with pytest.raises(RefusedByNode):
        opened_by_them(node, reader, read_as, sealed(ring(dialect, name)), secret)
    with pytest.raises(InvalidTokenError):
        ring(reader, read_as, secret).open(theirs(node, dialect, name).encode(), now=now())


def changed(place: int) -> Callable[[str], str]:
    def change(token: str) -> str:
        parts = token.split(".")
        at = len(parts[place]) // 2
        parts[place] = parts[place][:at] + ("B" if parts[place][at : at + 1] == "A" else "A") + parts[place][at + 1 :]
        return ".".join(parts)

    return change


DAMAGE = [
    *(pytest.param(changed(place), id=f"part-{place}") for place in range(5)),
    pytest.param(lambda token: token[:-3], id="cut"),
    pytest.param(lambda token: token.rpartition(".")[0], id="no-tag"),
    pytest.param(lambda token: token + ".x", id="six-parts"),
    pytest.param(lambda token: token[::-1], id="reversed"),
]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("dialect", "name"), DIALECTS)
def test_damaged_ones_are_refused_by_both(
    node: Node, dialect: Dialect, name: str, damage: Callable[[str], str]
) -> None:
    """A token with a changed, missing or extra part is opened by neither side."""
    with pytest.raises(RefusedByNode):
        opened_by_them(node, dialect, name, damage(sealed(ring(dialect, name))))
    with pytest.raises(InvalidTokenError):
        ring(dialect, name).open(damage(theirs(node, dialect, name)).encode(), now=now())


def test_an_encryption_beside_the_list_is_refused_by_us(node: Node) -> None:
    """A128CBC-HS256 under the right key is opened by v4, which has no allow-list, and neither by v5 nor by us."""
    settings: dict[str, Any] = {"claims": {"sub": "1"}, "enc": "A128CBC-HS256", "kid": False, "maxAge": DAY}
    token = node("seal_by_jose", dialect="nextauth-v4", secret=SECRET, salt="", **settings)
    assert opened_by_them(node, "nextauth-v4", V4, token)["sub"] == "1"
    with pytest.raises(InvalidTokenError, match="header is refused"):
        ring("nextauth-v4", V4).open(token.encode(), now=now())
    token = node("seal_by_jose", dialect="authjs", secret=SECRET, salt=V5, **settings)
    with pytest.raises(RefusedByNode):
        opened_by_them(node, "authjs", V5, token)
    with pytest.raises(InvalidTokenError, match="header is refused"):
        ring("authjs", V5).open(token.encode(), now=now())
