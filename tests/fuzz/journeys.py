"""What a browser, a provider and an attacker do at an application with providers: a request or several, from one input."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from fuzz import answers
from fuzz.answers import Answer
from fuzz.cookies import valid
from fuzz.dice import Dice
from fuzz.flow_rules import (
    Outcome,
    begins,
    body_of,
    judge_arrival,
    judge_begin,
    judge_bounce,
    judge_logout,
    judge_refreshed,
    judge_secrets,
    judge_sign_out,
    leads_to,
)
from fuzz.flows import BROUGHT, Checks, Flow, access_claims, document_of, id_claims, id_token_of, right, sid_of
from fuzz.minted import NOW, TOKEN_LIFE
from fuzz.openid import AUTHORIZE, CLIENT, END, ISSUER, Said, jwt
from fuzz.requests import CODES, CONTENT_TYPES, MARK, ORIGINS, TARGETS, asked
from fuzz.rules import need
from fuzz.said import SAID, discovery, keys
from fuzz.signed import EVENT, Token, token
from fuzz.visitor import FORM, Ask, Visitor
from fuzz.worlds import World

Worlds = Sequence[World]

OFF = (
    40  # of a hundred flows have something wrong with what the browser brings, and so many with what the provider says
)


async def come_back(dice: Dice, worlds: Worlds, ask: Ask) -> Flow:
    """GET callback, with a session in place or none; and once more with what an attacker kept of it."""
    world = dice.pick(worlds)
    made = _flow(dice, world)
    visitor = _at(dice, world, ask, made)
    path, query, kept = f"/api/auth/callback/{made.provider}", made.query, dict(visitor.cookies)
    sent = await visitor.get(path, query, dice=dice)
    judge_arrival(sent, made, visitor.world, query=query)
    if begins(sent, visitor.world):
        await visitor.session(who="either" if made.unsure else "ada")
    elif any(name.startswith(visitor.world.place.wire) for name in kept):
        await visitor.session(who="ada")
    if dice.chance(30) and "token" not in made.said.answers:
        visitor.cookies = kept
        made.said.asked.clear()
        again = await visitor.get(path, query)
        need(not begins(again, visitor.world), "a code begins one session")
    return made


def _flow(dice: Dice, world: World) -> Flow:
    made, chosen = right(dice, world), dice.number(100)
    if chosen >= 100 - OFF:
        dice.pick(BROUGHT)(made, dice, world)
    elif chosen >= 100 - 2 * OFF:
        dice.pick(SAID)(made, dice, world)
    return made


def _at(dice: Dice, world: World, ask: Ask, made: Flow) -> Visitor:
    """A browser with the flow's cookies, other flows' and maybe a session; the provider knows what to say."""
    if made.anew:
        world = world.anew()
    world.provider.said = made.said
    visitor = Visitor(dice, world, ask)
    for number in range(dice.number(4)):
        visitor.cookies[world.state + b".%016x" % number] = b"eyJhbGciOiJkaXIifQ..x"
    visitor.cookies.update(made.cookies)
    if dice.chance(50):
        visitor.cookies[world.place.wire] = valid(dice, world.place)
    return visitor


async def bounced(dice: Dice, worlds: Worlds, ask: Ask) -> Flow:
    """POST callback, as a form from the provider's page, and then where that leads."""
    world = dice.pick(worlds)
    made = _flow(dice, world)
    visitor = _at(dice, world, ask, made)
    body, kind = urlencode(made.params, errors="replace").encode(), FORM
    if dice.chance(20):
        body, kind = json.dumps(dict(made.params)).encode(), b"application/json"
    if dice.chance(10):
        kind, made.unsure = dice.pick(CONTENT_TYPES), True
    origin = dice.pick((b"https://op.example", b"null", *ORIGINS))
    headers = [(b"content-type", kind), (b"origin", origin)]
    sent = await visitor.post(f"/api/auth/callback/{made.provider}", body, headers=headers, dice=dice)
    judge_bounce(sent, made, visitor.world)
    if made.wrong and {("error", ""), ("iss", "")} & {*made.params}:
        made.wrong, made.early, made.unsure = (
            "",
            False,
            True,
        )  # a parameter without a value counts as left out (RFC 6749, 3.1)
    url = urlsplit(leads_to(sent))
    if url.path.endswith(f"/callback/{made.provider}") and "giant" not in made.wrong:
        query = url.query.encode()
        made.unsure = made.unsure or len(query) > 8000
        judge_arrival(await visitor.get(f"/api/auth/callback/{made.provider}", query), made, visitor.world, query=query)
    return made


