"""The authorization request and what comes back from it (RFC 6749, 4.1; RFC 7636; RFC 9207): pure."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import quote, urlencode

from ..errors import SignInError
from .credentials import RESERVED_FIELDS

FLOW_SECONDS: Final = 900  # in which a sign-in must come back (Auth.js contract, 2.1)
MAX_CODE: Final = 4096  # characters; some providers' codes are JWTs
MAX_EXTRA: Final = 20  # parameters that a sign-in form may add

# What the protocol itself sets, or what would change who answers whom: never from a form's query.
RESERVED_PARAMS: Final = frozenset(
    {
        "client_id", "client_secret", "client_assertion", "client_assertion_type", "code", "code_challenge",
        "code_challenge_method", "code_verifier", "dpop_jkt", "grant_type", "id_token", "iss", "nonce", "redirect_uri",
        "registration", "request", "request_uri", "response_mode", "response_type", "state",
    }
)  # fmt: skip
SCOPE_PARAMS: Final = frozenset({"scope", "authorization_details"})  # what the application may do for the user

_FLOW = re.compile(r"[0-9a-f]{16}")
_STATE = re.compile(r"([0-9a-f]{16})\.[A-Za-z0-9_-]{43}")
_PARAM = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_VALUE = re.compile(r"[^\x00-\x1f\x7f]{0,512}")
_ERROR_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class AuthorizationServer(Protocol):
    """What is to be known of a provider to send somebody there, and to judge who comes back."""

    @property
    def id(self) -> str:
        """The provider's id."""
        ...

    @property
    def client_id(self) -> str:
        """Who we are there."""
        ...

    @property
    def authorization_endpoint(self) -> str:
        """Where users are sent; it may have a query of its own (RFC 6749, 3.1)."""
        ...

    @property
    def scopes(self) -> Sequence[str]:
        """What is asked for."""
        ...

    @property
    def issuer(self) -> str | None:
        """Its issuer identifier, compared exactly (RFC 9207, 2.4)."""
        ...

    @property
    def authorization_params(self) -> Mapping[str, str]:
        """Parameters that the application always adds."""
        ...

    @property
    def query_may_set_scope(self) -> bool:
        """Whether a form's query may ask for another scope."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What one sign-in must find again when it comes back. Sealed into a cookie of its own; no repr shows it."""

    provider: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)
    callback_url: str = field(repr=False)  # where this flow's visitor goes in the end
    began: float  # seconds since the epoch
    nonce: str | None = field(default=None, repr=False)  # for OpenID Connect


def new_checks(provider: str, *, callback_url: str, now: float, nonce: bool = False) -> Checks:
    """The checks of a new flow. The state begins with the flow's name: the time, so that names sort by age."""
    flow = f"{min(max(int(now), 0), 0xFFFFFFFF):08x}{secrets.token_hex(4)}"
    return Checks(
        provider=provider,
        state=f"{flow}.{secrets.token_urlsafe(32)}",
        verifier=secrets.token_urlsafe(48),
        callback_url=callback_url,
        began=now,
        nonce=secrets.token_urlsafe(32) if nonce else None,
    )


def flow_of(state: str | None) -> str | None:
    """The name of the flow that a state belongs to, or None for what is no state of ours."""
    found = _STATE.fullmatch(state or "")
    return None if found is None else found.group(1)


def is_flow(name: str) -> bool:
    """Whether a text can be a flow's name."""
    return _FLOW.fullmatch(name) is not None


def authorization_url(
    server: AuthorizationServer, checks: Checks, *, redirect_uri: str, extra: Mapping[str, str]
) -> str:
    """Where the visitor is sent. ``extra`` is a form's query: it may add, and never replace what the protocol sets.

    It wins over ``authorization_params``, as in NextAuth, but for ``scope``, unless the provider's option allows it.
    """
    params: dict[str, str] = dict(server.authorization_params)
    if server.scopes:
        params["scope"] = " ".join(server.scopes)
    params |= allowed_extra(extra, scope=server.query_may_set_scope)
    params |= {
        "response_type": "code",
        "client_id": server.client_id,
        "redirect_uri": redirect_uri,
        "state": checks.state,
        "code_challenge": s256(checks.verifier),
        "code_challenge_method": "S256",
    }
    if checks.nonce is not None:
        params["nonce"] = checks.nonce
    endpoint = server.authorization_endpoint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(params, quote_via=quote, safe='')}"


def allowed_extra(extra: Mapping[str, str], *, scope: bool) -> dict[str, str]:
    """Those of a form's query parameters that go on to the provider: well-formed, few, and not ours to set."""
    kept = RESERVED_PARAMS | RESERVED_FIELDS | (frozenset[str]() if scope else SCOPE_PARAMS)
    good = [
        (name, value)
        for name, value in extra.items()
        if name not in kept and _PARAM.fullmatch(name) and _VALUE.fullmatch(value)
    ]
    return dict(good[:MAX_EXTRA])


def s256(verifier: str) -> str:
    """The code challenge of a verifier (RFC 7636, 4.2)."""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


def code_of(server: AuthorizationServer, answer: Mapping[str, str], checks: Checks | None, *, now: float) -> str:
    """The code of an authorization answer that belongs to this flow.

    SignInError with a code for the log: ``state_missing``, ``state_mismatch``, ``wrong_provider``, ``flow_expired``,
    ``wrong_issuer``, ``provider_error``, ``code_missing``. Of a provider's error only the code is repeated.
    """
    state = answer.get("state", "")
    if checks is None or not state:
        raise SignInError("The answer belongs to no sign-in that this browser began.", code="state_missing")
    if not hmac.compare_digest(state.encode("utf-8", "replace"), checks.state.encode()):
        raise SignInError("The answer's state is not that of its sign-in (RFC 6749, 10.12).", code="state_mismatch")
    if checks.provider != server.id:
        raise SignInError("The sign-in was begun with another provider.", code="wrong_provider")
    if not checks.began - FLOW_SECONDS <= now < checks.began + FLOW_SECONDS:
        raise SignInError(f"The sign-in took longer than {FLOW_SECONDS} seconds.", code="flow_expired")
    told = answer.get("iss")
    if told is not None and server.issuer is not None and told != server.issuer:
        raise SignInError("The answer comes from another issuer (RFC 9207, 2.4).", code="wrong_issuer")
    if "error" in answer:
        told = answer["error"] if _ERROR_CODE.fullmatch(answer["error"]) else "an error without a code"
        raise SignInError(f"The provider answered {told} (RFC 6749, 4.1.2.1).", code="provider_error")
    code = answer.get("code", "")
    if not 0 < len(code) <= MAX_CODE:
        raise SignInError("The answer has no code.", code="code_missing")
    return code
