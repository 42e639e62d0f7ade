"""What requests and answers tell of a mistake in the set-up: each is logged once a process, and costs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from ._cookies import chunks
from ._cookies.session_cookie import DEFAULT_NAMES
from ._log import Once
from ._origins import header, parse_origin
from ._parts import Parts
from ._rotation.policy import moment
from ._user_code import settled
from .errors import ConfigurationError
from .types import JWT, Callbacks, Event, RefreshFunction, Scope, SignIn, TokenSet

LOOKS_AT_NAMES = 1000  # anonymous requests whose cookies are searched for one under another name
LOOKS_AT_SEALS = 20  # cookies that did not open, of which it is found out whether they are only over
_KNOWN_NAMES = [prefix + name for name in DEFAULT_NAMES.values() for prefix in ("", "__Secure-", "__Host-")]


def check_sign_in(sign_in: SignIn) -> None:
    """Refuse a sign-in whose user is no mapping, or whose tokens are no TokenSet. Raises ConfigurationError."""
    user, tokens = (getattr(sign_in, name, None) for name in ("user", "tokens"))
    if not isinstance(user, Mapping):
        raise ConfigurationError(
            f'The user of a sign-in is a {type(user).__name__}: expected a mapping, such as {{"id": …, "name": …, "email": …}}.'
        )
    if tokens is not None and not isinstance(tokens, TokenSet):
        raise ConfigurationError(
            f"The tokens of a sign-in are a {type(tokens).__name__}: expected a TokenSet, or None. Use"
            " TokenSet(access_token=…, …), or TokenSet.from_response(answer, now=time.time())."
        )


def look_at_anonymous(parts: Parts, scope: Scope, *, names: Collection[bytes]) -> None:
    """Why a request may have no session although its sender believes in one. ``names``: its cookies that are ours."""
    once = parts.once
    if names:
        if once.first("unreadable", LOOKS_AT_SEALS):
            cookie = parts.cookie(scope)
            opened, _ = cookie.read(chunks.crumbs(scope["headers"]), now=0.0)  # by a clock at which nothing has expired
            if opened is None:
                once.warn("unreadable", _UNREADABLE)
    elif once.first("other name", LOOKS_AT_NAMES):
        _look_for_other_names(parts, scope)


def foreign_socket(parts: Parts, scope: Scope) -> bool:
    """Whether a WebSocket comes from a page that is neither ours nor trusted: then it gets no session."""
    origin = header(scope, b"origin")
    if origin is None or parts.origins.accepts(origin, scope):
        return False
    parts.once.warn("foreign socket", f"A WebSocket came from {_shown(origin)}: {_FOREIGN_SOCKET}")
    return True


def look_at_mark(parts: Parts, token: JWT) -> None:
    """Whether another process rotated the session, whose store this one does not see."""
    if parts.mark is not None and token.get("rotated_by", parts.mark) != parts.mark:
        parts.once.warn("other process", _OTHER_PROCESS)


def _look_for_other_names(parts: Parts, scope: Scope) -> None:
    cookie = parts.cookie(scope)
    for name in (parts.secure_cookie.name, parts.plain_cookie.name, *_KNOWN_NAMES):
        if name != cookie.name and chunks.find(scope["headers"], name.encode()).names:
            sentence = f"A request carried the cookie {name!r}, but the session is read from {cookie.name!r} only: "
            parts.once.warn("other name", sentence + _OTHER_NAME)
            return


def look_at_address(parts: Parts, scope: Scope) -> None:
    """Whether somebody signs in at an address from which the cookie won't come back, or where it travels unprotected."""
    secure = parts.origins.secure(scope)
    cookie = parts.secure_cookie if secure else parts.plain_cookie
    for_tls = b"; Secure" in cookie.clear([b"name"])[0]
    origin, host = parse_origin(header(scope, b"origin") or ""), header(scope, b"host") or ""
    own = origin is not None and origin.partition("://")[2] == host.lower()
    tls = (header(scope, b"x-forwarded-proto") or "").lower() == "https" or (own and str(origin).startswith("https:"))
    if for_tls and own and str(origin).startswith("http:"):
        parts.once.warn("secure over http", f"Somebody signed in at {origin}, {_SECURE_OVER_HTTP}")
    elif tls and not for_tls and not secure:
        parts.once.warn("plain over https", _PLAIN_OVER_HTTPS)


def look_at_endpoint(parts: Parts, scope: Scope) -> None:
    """Whether a request to an endpoint comes before CORS could answer."""
    if scope["method"] == "OPTIONS" and header(scope, b"access-control-request-method") is not None:
        parts.once.warn("preflight", _PREFLIGHT)


def look_at_foreign_post(once: Once, scope: Scope) -> None:
    """A POST to an endpoint was refused for its origin: whether that may be a front end that is not known."""
    origin = header(scope, b"origin")
    if origin is not None:
        once.warn("foreign origin", f"A POST to an endpoint came from {_shown(origin)}: {_FOREIGN_ORIGIN}")


def watched_events(
    emit: Callable[[Event], None], *, refresh_for: Callable[[JWT], RefreshFunction | None], clock: Callable[[], float]
) -> Callable[[Event], None]:
    """``emit``, and a look at the token set that a sign-in or a refresh has just brought."""
    once = Once()

    def watched(event: Event) -> None:
        if event.name in ("sign_in", "refreshed") and event.token.get("access_token"):
            _look_at_token_set(once, event.token, refreshes=refresh_for(event.token) is not None, now=clock())
        emit(event)

    return watched


