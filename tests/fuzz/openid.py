"""The provider of the flows: its keys, its documents, and what it answers, rightly or as an input says."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode, urlsafe_b64encode
from binascii import unhexlify
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from asgi_token_rotation.providers import OIDC, OAuth2
from fuzz.answers import Answer
from fuzz.minted import USER

ISSUER, API = "https://op.example/tenant", "https://api.example"
AT = "https://op.example/oauth"
AUTHORIZE, END = f"{AT}/authorize", f"{AT}/end"
CLIENT, CLIENT_SECRET = "app", "the-client-secret-of-the-fuzz-run"
CLIENT_SECRETS = (CLIENT_SECRET, b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode())  # as Basic sends it, too
PLACES = {
    f"{ISSUER}/.well-known/openid-configuration": "discovery",
    f"{AT}/jwks": "jwks",
    f"{AT}/token": "token",
    f"{AT}/userinfo": "userinfo",
    f"{AT}/revoke": "revoke",
}
DISCOVERY: Mapping[str, Any] = {
    "issuer": ISSUER, "authorization_endpoint": AUTHORIZE, "token_endpoint": f"{AT}/token",
    "userinfo_endpoint": f"{AT}/userinfo", "revocation_endpoint": f"{AT}/revoke", "end_session_endpoint": END,
    "jwks_uri": f"{AT}/jwks", "authorization_response_iss_parameter_supported": True,
}  # fmt: skip

# Made from numbers, so that a signature is the same in every run; RSA's can't be, and needs no randomness to sign.
EC_KEY = ec.derive_private_key(int.from_bytes(hashlib.sha256(b"the provider's key").digest()), ec.SECP256R1())
FOREIGN_KEY = ec.derive_private_key(int.from_bytes(hashlib.sha256(b"somebody's key").digest()), ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"the provider's other key").digest())
_ECDSA = ec.ECDSA(SHA256(), deterministic_signing=True)

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """A third key, for RS256."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def jwks() -> tuple[dict[str, Any], ...]:
    """The public halves (RFC 7517, RFC 7518, 6, RFC 8037, 2)."""
    point, public = EC_KEY.public_key().public_numbers(), rsa_key().public_key().public_numbers()
    return (
        {
            "kty": "EC",
            "kid": "ec",
            "use": "sig",
            "alg": "ES256",
            "crv": "P-256",
            "x": _int(point.x),
            "y": _int(point.y),
        },
        {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": part(ED_KEY.public_key().public_bytes_raw())},
        {"kty": "RSA", "kid": "rsa", "use": "sig", "n": _int(public.n, 256), "e": "AQAB"},
    )


def part(value: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _int(value: int, size: int = 32) -> str:
    return part(value.to_bytes(size))


def jwt(header: Any, claims: Any, key: Key | None = EC_KEY) -> str:
    """A compact JWS (RFC 7515, 7.1). The key decides how it is signed, whatever the header says; None: not at all."""
    texts = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in (header, claims)]
    message = ".".join(map(part, texts))
    return f"{message}.{'' if key is None else part(signature(message.encode(), key))}"


def signature(message: bytes, key: Key) -> bytes:
    """The signature in JWS's form (RFC 7518, 3.3 and 3.4; RFC 8037, 3.1)."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return b"".join(number.to_bytes(32) for number in decode_dss_signature(key.sign(message, _ECDSA)))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    return key.sign(message, padding.PKCS1v15(), SHA256())


def s256(verifier: str) -> str:
    """RFC 7636, 4.2."""
    return part(hashlib.sha256(verifier.encode()).digest())


@dataclass(frozen=True, slots=True)
class Grant:
    """What a code stands for."""

    challenge: str
    redirect_uri: str
    document: Callable[[], Mapping[str, Any]]  # made where it is asked for, since to sign takes time


@dataclass(slots=True)
class Said:
    """What is to be answered: an input's own answers by endpoint, and the right ones for everything else."""

    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    grants: dict[str, Grant] = field(default_factory=dict[str, Grant])  # by code, each good for one exchange
    refreshed: Mapping[str, Any] | None = None  # what a refresh brings; None: it is refused
    userinfo: Mapping[str, Any] | None = None
    asked: list[str] = field(default_factory=list[str])  # the endpoints that were asked, in order
    spoken: list[str] = field(default_factory=list[str])  # of verifiers, for the rules about secrets
    bytes: int = 0  # that were answered


class FuzzedProvider:
    """The transport of a world's HTTP client."""

    def __init__(self) -> None:
        self.said = Said()

    def answer(self, request: httpx.Request) -> httpx.Response:
        """By the endpoint."""
        said, name = self.said, PLACES.get(str(request.url), "elsewhere")
        said.asked.append(name)
        right = self._right(name, request)
        given = said.answers.get(name, right)
        said.bytes += len(given.body)
        return given.response(request)

    def _right(self, name: str, request: httpx.Request) -> Answer:
        if name == "token":
            document = self._exchanged(_form(request.content))
            return answered({"error": "invalid_grant"}, status=400) if document is None else answered(document)
        if name in ("discovery", "jwks"):
            return answered(DISCOVERY if name == "discovery" else {"keys": jwks()})
        if name == "userinfo" and self.said.userinfo is not None:
            return answered(self.said.userinfo)
        return answered({}, status=200 if name == "revoke" else 404)

    def _exchanged(self, form: dict[str, str]) -> Mapping[str, Any] | None:
        """The token set for a refresh token or a code; a code is good once, with its verifier (RFC 7636, 4.6)."""
        said, verifier = self.said, form.get("code_verifier", "")
        if form.get("grant_type") == "refresh_token":
            return said.refreshed
        said.spoken.append(verifier)
        grant = said.grants.pop(form.get("code", ""), None)
        if grant is None or (s256(verifier), form.get("redirect_uri")) != (grant.challenge, grant.redirect_uri):
            return None
        return grant.document()


def answered(document: Any, *, status: int = 200) -> Answer:
    """An answer with that document."""
    return Answer(status, [(b"content-type", b"application/json")], json.dumps(document).encode())


def oauth2(provider: str = "op") -> OAuth2:
    """The provider by its endpoints."""
    return OAuth2(
        id=provider, name="Example", client_id=CLIENT, client_secret=CLIENT_SECRET, authorization_endpoint=AUTHORIZE,
        token_endpoint=f"{AT}/token", userinfo_endpoint=f"{AT}/userinfo", revocation_endpoint=f"{AT}/revoke",
        scopes=("read", "write"), issuer=ISSUER,
    )  # fmt: skip


def openid(*, verify_access_token: str | None = None) -> OIDC:
    """The provider by its issuer."""
    return OIDC(
        id="op", name="Example", issuer=ISSUER, client_id=CLIENT, client_secret=CLIENT_SECRET, backchannel_logout=True,
        rp_initiated_logout=True, verify_access_token=verify_access_token,
    )  # fmt: skip


def ada(subject: str) -> dict[str, Any]:
    """What the userinfo endpoint says of Ada (OpenID Connect Core, 5.3.2)."""
    return {"sub": subject, "name": "Ada", "email": USER}


def _form(content: bytes) -> dict[str, str]:
    """A well-formed form. Not by urllib: what that takes before Python 3.12 would count as the package's own memory."""
    pairs = [pair.replace(b"+", b" ").split(b"=", 1) for pair in content.split(b"&")]
    read = [[re.sub(rb"%(..)", lambda escape: unhexlify(escape[1]), text).decode() for text in pair] for pair in pairs]
    return {name: value for name, value in read if value}