async def go_there(dice: Dice, worlds: Worlds, ask: Ask) -> Flow:
    """POST signin, with anything in its query, and maybe the whole way back."""
    world = dice.pick(worlds)
    made, address, told = right(dice, world), AUTHORIZE, True
    if world.openid and dice.chance(15):
        discovery(made.said, dice)
        world, told = world.anew(), False
        address = _authorization_endpoint(made.said)
        world.leads_to["signin"] = (AUTHORIZE, address)
    world.provider.said = made.said
    visitor = Visitor(dice, world, ask)
    _many_flows(visitor, dice)
    if dice.chance(90):
        visitor.takes_csrf()
    fields = {"csrfToken": dice.text(64) if dice.chance(10) else visitor.csrf_token}
    if dice.chance(50):
        fields["callbackUrl"] = dice.pick(TARGETS)
    own = "/".join(world.address.split("/")[:3]).encode()
    origin = dice.pick(ORIGINS) if dice.chance(15) else own
    provider = dice.pick(("op", "op", "op", "op", "other", "credentials", "nobody"))
    allowed = fields["csrfToken"] == visitor.csrf_token and world.csrf in visitor.cookies
    headers = [(b"content-type", FORM), (b"origin", origin)]
    body = urlencode(fields, errors="replace").encode()
    sent = await visitor.post(
        f"/api/auth/signin/{provider}", body, query=_extras(dice), headers=headers, dice=dice
    )  # fmt: skip
    known = provider in ("op", "other")
    must = allowed and known and origin == own and told and len(fields.get("callbackUrl", "")) < 600
    params = judge_begin(
        sent, world, may=allowed and known, must=must, address=address if provider == "op" else AUTHORIZE
    )
    if params is not None and provider == "op" and told:
        need(("nonce" in params) == world.openid, "OpenID Connect has a nonce")
        await _whole_way(visitor, params, dice)
    return made


async def _whole_way(visitor: Visitor, params: dict[str, str], dice: Dice) -> None:
    """Back with what the package itself made."""
    checks = Checks(
        state=params["state"],
        nonce=params.get("nonce", ""),
        challenge=params["code_challenge"],
        code="a-code-of-the-whole-way",
    )
    made = right(dice, visitor.world, checks)
    visitor.world.provider.said = made.said
    sent = await visitor.get("/api/auth/callback/op", made.query)
    judge_arrival(sent, made, visitor.world, query=made.query)
    judge_secrets(sent, made.said.spoken)
    await visitor.session(who="ada")


def _authorization_endpoint(said: Said) -> str:
    try:
        document: Any = json.loads(said.answers["discovery"].body)
        return str(document["authorization_endpoint"]) or AUTHORIZE
    except (ValueError, KeyError, TypeError, RecursionError):
        return AUTHORIZE


def _many_flows(visitor: Visitor, dice: Dice) -> None:
    """Flows that this browser has begun already, or a sub-domain has planted."""
    count = dice.pick((0, 1, 5, 6, 40)) if not dice.chance(5) else 1500
    value = b"x" * dice.pick((1, 600, 20)) if count < 1500 else b""
    for number in range(count):
        visitor.cookies[visitor.world.state + b".%016x" % (number << 36)] = value


_PARAMS = (
    "prompt", "login_hint", "scope", "state", "redirect_uri", "client_id", "client_secret", "response_type", "response_mode",
    "code_challenge", "code_challenge_method", "nonce", "request", "request_uri", "iss", "acr_values", MARK, "", "csrfToken",
    "callbackUrl", "error", "x" * 65, "authorization_details", "claims",
)  # fmt: skip


def _extras(dice: Dice) -> bytes:
    pairs = [(dice.pick(_PARAMS), dice.pick((*CODES, *TARGETS[:8], "none", "x" * 600))) for _ in range(dice.number(6))]
    if dice.chance(5):
        pairs = [(f"p{number}", "y" * dice.pick((1, 70))) for number in range(dice.pick((30, 101)))]
    return urlencode(pairs, errors="replace").encode()


