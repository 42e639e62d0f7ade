"""Token, userinfo and revocation endpoints: the requests as data, and what their answers say. Pure, but for ``asked``."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import quote_plus

from .._log import where
from ..errors import RefreshUnavailableError
from ..types import TokenSet
from ._http import Answer, AnswerError, ProviderHttp, Request
from .oauth2 import OAuth2

# GitHub answers 200 for errors, with words of its own.
_RFC_WORDS: Final[Mapping[str, str]] = {
    "bad_refresh_token": "invalid_grant",
    "bad_verification_code": "invalid_grant",
    "incorrect_client_credentials": "invalid_client",
    "redirect_uri_mismatch": "invalid_grant",
}


def refresh_request(provider: OAuth2, refresh_token: str) -> Request:
    """A refresh (RFC 6749, 6). Never with ``scope``: some servers narrow it for good, and drop the refresh token."""
    return _to_token_endpoint(provider, {"grant_type": "refresh_token", "refresh_token": refresh_token})


def code_request(provider: OAuth2, *, code: str, redirect_uri: str, verifier: str) -> Request:
    """The exchange of a code (RFC 6749, 4.1.3; RFC 7636, 4.5)."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    return _to_token_endpoint(provider, form)


def revocation_request(provider: OAuth2, refresh_token: str) -> Request | None:
    """The revocation of a refresh token (RFC 7009, 2.1); None where there is no endpoint for it."""
    if provider.revocation_endpoint is None:
        return None
    form = {"token": refresh_token, "token_type_hint": "refresh_token"}
    return _authenticated(provider, provider.revocation_endpoint, form)


def userinfo_request(endpoint: str, access_token: str) -> Request:
    """Who the access token belongs to (OpenID Connect Core, 5.3.1, and the like elsewhere)."""
    return Request(method="GET", url=endpoint, headers={"authorization": f"Bearer {access_token}"})


async def asked(http: ProviderHttp, request: Request) -> dict[str, Any]:
    """The JSON object that an endpoint answers with success. AnswerError, RefreshUnavailableError, the client's errors."""
    return document_of(await http.ask(request))


def document_of(answer: Answer) -> dict[str, Any]:
    """The JSON object in a good answer.

    AnswerError for another status than 2xx, and for an ``error`` in a 200 (GitHub, Slack); RefreshUnavailableError for
    what is no JSON object: some proxy's page.
    """
    must_be_success(answer)
    try:
        document: object = json.loads(answer.content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise RefreshUnavailableError("The provider answered no JSON object.")
    fields = cast("dict[str, Any]", document)
    error = fields.get("error")
    if isinstance(error, str) and error:
        body = json.dumps({"error": _RFC_WORDS.get(error, error)}).encode()
        raise AnswerError(Answer(400, answer.headers, body))
    return fields


def must_be_success(answer: Answer) -> None:
    """AnswerError for another status than 2xx: a redirect is none either."""
    if not 200 <= answer.status_code < 300:
        raise AnswerError(answer)


def told(error: Exception) -> str:
    """What a log line says of a failure: our own sentences, and of other people's errors type and place."""
    return str(error) if isinstance(error, AnswerError | RefreshUnavailableError) else where(error)


def token_set_of(document: Mapping[str, Any], *, now: float) -> TokenSet:
    """The token set in an answer that was received at ``now``. RefreshUnavailableError where there is none."""
    try:
        return TokenSet.from_response(document, now=now)
    except ValueError as error:
        raise RefreshUnavailableError("The token endpoint answered no token set as in RFC 6749, 5.1.") from error


def _to_token_endpoint(provider: OAuth2, form: Mapping[str, str]) -> Request:
    return _authenticated(provider, provider.token_endpoint, form)


def _authenticated(provider: OAuth2, url: str, form: Mapping[str, str]) -> Request:
    """Client authentication as the provider wants it (RFC 6749, 2.3.1)."""
    secret = provider.client_secret or ""
    if provider.auth_method == "client_secret_basic":
        # Both parts form-encoded first: a colon in them, or a percent sign, is refused or misread otherwise.
        pair = f"{quote_plus(provider.client_id)}:{quote_plus(secret)}"
        headers = {"authorization": f"Basic {b64encode(pair.encode('ascii')).decode('ascii')}"}
        return Request(method="POST", url=url, headers=headers, form=form)
    form = {**form, "client_id": provider.client_id}
    if provider.auth_method == "client_secret_post":
        form["client_secret"] = secret
    return Request(method="POST", url=url, headers={}, form=form)
