"""After an outage: how many calls come at once, with the package's back-off and without. Decided by its own pure rules."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal

from asgi_token_rotation import RefreshOptions
from asgi_token_rotation._rotation.policy import back_off, due, expired
from asgi_token_rotation._rotation.record import Record

OPTIONS = RefreshOptions()
LIFETIME = 900.0  # seconds, of an access token
GAP = 20.0  # seconds between two requests of one session, the mean
BEGIN = 1200.0  # when the outage begins
AFTER = 1200.0  # seconds that are looked at after it


@dataclass(frozen=True)
class Outage:
    """What is down, and for how long. ``patient``: with the package's back-off, else each due request asks."""

    what: Literal["provider", "store"]
    seconds: float
    patient: bool = True


@dataclass
class Herd:
    """What was counted, by second."""

    calls: Counter[int] = field(default_factory=Counter[int])
    trips: Counter[int] = field(default_factory=Counter[int])
    unserved: Counter[int] = field(default_factory=Counter[int])  # requests whose access token had expired
    requests: Counter[int] = field(default_factory=Counter[int])


def herd(outage: Outage, *, sessions: int, seed: int) -> Herd:
    """Sessions in full use, through the outage and after."""
    found = Herd()
    for number in range(sessions):
        _one(outage, random.Random(f"{seed} {number}"), found)
    return found


def _one(outage: Outage, chance: random.Random, found: Herd) -> None:
    end = BEGIN + outage.seconds
    issued = -chance.uniform(0, LIFETIME - 60)
    token = {"refresh_token": "r", "generation": 1, "issued_at": issued, "expires_at": issued + LIFETIME}
    record = Record(generation=1)
    now = chance.expovariate(1 / GAP)
    while now < end + AFTER:
        second = int(now)
        found.requests[second] += 1
        if due(token, OPTIONS, now=now) != "no":
            down = BEGIN <= now < end
            if down and outage.what == "store":
                found.trips[second] += 1  # the read that fails
            elif outage.patient and record.retry_at is not None and now < record.retry_at:
                found.trips[second] += 1
            else:
                found.calls[second] += 1
                found.trips[second] += 3
                if down:
                    pause = back_off(record.failures + 1, jitter=chance.random())
                    record = replace(record, failures=record.failures + 1, retry_at=now + pause)
                else:
                    record = replace(record, failures=0, retry_at=None)
                    token |= {"issued_at": now, "expires_at": now + LIFETIME}
        found.unserved[second] += expired(token, now=now)
        now += chance.expovariate(1 / GAP)