async def refreshed(dice: Dice, worlds: Worlds, ask: Ask) -> Flow:
    """A session that is due, whose provider answers with new tokens: good ones, bent ones, or anything at all."""
    world = dice.pick(worlds)
    made = right(dice, world)
    made.params, made.cookies, made.said.grants = [], [], {}
    first = id_claims(made)
    if world.openid:
        later = {name: value for name, value in first.items() if name != "nonce" or dice.chance(50)}
        made.id_token = token(later, dice, bent=60) if dice.chance(80) else Token(None)
        made.is_wrong(made.id_token.why, made.id_token.later)
    document = {**document_of(made, dice, world), "access_token": f"newer-{made.access_token}"}
    if world.verified:
        access = token(access_claims(made), dice, kind="access", bent=30)
        made.is_wrong(access.why, access.later)
        document["access_token"] = access.text
    rotates = not dice.chance(25)
    if not rotates:
        del document["refresh_token"]
    made.said.refreshed = document
    outcome: Outcome = "refused" if made.wrong else "either" if made.unsure else "kept"
    if not document["access_token"]:
        outcome = "either"  # no token set as in RFC 6749, 5.1, so nothing else of it is judged
    world, outcome = _unreliable(made, outcome, dice, world)
    world.provider.said = made.said
    visitor = Visitor(dice, world, ask)
    left = dice.pick((10, -1))
    visitor.cookies[world.place.wire] = valid(
        dice, world.place, provider="op", sub=made.subject, expires_at=NOW + left, issued_at=NOW + left - TOKEN_LIFE,
        access_token=made.access_token, refresh_token=made.old_refresh_token,
        **({"id_token": jwt({"alg": "ES256"}, first, None) + "AA"} if world.openid else {}),
    )  # fmt: skip
    sent = await visitor.get("/", who="ada")
    judge_refreshed(json.loads(body_of(sent)), made.said, outcome=outcome, why=made.wrong, written=begins(sent, world))
    judge_secrets(sent, made.secrets)
    if outcome == "kept":
        held = visitor.held()
        before = made.old_refresh_token if not rotates else made.refresh_token
        need(
            held.get("refresh_token") == before, "the newest refresh token is kept, and the one before where none came"
        )
        need(held.get("access_token") == document["access_token"], "the newest access token is kept")
        made.said.asked.clear()
        await visitor.session(who="ada")
        need(not made.said.asked, "what was refreshed is not due")
    return made


def _unreliable(made: Flow, outcome: Outcome, dice: Dice, world: World) -> tuple[World, Outcome]:
    """Maybe another answer, other endpoints or other keys, and what may come of that."""
    chosen = dice.number(10)
    if chosen > 7:
        given = made.said.answers["token"] = answers.answer(dice)
        return world, "either" if _may_refuse(given, openid=world.openid) else "not refused"
    if chosen < 7 or not world.openid:
        return world, outcome
    if dice.chance(50):
        keys(made.said, dice, 0)
        return world.anew(), "either"
    discovery(made.said, dice)
    return world.anew(), "either" if outcome in ("refused", "either") else "not refused"


def _may_refuse(given: Answer, *, openid: bool) -> bool:
    """Whether an answer of the token endpoint can mean a refusal."""
    if given.error is not None:
        return False
    if 200 <= given.status < 300:
        return openid or b'"error"' in given.body
    return given.status in (400, 401, 403, 422) or (400 <= given.status < 500 and b"invalid_grant" in given.body)


async def ended(dice: Dice, worlds: Worlds, ask: Ask) -> Flow:
    """A sign-in, and then the provider's logout token: good, bent, for somebody else, or twice."""
    world = dice.pick([world for world in worlds if world.openid])
    made = right(dice, world)
    visitor = _at(dice, world, ask, made)
    visitor.cookies.pop(world.place.wire, None)
    judge_arrival(await visitor.get("/api/auth/callback/op", made.query), made, world, query=made.query)
    claims: dict[str, Any] = {
        "iss": ISSUER, "aud": CLIENT, "iat": int(NOW), "exp": int(NOW + 120), "jti": f"jti-{dice.identity}",
        "events": {EVENT: {}}, "sid": sid_of(made), "sub": made.subject,
    }  # fmt: skip
    elsewhere = dice.chance(15)
    if elsewhere:
        claims |= {"sid": f"other-{dice.identity}", "sub": "nobody"}
    sent_token = token(claims, dice, kind="logout", bent=60)
    attacker = Visitor(dice, world, ask)
    if dice.chance(20):
        attacker.cookies = dict(visitor.cookies)
    body, headers, fits = _carried(sent_token.text, dice)
    sent = await attacker.post("/api/auth/backchannel-logout", body, headers=headers, dice=dice)
    verdict = "refused" if sent_token.verdict == "refused" else "either" if not fits else sent_token.verdict
    judge_logout(sent, verdict=verdict)
    over = sent[0]["status"] == 200
    need(not over or verdict != "refused", "a bent logout token ends nothing")
    await visitor.session(
        who="either" if over and verdict == "either" else "nobody" if over and not elsewhere else "ada"
    )
    if over:
        judge_logout(await attacker.post("/api/auth/backchannel-logout", body, headers=headers), verdict="refused")
    return made


