"""The record of one session, and every way in which it may change: pure.

States: ``live``, ``claimed`` (somebody asks the provider, or did and vanished), ``refused`` (the refresh token is dead)
and ``ended``. A transition takes a record and answers the next one, or None where it must not happen. The store compares
and sets the sealed result, so a transition that lost a race is judged again on what is there now.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from .._claims import apply_token_set, bare
from ..types import JWT, TokenSet
from .policy import moment

State: TypeAlias = Literal["live", "claimed", "refused", "ended"]
Place: TypeAlias = Literal["current", "older", "stale", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who asks the provider. ``lease``: seconds without a new ``beat`` after which another may take over."""

    owner: str
    lease: float
    beat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What all workers know of one session. Times are seconds since the epoch by the application's clock."""

    state: State = "live"
    generation: int = 0  # of the newest published token
    since: int = 0  # the oldest generation still served
    before: tuple[int, float] | None = None  # an older one still, and until when it is served
    token: JWT | None = field(default=None, repr=False)  # the newest; None where no cookie but its own is served
    until: float = 0.0  # the mark: from then on the token is not served to older cookies
    published: float = 0.0
    delivered: float | None = None  # when the browser was seen to have the newest generation
    retry_at: float | None = None
    failures: int = 0
    kind: str | None = None  # of the last failure; "doubtful": a refusal that awaits its second attempt; "ambiguous"
    claim: Claim | None = None  # in state claimed
    reason: str | None = None  # in state ended
    at: float = 0.0  # in state ended


def first(token: JWT, *, now: float) -> Record:
    """The record of a session that had none: whoever presents the token has its generation."""
    generation = token["generation"]
    return Record(generation=generation, since=generation, until=now, published=moment(token, "issued_at") or now)


def place(record: Record | None, generation: int, *, now: float) -> Place:
    """Where a cookie of that generation stands: ``older`` ones get the record's token, stale ones nothing."""
    if record is None:
        return "current"
    if record.state == "ended":
        return "ended"
    if generation >= record.generation:
        return "current"  # above it: the record lost a write, and the cookie is the only holder
    if record.token is None or now >= record.until:
        return "stale"
    if generation >= record.since:
        return "older"
    if record.before is not None and generation >= record.before[0] and now < record.before[1]:
        return "older"
    return "stale"


def claimed(
    record: Record | None, token: JWT, claim: Claim, *, presented: int, grace: float, now: float
) -> Record | None:
    """A claim on the refresh of ``token``, with the presented cookie noted as delivered; None where nobody may ask."""
    record = _of_token(record, token, now=now)
    if record.state != "live":
        return None
    if presented >= record.generation:
        record = _delivered(record, grace=grace, now=now)
    return replace(_without_dead_token(record, now=now), state="claimed", claim=claim)


def beaten(record: Record | None, owner: str | None) -> Record | None:
    """The claim with its next beat, if it is still the owner's."""
    if record is None or record.claim is None or record.claim.owner != owner:
        return None
    return replace(record, claim=replace(record.claim, beat=record.claim.beat + 1))


def taken_over(record: Record | None, claim: Claim, *, presented: int, grace: float, now: float) -> Record | None:
    """The claim of an owner that stopped beating, in another's hands. The token may have been sent already."""
    if record is None or record.state != "claimed":
        return None
    if presented >= record.generation:
        record = _delivered(record, grace=grace, now=now)
    return replace(record, claim=claim)


def refreshed(
    record: Record | None, sent: JWT, tokens: TokenSet, *, grace: float, undelivered: float, now: float
) -> Record | None:
    """The new token set published; None where it must be dropped: the session ended, or a newer rotation is there.

    ``sent`` is the token that was refreshed. A success wins over a claim of another and over a refusal of the same
    generation; over a newer generation only where an update came between, which left the refresh token as it was.
    """
    record = _of_token(record, sent, now=now)
    if record.state == "ended":
        return None
    base = sent
    if record.generation > sent["generation"]:
        if record.token is None or record.token.get("refresh_token") != sent.get("refresh_token"):
            return None
        base = record.token
    token = apply_token_set(bare(base), tokens, now=now)
    settled = replace(record, state="live", claim=None, failures=0, retry_at=None, kind=None)
    return _published(settled, token, replaced=sent, grace=grace, undelivered=undelivered, now=now)


def updated(
    record: Record | None,
    presented: JWT,
    token: JWT,
    *,
    rotation: bool,
    grace: float,
    undelivered: float,
    now: float,
) -> Record | None:
    """The claims of an update published, on top of what is there; None where the session has ended.

    A claim, a refusal, a back-off stay. Where the update brought a token set of its own, it is a ``rotation``, and what
    was known of the old one's failures is over; a claim still stays, since its call is under way.
    """
    record = _of_token(record, presented, now=now)
    if record.state == "ended":
        return None
    if rotation:
        state: State = "live" if record.state == "refused" else record.state
        record = replace(record, state=state, failures=0, retry_at=None, kind=None)
    return _published(record, bare(token), replaced=presented, grace=grace, undelivered=undelivered, now=now)


def failed(record: Record | None, owner: str, *, kind: str, retry_at: float, now: float) -> Record | None:
    """A failure noted, if the claim is still the owner's."""
    if record is None or record.claim is None or record.claim.owner != owner:
        return None
    record = replace(record, state="live", claim=None, failures=record.failures + 1, retry_at=retry_at, kind=kind)
    return _without_dead_token(record, now=now)


def refused(record: Record | None, owner: str, *, now: float) -> Record | None:
    """The refresh token known dead, if the claim is still the owner's."""
    if record is None or record.claim is None or record.claim.owner != owner:
        return None
    record = replace(record, state="refused", claim=None, failures=0, retry_at=None, kind="refused")
    return _without_dead_token(record, now=now)


def noted(record: Record | None, generation: int, *, grace: float, now: float) -> Record | None:
    """The newest generation noted as delivered, ``grace`` after it was published: until then answers may overtake."""
    if record is None or record.state == "ended" or record.generation != generation or record.delivered is not None:
        return None
    return _delivered(record, grace=grace, now=now) if now >= record.published + grace else None


def ended(record: Record | None, generation: int, *, reason: str, now: float) -> Record | None:
    """The session's end; None where it has ended already. Nothing follows it."""
    if record is not None and record.state == "ended":
        return None
    return Record(state="ended", generation=max(generation, record.generation if record else 0), reason=reason, at=now)


def _of_token(record: Record | None, token: JWT, *, now: float) -> Record:
    """The record that a transition of ``token`` starts from: none, or one that lost a write, is begun anew."""
    if record is None or (record.state != "ended" and record.generation < token["generation"]):
        return first(token, now=now)
    return record


def _delivered(record: Record, *, grace: float, now: float) -> Record:
    if record.delivered is not None:
        return record
    return replace(record, delivered=now, until=min(record.until, now + grace))


def _published(record: Record, token: JWT, *, replaced: JWT, grace: float, undelivered: float, now: float) -> Record:
    generation = record.generation + 1
    since, before = record.since, record.before
    if record.delivered is not None:
        since, before = record.generation, (record.since, record.delivered + grace)
    kept_from = max(moment(replaced, "expires_at") or now, now)
    return replace(
        record,
        generation=generation,
        since=since,
        before=before,
        token=token | {"generation": generation},
        until=kept_from + undelivered,
        published=now,
        delivered=None,
    )


def _without_dead_token(record: Record, *, now: float) -> Record:
    # A claimed record keeps its token: a success that comes after an update is laid on top of it.
    return replace(record, token=None) if record.state != "claimed" and now >= record.until else record
