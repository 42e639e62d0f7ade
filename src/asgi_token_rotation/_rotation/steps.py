"""What a request, or the task that works for it, does next: pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..options import RefreshOptions
from ..types import JWT, FailureKind
from .policy import Due, due, expired, refresh_token_expired
from .record import Record, place

Action: TypeAlias = Literal["serve", "ask", "watch", "stale", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What the access token must be good for."""

    options: RefreshOptions
    min_valid_for: float = 0  # seconds
    rejected: str | None = field(default=None, repr=False)  # an access token that an API refused

    def of(self, token: JWT, *, now: float) -> Due:
        """Whether the token must be refreshed to meet the demand."""
        return due(token, self.options, now=now, min_valid_for=self.min_valid_for, rejected=self.rejected)


# Not frozen, as Standing is not: both are made several times a request, and a frozen object takes four times as long.
@dataclass(slots=True)
class Step:
    """One decision. ``token`` is the newest that the presented cookie may have, ``kind`` why it is not fresh."""

    action: Action
    token: JWT = field(repr=False)
    kind: FailureKind | None = None


@dataclass(slots=True)
class Standing:
    """Where a session stands for the cookie that was presented. ``token`` is the newest that it may have."""

    token: JWT | None = field(repr=False)  # None: the session ended, or the cookie is stale
    kind: FailureKind | None = None  # why the access token is not fresh
    stale: bool = False
    looked: bool = False  # the record was read or written for it
    sole: bool = False  # the rotation could not be published: the cookie is its only holder


def newest_for(record: Record | None, token: JWT, *, now: float) -> Step:
    """What a cookie gets of what is known: its own token, a newer one, or none."""
    where = place(record, token["generation"], now=now)
    if where in ("stale", "ended"):
        return Step(where, token)
    if where == "older" and record is not None and record.token is not None:
        return Step("serve", record.token)
    return Step("serve", token)


def next_step(record: Record | None, token: JWT, demand: Demand, *, now: float) -> Step:
    """Serve, ask the provider, or watch another's claim, by the record that was just read."""
    step = newest_for(record, token, now=now)
    if step.action != "serve" or demand.of(step.token, now=now) == "no":
        return step
    newest = step.token
    if record is not None and record.generation == newest["generation"]:
        if record.state == "claimed":
            return Step("watch", newest)
        if record.state == "refused":
            return Step("serve", newest, "refused")
        if record.retry_at is not None and now < record.retry_at:
            return Step("serve", newest, _kind(record.kind))
    if newest.get("error") or refresh_token_expired(newest, now=now):
        return Step("serve", newest, "refused")
    return Step("ask", newest)


def _kind(noted: str | None) -> FailureKind:
    if noted == "throttled":
        return "throttled"
    if noted == "misconfigured":
        return "misconfigured"
    return "unavailable"  # a doubtful refusal is not one yet


def standing_of(step: Step, *, looked: bool = False, sole: bool = False) -> Standing:
    """What a decision means for the cookie that was presented."""
    if step.action in ("stale", "ended"):
        return Standing(None, stale=step.action == "stale", looked=looked)
    return Standing(step.token, step.kind, looked=looked, sole=sole)


def judged(standing: Standing, *, recoverable: bool, now: float) -> Standing:
    """A token that is never due and has expired counts as refused: nobody could refresh it."""
    if standing.token is None or recoverable or not expired(standing.token, now=now):
        return standing
    return Standing(standing.token, "refused")
