"""A strict OpenID provider in process: the token server with discovery, keys and ID tokens, and what an attacker makes of them."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from asgi_token_rotation.providers import OIDC
from asgi_token_rotation.providers.oidc.id_token import half_hash
from asgi_token_rotation.testing import Clock, TokenServer
from asgi_token_rotation.types import Receive, Scope, Send
from endpoints.browser import browsing
from endpoints.idp import Visitor

ISSUER = "https://op.test/tenant"
API = "https://api.test"
SECRET = "a:secret/with 100%"
Claims = dict[str, Any]


@functools.cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same key for the same number: making one takes long."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@functools.cache
def other_key(algorithm: str) -> Any:
    """A key for ES256 or EdDSA."""
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def jwk_of(key: Any, **more: Any) -> dict[str, Any]:
    """Its public half."""
    public = key.public_key()
    kinds = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "Ed": OKPAlgorithm}
    kind = next(
        kind for start, kind in kinds.items() if type(key).__name__.startswith(start) or start in str(type(key))
    )
    made: dict[str, Any] = json.loads(kind.to_jwk(public))
    return {**{name: value for name, value in made.items() if name != "key_ops"}, **more}


class OpenIdServer:
    """An ASGI application at ``https://op.test``. Switches are attributes; ``calls`` counts by the path's last part."""

    def __init__(self, clock: Clock, **options: Any) -> None:
        self.clock = clock
        self.tokens = TokenServer(clock=clock, clients={"app": SECRET, "public": None}, **{"issuer": ISSUER, **options})
        self.calls = Counter[str]()
        self.document: dict[str, Any] = {}  # laid over the discovery document; None takes a name out
        self.claims: dict[str, Any] = {}  # laid over an ID token's; None takes a claim out
        self.at_refresh: dict[str, Any] | None = {"nonce": None}  # the same at a refresh; None: no ID token then
        self.algorithm, self.key = "RS256", rsa_key()
        self.kid: str | None = "key-0"
        self.keys: list[dict[str, Any]] = [jwk_of(self.key, kid="key-0", use="sig", alg="RS256")]
        self.make: Callable[[Claims], str] | None = None  # an ID token in place of the right one
        self.access: dict[str, Any] | None = None  # laid over a JWT access token's claims; None: it is opaque
        self.make_access: Callable[[Claims], str] | None = None  # an access token in place of the right one
        self.hangs = self.too_long = self.down = ""  # the last part of a path
        self.subject: str | None = None  # the userinfo endpoint's
        self._nonces: dict[str, str] = {}
        self._grant: Claims = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        name = scope["path"].rpartition("/")[2]
        self.calls[name] += 1
        await asyncio.sleep(0.005)  # so that others come while this one waits
        if name == self.hangs:
            await asyncio.Event().wait()
        body = b""
        while scope["method"] == "POST":
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, headers, content = await self._answer(name, scope, body)
        if name == self.too_long:
            content = b'{"padding":"' + b"x" * 100_000 + b'"}'
        await send({"type": "http.response.start", "status": 503 if name == self.down else status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def rotate(self) -> None:
        """A new key signs from now on; the old one is no longer published."""
        number = int((self.kid or "").rpartition("-")[2]) + 1
        self.kid, self.key = f"key-{number}", rsa_key(number)
        self.keys = [jwk_of(self.key, kid=self.kid, use="sig", alg="RS256")]

    def sign(self, claims: Claims, **header: Any) -> str:
        """As this provider does."""
        return jwt.encode(
            claims, self.key, algorithm=self.algorithm, headers={**({"kid": self.kid} if self.kid else {}), **header}
        )

    async def _answer(self, name: str, scope: Scope, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        if name == "openid-configuration":
            return 200, [], json.dumps(_laid({**discovery_document()}, self.document)).encode()
        if name == "jwks":
            return 200, [], json.dumps({"keys": self.keys}).encode()
        async with self.tokens.client() as client:
            headers = {key.decode(): value.decode() for key, value in scope["headers"] if key != b"host"}
            url = f"{scope['path']}?{scope['query_string'].decode()}"
            response = await client.request(scope["method"], url, content=body, headers=headers)
        content = self._amended(name, scope, body, response)
        kept = [(key, value) for key, value in response.headers.raw if key.lower() != b"content-length"]
        return response.status_code, kept, content

    def _amended(self, name: str, scope: Scope, body: bytes, response: httpx.Response) -> bytes:
        if name == "authorize" and response.is_redirect:
            asked = parse_qs(scope["query_string"].decode())
            code = parse_qs(urlsplit(response.headers["location"]).query).get("code", [""])[0]
            self._nonces[code] = asked.get("nonce", [""])[0]
        if name == "userinfo" and self.subject is not None:
            return json.dumps({**response.json(), "sub": self.subject}).encode()
        if name != "token" or response.status_code != 200:
            return response.content
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        answer = response.json()
        if self.access is not None:
            answer["access_token"] = self._access_token(self.access)
        token = self._id_token(form, answer["access_token"])
        return json.dumps(answer if token is None else {**answer, "id_token": token}).encode()

    def _access_token(self, changes: Claims) -> str:
        now = int(self.clock())
        right = {
            "iss": ISSUER, "aud": API, "sub": "ada", "client_id": "app", "iat": now, "exp": now + 300,
            "jti": str(self.calls["token"]),
        }  # fmt: skip
        claims = _laid(right, changes)
        return self.sign(claims, typ="at+jwt") if self.make_access is None else self.make_access(claims)

    def _id_token(self, form: Mapping[str, str], access_token: str) -> str | None:
        now, changes = int(self.clock()), self.claims
        if form["grant_type"] == "authorization_code":
            self._grant = {"nonce": self._nonces.pop(form["code"])}
        elif self.at_refresh is None:
            return None
        else:
            changes = self.at_refresh
        claims = _laid(
            {
                "iss": ISSUER, "aud": "app", "sub": "ada", "iat": now, "exp": now + 300, "name": "Ada",
                "at_hash": half_hash(access_token, self.algorithm), **self._grant,
            },
            changes,
        )  # fmt: skip
        return self.make(claims) if self.make is not None else self.sign(claims)


def discovery_document() -> dict[str, Any]:
    """What the provider says of itself."""
    at = "https://op.test/oauth"
    return {
        "issuer": ISSUER,
        "authorization_endpoint": f"{at}/authorize",
        "token_endpoint": f"{at}/token",
        "userinfo_endpoint": f"{at}/userinfo",
        "revocation_endpoint": f"{at}/revoke",
        "end_session_endpoint": f"{at}/end",
        "jwks_uri": "https://op.test/tenant/jwks",
        "authorization_response_iss_parameter_supported": True,
    }


def unsigned(claims: Claims, algorithm: str = "none") -> str:
    """A token without a signature (RFC 7519, 6)."""
    return f"{_part({'alg': algorithm})}.{_part(claims)}."


def signed_with_public_key(claims: Claims) -> str:
    """HS256, the public key as the secret: what a verifier believes that lets the token choose (RFC 8725, 2.1)."""
    public = rsa_key().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    message = f"{_part({'alg': 'HS256', 'kid': 'key-0'})}.{_part(claims)}"
    return f"{message}.{_encoded(hmac.new(pem, message.encode(), hashlib.sha256).digest())}"


def provider(**fields: Any) -> OIDC:
    """This provider's data."""
    given = {"id": "idp", "name": "Example", "issuer": ISSUER, "client_id": "app", "client_secret": SECRET}
    return OIDC(**{**given, **fields})


@asynccontextmanager
async def at_provider(
    op: OpenIdServer | None = None, *, fields: Mapping[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[Visitor, OpenIdServer]]:
    """A visitor of an application that has an OpenID provider."""
    op = op or OpenIdServer(Clock())
    transport = httpx.ASGITransport(op)
    async with httpx.AsyncClient(transport=transport, base_url="https://op.test") as client:
        given = {"providers": [provider(**(fields or {}))], "clock": op.clock, "http_client": client, **options}
        async with browsing(**given) as browser:
            yield Visitor(browser.client, client), op


def _laid(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**below, **above}.items() if value is not None}


def _part(value: Any) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