def _look_at_token_set(once: Once, token: JWT, *, refreshes: bool, now: float) -> None:
    expires, has_refresh_token = moment(token, "expires_at"), bool(token.get("refresh_token"))
    if expires is not None and expires <= now:
        once.warn(
            "born expired", f"An access token had expired {now - expires:.0f} seconds before it came: {_BORN_EXPIRED}"
        )
    if has_refresh_token and not refreshes:
        once.warn("no refresh", _NO_REFRESH)
    elif refreshes and not has_refresh_token:
        if expires is not None:
            once.warn("no refresh token", _NOTHING_TO_REFRESH_WITH)
    elif refreshes and expires is None:
        once.warn("no expiry", _NO_EXPIRY)


def watched_answers(callbacks: Callbacks) -> Callbacks:
    """The callbacks, with a look at what ``sign_in`` and ``redirect`` answer: a forgotten ``return`` refuses everybody."""
    once = Once()

    def watched(name: str, callback: Callable[[Any], Any] | None, expected: str, kinds: Any) -> Any:
        if callback is None:
            return None

        async def asked(params: Any) -> Any:
            answer = await settled(callback(params))
            if not isinstance(answer, kinds):
                kind = "None" if answer is None else f"a {type(answer).__name__}"
                once.warn(name, f"The {name} callback answered {kind}: expected {expected}. Return it in every case.")
            return answer

        return asked

    return replace(
        callbacks,
        sign_in=watched(
            "sign_in", callbacks.sign_in, "True, False or a URL; anything else counts as False", bool | str
        ),
        redirect=watched("redirect", callbacks.redirect, "a URL; anything else leads to the start page", str),
    )


def warn_of_a_missing_return(parts: Parts) -> None:
    """The ``jwt`` callback answered None at a sign-in."""
    parts.once.warn("no token", _ENDED_AT_ONCE)


def warn_of_own_rotation(parts: Parts) -> None:
    """The ``jwt`` callback changed the token set."""
    parts.once.warn("own rotation", _OWN_ROTATION)


def look_at_nested(parts: Parts) -> None:
    """A second runtime found a visit of another one around itself."""
    parts.once.warn("nested", _NESTED)


def _shown(origin: str) -> str:
    """An Origin header in words. It is the client's text, so only a well-formed one is repeated, and not for ever."""
    parsed = parse_origin(origin)
    return "a page without an origin" if parsed is None else f"the origin {parsed[:100]!r}"


_FOREIGN_SOCKET = (
    "that is neither public_url's nor trusted, so it stays anonymous. If it is your front end, add it to"
    " trusted_origins."
)
_FOREIGN_ORIGIN = (
    "that is neither public_url's nor trusted, so it was refused with 403. If people open this application there, make"
    " public_url say so (localhost and 127.0.0.1 are two addresses, and so are http and https). If it is another front"
    " end of yours, add it to trusted_origins."
)
_UNREADABLE = (
    "A session cookie came that does not open: it was sealed by another secret, by another application on this host, or it"
    " is damaged. Whoever sends such a one is anonymous. If secret= was changed, keep the old one: secret=[new, old]."
)
_OTHER_NAME = (
    "whoever has that one is anonymous. The name follows from http or https (public_url), CookieOptions and dialect. If it"
    ' was meant to change, a new sign-in mends it; accept_dialects=["nextauth-v4"] reads the cookies of NextAuth v4.'
)
_SECURE_OVER_HTTP = (
    "without TLS, but the session cookie is Secure: most browsers drop such a cookie without a word. Open the https"
    " address, or make public_url say http, or leave it out, for work on this machine; drop CookieOptions.secure."
)
_PLAIN_OVER_HTTPS = (
    "Somebody signed in over https, but the server says http, and there is no public_url: the cookie is not Secure. Set"
    ' public_url="https://…" to the address that browsers use, or let the server trust the proxy\'s headers.'
)
_PREFLIGHT = (
    "A browser asked an endpoint for CORS, and TokenRotationMiddleware answered, which knows none: put CORSMiddleware"
    " outside of it. With add_middleware the last one added is the outermost."
)
_BORN_EXPIRED = (
    "expires_at is the time of expiry, in seconds since the epoch. It is no duration (expires_in), no local time"
    " (datetime.utcnow().timestamp() is one; use datetime.now(timezone.utc)), and the clocks of both sides must agree."
)
_NO_REFRESH = (
    "Somebody signed in with a refresh token that nobody will use: neither the provider nor TokenRotation has a refresh"
    " function, so the session fails when its access token expires. Give Credentials(refresh=…), or name the provider in"
    " sign_in(…, provider=…)."
)
_NOTHING_TO_REFRESH_WITH = (
    "Somebody signed in without a refresh token, so the session fails when its access token expires: expected"
    " TokenSet(refresh_token=…). Ask the back end for one (many need the scope offline_access), or leave refresh out."
)
_NO_EXPIRY = (
    "An access token came without expires_at, so it is refreshed only once an API has answered 401 to it"
    " (AccessTokenAuth). Give TokenSet(expires_at=…) in seconds since the epoch, or use TokenSet.from_response."
)
_NESTED = (
    "A TokenRotationMiddleware runs inside of another one that has its own TokenRotation, and does nothing: one request has"
    " one session. Remove one of them, or hand the same rotation= to both."
)
_OTHER_PROCESS = (
    "A cookie was rotated by another process (another worker, or this one before a restart), but the store is memory://,"
    ' which each process has for itself: rotations get lost. Use store="sqlite:///path.db" on one host, or'
    ' store="redis://…" on several.'
)
_ENDED_AT_ONCE = (
    "The jwt callback answered None at a sign-in, which ends the session before it began: expected the token. Return"
    " params.token, also where there is nothing to add."
)
_OWN_ROTATION = (
    "The jwt callback changed the token set itself; that was published as a rotation. Give the provider a refresh"
    " function instead: it is called once, however many requests there are."
)