def _carried(text: str, dice: Dice) -> tuple[bytes, list[tuple[bytes, bytes]], bool]:
    """The body, its headers, and whether that is how it is to be sent (Back-Channel Logout 1.0, 2.5)."""
    origin = (b"origin", dice.pick((b"https://op.example", b"http://evil.example", b"null")))
    fields = [("logout_token", text)]
    if not dice.chance(25):
        return urlencode(fields, errors="replace").encode(), [(b"content-type", FORM), origin], True
    way = dice.number(5)
    if way == 0:
        return json.dumps(dict(fields)).encode(), [(b"content-type", b"application/json"), origin], False
    if way == 1:
        fields.insert(dice.number(2), ("logout_token", dice.pick(("", "x", text))))
    elif way == 2:
        fields += [("x", "y")] * dice.pick((1, 100))
    elif way == 3:
        fields.append(("x", "y" * 66_000))
    kind = dice.pick(CONTENT_TYPES) if way == 4 else FORM
    return urlencode(fields, errors="replace").encode(), [(b"content-type", kind), origin], False


async def sign_out(dice: Dice, worlds: Worlds, ask: Ask) -> Flow:
    """POST signout by somebody who signed in at the provider; its refresh token is revoked there."""
    world = dice.pick(worlds)
    made = right(dice, world)
    told = True
    if world.openid and dice.chance(15):
        discovery(made.said, dice)
        world, told = world.anew(), False
        world.leads_to["signout"] = (_end_session_endpoint(made.said),)
    if dice.chance(20):
        made.said.answers["revoke"] = answers.answer(dice)
    world.provider.said = made.said
    visitor = Visitor(dice, world, ask)
    hint = dice.pick((id_token_of(made, dice), None, "x" * 5000, "x" * 9000, 7)) if world.openid else None
    more = {} if hint is None else {"id_token": hint}
    claims = {"provider": "op", "refresh_token": made.refresh_token, "access_token": made.access_token, **more}
    visitor.cookies[world.place.wire] = valid(dice, world.place, **claims)
    if dice.chance(90):
        visitor.takes_csrf()
    fields = {"csrfToken": visitor.csrf_token}
    if dice.chance(50):
        fields["callbackUrl"] = dice.pick(TARGETS)
    allowed = world.csrf in visitor.cookies
    kept = len(visitor.cookies[world.place.wire]) < 30_000
    body = urlencode(fields, errors="replace").encode()
    sent = await visitor.post("/api/auth/signout", body, may_end=allowed, dice=dice)
    must = allowed and world.openid and told and kept
    judge_sign_out(sent, world, hint=hint if isinstance(hint, str) else None, must=must)
    if allowed and kept:
        await visitor.session(who="nobody")
    return made


def _end_session_endpoint(said: Said) -> str:
    try:
        document: Any = json.loads(said.answers["discovery"].body)
        return str(document["end_session_endpoint"]) or END
    except (ValueError, KeyError, TypeError, RecursionError):
        return END


async def anything(dice: Dice, worlds: Worlds, ask: Ask) -> Flow:
    """Any request, to the pages and endpoints that an application with providers has."""
    world = dice.pick(worlds)
    made = right(dice, world)
    world.provider.said = Said()
    await ask(world, asked(dice, world.place, secure=world.secure))
    return made


JOURNEYS: tuple[Callable[[Dice, Worlds, Ask], Awaitable[Flow]], ...] = (
    come_back, come_back, come_back, come_back, come_back, come_back, bounced, go_there, go_there, refreshed, refreshed, refreshed,
    ended, ended, sign_out, anything,
)  # fmt: skip
