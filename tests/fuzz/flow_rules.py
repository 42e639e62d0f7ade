"""What holds for sign-ins at a provider, refreshes and logouts. Judged by what is sent, as ``rules.py`` does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from asgi_token_rotation.types import Message
from fuzz.flows import Flow
from fuzz.openid import AUTHORIZE, CLIENT, CLIENT_SECRETS, END, Said
from fuzz.rules import need
from fuzz.worlds import World

Outcome = Literal["kept", "refused", "either", "not refused"]  # of a refresh; the last: kept, or to be tried again

MOST_ASKED = 7  # requests to a provider for one of a client: discovery, keys twice, code, userinfo, a revocation
_STATE = re.compile(rb"[0-9a-f]{16}\.[A-Za-z0-9_-]{43}")
_REFUSED = ("RefreshAccessTokenError",)


def lines_of(sent: list[Message]) -> list[bytes]:
    """The cookies that an answer sets."""
    return [value for message in sent[:1] for name, value in message["headers"] if name == b"set-cookie"]


def leads_to(sent: list[Message]) -> str:
    """Where an answer leads, by its header or, for scripts, by its body; "" for nowhere."""
    for name, value in sent[0]["headers"] if sent else ():
        if name == b"location":
            return str(value.decode())
    try:
        document: Any = json.loads(body_of(sent))
    except ValueError:
        return ""
    return str(document.get("url", "")) if isinstance(document, dict) else ""


def body_of(sent: list[Message]) -> bytes:
    """The whole body."""
    return b"".join(message.get("body", b"") for message in sent[1:])


def begins(sent: list[Message], world: World) -> bool:
    """Whether the answer begins a session."""
    written = (line for line in lines_of(sent) if b"; Max-Age=0;" not in line)
    return any(re.match(re.escape(world.place.wire) + rb"(\.[0-9]+)?=", line) for line in written)


def judge_secrets(sent: list[Message], secrets: Iterable[str], *, but: Iterable[str] = ()) -> None:
    """I7: neither body nor place nor cookie has a secret in plain text. ``but``: what this answer is there to bring."""
    said = body_of(sent) + b"\n".join(value for message in sent[:1] for _, value in message["headers"])
    for secret in {*CLIENT_SECRETS, *secrets} - {*but}:
        need(secret.encode() not in said, "I7: no secret of the provider or of the sign-in in an answer")


def judge_arrival(sent: list[Message], flow: Flow, world: World, *, query: bytes) -> None:
    """GET callback: a session begins by what is good in all its parts, and by nothing else. The flow is spent."""
    began = begins(sent, world)
    need(not began or not flow.wrong, f"a session begins only by a callback that is good: {flow.wrong}")
    need(began or flow.wrong or flow.unsure, "a callback that is good begins a session")
    touched = any(line.startswith(world.place.wire) for line in lines_of(sent))
    need(began or not touched, "a failed callback leaves the session that is there alone")
    need(
        "token" not in flow.said.asked or not flow.early,
        f"a code goes on to the provider only if it is meant: {flow.wrong}",
    )
    need(len(flow.said.asked) <= MOST_ASKED, "I10: the provider is asked a bounded number of times")
    state = _last_state(query)
    if state is not None:
        spent = world.state + b"." + state[:16] + b"=;"
        need(
            any(line.startswith(spent) and b"Max-Age=0" in line for line in lines_of(sent)),
            "after a callback the flow is spent",
        )
    judge_secrets(sent, flow.secrets)


def _last_state(query: bytes) -> bytes | None:
    """The state that counts, if it can be one of ours. A query of more than 8 KiB or 100 fields counts as none."""
    fields = query.split(b"&")
    if len(query) > 8192 or len(fields) > 100:
        return None
    pairs = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    state = pairs.get("state", "").encode("utf-8", "replace")
    return state if _STATE.fullmatch(state) else None


def judge_bounce(sent: list[Message], flow: Flow, world: World) -> None:
    """POST callback: nothing is done but to come again by GET, from our own site."""
    need(not lines_of(sent), "a POST callback sets no cookie")
    need(not flow.said.asked, "a POST callback asks no provider")
    judge_secrets(sent, flow.secrets, but=(flow.checks.code, flow.checks.state[17:]))


def judge_begin(
    sent: list[Message], world: World, *, may: bool, must: bool, address: str = AUTHORIZE
) -> dict[str, str] | None:
    """POST signin: on to the authorization endpoint with what RFC 6749, 4.1.1 and RFC 7636, 4.3 want, and nothing else.

    Answers the parameters. ``may`` and ``must``: whether it can lead there, and whether it does.
    """
    url = leads_to(sent)
    judge_secrets(sent, ())
    begun = [line for line in lines_of(sent) if line.startswith(world.state) and b"; Max-Age=0;" not in line]
    if not url.startswith(f"{address}{'&' if '?' in address else '?'}"):
        need(not must, "a sign-in that is allowed leads to the provider")
        need(not begun, "no flow begins where nobody is sent to the provider")
        return None
    need(may, "nobody is sent to the provider without being asked")
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    params = dict(pairs)
    need(len(params) == len(pairs), "no parameter comes twice (RFC 6749, 3.1)")
    fixed = {"client_id": CLIENT, "response_type": "code", "code_challenge_method": "S256"}
    need(fixed.items() <= params.items(), "what the protocol sets is ours")
    need(params.get("redirect_uri", "").startswith(f"{world.address}/api/auth/callback/"), "I12: the way back is ours")
    need(
        set(params.get("scope", "").split()) in ({"openid", "profile", "email"}, {"read", "write"}, set()),
        "scopes are ours",
    )
    need(len(params.get("code_challenge", "")) == 43, "PKCE is always used")
    need(
        not {"client_secret", "code_verifier", "request", "request_uri"} & set(params),
        "nothing is sent that is not asked for",
    )
    state = params.get("state", "").encode()
    need(_STATE.fullmatch(state), "a state of ours is always used")
    need(
        len(begun) == 1 and begun[0].startswith(world.state + b"." + state[:16] + b"=e"),
        "the flow has a cookie of its own",
    )
    need(state[17:] not in b"".join(lines_of(sent)), "I7: the state is sealed in its cookie")
    return params


def judge_refreshed(session: dict[str, Any], said: Said, *, outcome: Outcome, why: str, written: bool) -> None:
    """A refresh ends no session, and it is refused only where the provider refused; what it brought is kept."""
    error = session.get("error")
    need(session.get("user"), "a refresh ends no session")
    need(
        error not in _REFUSED or outcome in ("refused", "either"),
        "a refresh is refused only where the provider refused it",
    )
    need(error in _REFUSED or outcome != "refused", f"what is not good is not taken at a refresh: {why}")
    need(outcome != "kept" or (error is None and written), "what a refresh brought is kept")
    need(len(said.asked) <= MOST_ASKED, "I10: the provider is asked a bounded number of times")
    need(
        said.asked.count("token") <= 2,
        "R4: the provider is asked once, and once more where nobody knows whether it was",
    )


def judge_logout(sent: list[Message], *, verdict: str) -> None:
    """POST backchannel-logout: 200 for a token that is good, else 400 or another refusal (Back-Channel Logout 1.0, 2.8)."""
    status = sent[0]["status"]
    need(verdict != "refused" or 400 <= status < 500, "a bent logout token is refused")
    need(verdict != "good" or status == 200, "a good logout token is taken")
    need(not lines_of(sent), "a logout from behind sets no cookie")
    need(b"no-store" in dict(sent[0]["headers"]).get(b"cache-control", b""), "a logout's answer is not cached")


def judge_sign_out(sent: list[Message], world: World, *, hint: str | None, must: bool) -> None:
    """POST signout: at most to the provider's end_session_endpoint, and from there to us (RP-Initiated Logout 1.0, 2)."""
    url = leads_to(sent)
    judge_secrets(sent, ())
    if not url.startswith(f"{END}?"):
        need(not must, "a sign-out that is allowed goes on to the provider's")
        return
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    params = dict(pairs)
    need(len(params) == len(pairs), "no parameter comes twice")
    back = urlsplit(params.get("post_logout_redirect_uri", ""))
    need(f"{back.scheme}://{back.netloc}" in (world.origins or ()), "I12: the way back from a logout is ours")
    need(
        params.get("client_id") == CLIENT and params.get("id_token_hint", hint) == hint, "the hint is the session's own"
    )
    need(len(url) <= 8000, "I10: an address that front ends take")
