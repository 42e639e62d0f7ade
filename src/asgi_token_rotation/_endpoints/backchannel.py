"""POST backchannel-logout: a provider ends sessions by itself (OpenID Connect Back-Channel Logout 1.0)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from starlette.responses import Response

from .._log import logger, where
from .._origins import header
from .._rotation.logins import Logins
from ..errors import SignInError, StoreError
from ..providers.oidc.flow import OIDCFlow
from ..providers.oidc.id_token import LEEWAY, claims_in
from ..providers.oidc.logout_token import OLDEST, Logout
from ..types import JWT, Receive, Scope
from .answers import finished, json_answer, refused
from .body import Refusal, fields_of, read_body

REASON: Final = "backchannel"
REMEMBERED: Final = OLDEST + 2 * LEEWAY  # seconds for which a token that came is known again

EndSession = Callable[[JWT, str], Awaitable[None]]


class BackchannelLogout:
    """Knows the login behind each session that begins, and ends those that a provider names. ``flows`` by provider id."""

    def __init__(self, flows: Mapping[str, OIDCFlow], *, logins: Logins, end: EndSession) -> None:
        self._flows = flows
        self._logins = logins
        self._end = end

    async def note(self, provider: str, id_token: str | None, token: JWT) -> None:
        """Note which login a new session belongs to. Where the store does not take that, the sign-in holds (logged)."""
        claims = claims_in(id_token)
        if provider not in self._flows:
            return
        try:
            for name in ("sid", "sub"):
                if isinstance(claims.get(name), str):
                    await self._logins.note((provider, name, claims[name]), token["session_id"])
        except StoreError as error:
            logger.error("A new session could not be noted for back-channel logout: %s", where(error))

    async def take(self, scope: Scope, receive: Receive) -> Response | None:
        """The answer: 200 where the sessions have ended, 400 for a token that is not good, 503 where the store fails.

        None where the client went away. The token alone counts: there is neither cookie nor CSRF token, and no Origin.
        """
        raw = await read_body(scope, receive)
        if raw is None:
            return None
        fields = fields_of(raw, content_type=header(scope, b"content-type")) if isinstance(raw, bytes) else raw
        if isinstance(fields, Refusal):
            return finished(refused(fields), ())
        return finished(await self._answer(fields.get("logout_token")), ())

    async def _answer(self, logout_token: object) -> Response:
        text = logout_token if isinstance(logout_token, str) else ""
        claims = claims_in(text)
        meant = [flow for flow in self._flows.values() if flow.is_meant(claims)]  # several, where ids share a client
        if not meant:
            return _refusal("logout_token_unknown", "No provider of ours is meant.")
        flow = meant[0]
        try:
            return await self._carried_out(await flow.logout(text), [flow.id for flow in meant])
        except SignInError as error:
            return _refusal(error.code, str(error))
        except StoreError as error:
            logger.error("A back-channel logout of the provider %s failed: %s", flow.id, where(error))
            return json_answer({"error": "temporarily_unavailable"}, status=503)

    async def _carried_out(self, logout: Logout, providers: Sequence[str]) -> Response:
        """The token is noted when its work is done: a provider that got no answer comes again with the same one."""
        name = (logout.provider, "jti", logout.jti)
        if await self._logins.used(name):
            return _refusal("logout_token_replayed", "The token came before.")
        for provider in providers:
            for session_id in await self._logins.sessions((provider, *_login(logout))):
                await self._end({"session_id": session_id, "generation": 0, "provider": provider}, REASON)
        await self._logins.use(name, ttl=REMEMBERED)
        return Response(status_code=200)


def _login(logout: Logout) -> tuple[str, str]:
    """One session of the provider where it names it, else all of the user's (Back-Channel Logout 1.0, 2.7)."""
    if logout.sid is not None:
        return "sid", logout.sid
    return "sub", logout.sub or ""


def _refusal(code: str, sentence: str) -> Response:
    logger.warning("A back-channel logout was refused (%s): %s", code, sentence)
    return json_answer({"error": "invalid_request", "error_description": code}, status=400)
