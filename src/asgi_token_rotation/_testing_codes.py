"""The token server's authorization codes, and who its clients are. No I/O.

As strict as real servers, and stricter: a code is good once, for its client, its redirect URI and its PKCE verifier; one
that comes twice takes the tokens that it gave with it (RFC 6749, 4.1.2; RFC 7636; RFC 9700, 2.1.1).
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus, urlencode

CODE_LIFETIME = 60.0  # seconds


@dataclass(slots=True, repr=False)
class _Code:
    username: str
    asked: Mapping[str, str]
    expires_at: float
    refresh_token: str | None = None  # what it was exchanged for


class AuthorizationCodes:
    """Gives out codes, and takes them back."""

    def __init__(self) -> None:
        self._codes: dict[str, _Code] = {}

    def location(self, username: str, asked: Mapping[str, str], *, issuer: str | None, now: float) -> str | None:
        """Where an authorization request leads: back with a code, as if the user had agreed at once, or with an error.

        None where the request names no redirect URI, so that there is nowhere to lead to.
        """
        redirect_uri = asked.get("redirect_uri", "")
        if "://" not in redirect_uri:
            return None
        told = {"state": asked["state"]} if "state" in asked else {}
        told |= {} if issuer is None else {"iss": issuer}
        error = _fault(asked)
        if error is None:
            code = secrets.token_urlsafe(24)
            self._codes[code] = _Code(username, dict(asked), now + CODE_LIFETIME)
            told = {"code": code, **told}
        else:
            told = {"error": error, **told}
        return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{urlencode(told)}"

    def taken(self, form: Mapping[str, str], *, client: str, now: float) -> tuple[str | None, str | None]:
        """The user that a code stands for, or None; and the refresh token to revoke, since the code came twice."""
        code = self._codes.get(form.get("code", ""))
        if code is None or code.expires_at <= now:
            return None, None
        if code.refresh_token is not None:
            return None, code.refresh_token
        good = (
            client == code.asked["client_id"]
            and form.get("redirect_uri") == code.asked["redirect_uri"]
            and _challenge(form.get("code_verifier", "")) == code.asked["code_challenge"]
        )
        return (code.username, None) if good else (None, None)

    def gave(self, code: str, refresh_token: str) -> None:
        """Note what a code was exchanged for: it is spent."""
        self._codes[code].refresh_token = refresh_token


def client_of(authorization: str, form: Mapping[str, str]) -> tuple[str, str | None]:
    """Who a client says that it is, and its secret (RFC 6749, 2.3.1); both empty where it says so in two ways at once."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret")
    if "client_secret" in form:
        return "", ""
    try:
        name, _, secret = b64decode(credentials, validate=True).decode("utf-8").partition(":")
    except ValueError:
        return "", ""
    return unquote_plus(name), unquote_plus(secret)


def _fault(asked: Mapping[str, str]) -> str | None:
    if asked.get("response_type") != "code":
        return "unsupported_response_type"
    pkce = asked.get("code_challenge_method") == "S256" and len(asked.get("code_challenge", "")) == 43
    return None if pkce and asked.get("client_id") and asked.get("state") else "invalid_request"


def _challenge(verifier: str) -> str:
    if not 43 <= len(verifier) <= 128:  # RFC 7636, 4.1
        return ""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
