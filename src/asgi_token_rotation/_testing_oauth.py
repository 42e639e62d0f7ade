"""What the token server answers as an OAuth server: authorization, token, revocation and userinfo endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._testing_codes import AuthorizationCodes, client_of
from ._testing_families import TokenFamilies
from ._testing_wire import (
    REFUSAL,
    WRONG_CLIENT,
    WRONG_TOKEN,
    Answer,
    Omission,
    authorization,
    bearer_token,
    error,
    form_texts,
    json_answer,
    oauth_answer,
    query_texts,
)
from .types import Scope


class OAuthDesk:
    """Knows clients and codes. ``grants`` and ``revoked`` are what came, for tests to look at."""

    def __init__(
        self,
        families: TokenFamilies,
        *,
        usernames: Sequence[str],
        clients: Mapping[str, str | None] | None,
        issuer: str | None,
    ) -> None:
        self.grants: list[dict[str, str]] = []
        self.revoked: list[str] = []
        self._families = families
        self._usernames = usernames
        self._clients = clients
        self._issuer = issuer
        self._codes = AuthorizationCodes()

    def authorize(self, scope: Scope, *, now: float) -> Answer:
        """GET authorize: back with a code at once, as if the user had agreed."""
        asked = query_texts(scope)
        username = asked.get("login_hint", self._usernames[0])
        location = self._codes.location(username, asked, issuer=self._issuer, now=now)
        if location is None:
            return error(400, "invalid_request", "redirect_uri is missing.")
        return Answer(302, b"", "text/plain", (("location", location),))

    def grant(
        self, scope: Scope, body: bytes, *, now: float, lifetimes: Mapping[str, Any], omission: Omission | None
    ) -> Answer | str:
        """POST token: the answer; or, of a refresh, the refresh token that came."""
        form = form_texts(body)
        client = self._client(scope, form)
        if client is None:
            return WRONG_CLIENT
        self.grants.append(dict(form))
        match form.get("grant_type"):
            case None:
                return error(400, "invalid_request", "grant_type is missing.")
            case "refresh_token":
                return form.get("refresh_token", "")
            case "authorization_code":
                return self._exchanged(form, client, now=now, lifetimes=lifetimes, omission=omission)
            case _:
                return error(400, "unsupported_grant_type", "This server knows refresh_token and authorization_code.")

    def revoke(self, scope: Scope, body: bytes) -> Answer:
        """POST revoke: the whole family of the token (RFC 7009, 2.1); 200 for an unknown one, too (2.2)."""
        form = form_texts(body)
        if self._client(scope, form) is None:
            return WRONG_CLIENT
        self.revoked.append(self._families.name_of(form.get("token", "")))
        self._families.revoke(form.get("token", ""))
        return Answer(200, b"")

    def userinfo(self, scope: Scope, *, now: float) -> Answer:
        """GET userinfo: the owner of the access token."""
        username = self._families.owner(bearer_token(scope), now=now)
        if username is None:
            return WRONG_TOKEN
        profile = profile_of(username)
        return json_answer(200, {"sub": profile.pop("id"), **profile})

    def _exchanged(
        self,
        form: Mapping[str, str],
        client: str,
        *,
        now: float,
        lifetimes: Mapping[str, Any],
        omission: Omission | None,
    ) -> Answer:
        username, reused = self._codes.taken(form, client=client, now=now)
        if reused is not None:
            self._families.revoke(reused)
        if username is None:
            return REFUSAL
        issued = self._families.start(username, now=now, **lifetimes)
        self._codes.gave(form["code"], issued.refresh_token)
        return oauth_answer(issued, omission)

    def _client(self, scope: Scope, form: Mapping[str, str]) -> str | None:
        name, secret = client_of(authorization(scope), form)
        known = self._clients is None or (name in self._clients and self._clients[name] == secret)
        return name if known else None


def profile_of(username: str) -> dict[str, Any]:
    """Who that is."""
    return {"id": username, "name": username.capitalize(), "email": f"{username}@example.com"}
