"""What people do, and what that costs the store: refreshes, round trips and records of many sessions, simulated.

When a token is due is decided by the package's own ``policy.refresh_at``.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from dataclasses import dataclass, field

from asgi_token_rotation import Lifetime, RefreshOptions
from asgi_token_rotation._rotation.policy import refresh_at

DAY, HOUR, MINUTE = 86_400.0, 3_600.0, 60.0
OPTIONS = RefreshOptions()
WORKERS = 64  # processes among which a session's requests are spread at random
LEFT_AFTER = 90 * DAY  # mean time after which somebody never comes back on this device
SIGNED_OUT = 0.1  # of those who leave
# Requests by hour of the day: a trough at night, a plateau by day, a peak in the evening.
HOURS = (2, 1, 1, 1, 1, 2, 4, 7, 10, 11, 11, 10, 10, 10, 10, 10, 10, 10, 11, 13, 14, 12, 8, 4)


@dataclass(frozen=True)
class Habit:
    """A kind of visitor. ``share`` of the signed-in sessions."""

    name: str
    share: float
    visits: float  # a day
    length: float  # seconds, the mean
    gap: float  # seconds between two requests, the mean


HABITS = (
    Habit("open all day", 0.05, 1, 8 * HOUR, 30),
    Habit("several times a day", 0.20, 4, 10 * MINUTE, 15),
    Habit("daily", 0.30, 1, 5 * MINUTE, 15),
    Habit("weekly", 0.30, 1 / 7, 5 * MINUTE, 15),
    Habit("monthly", 0.15, 1 / 30, 5 * MINUTE, 15),
)


@dataclass
class Load:
    """What was counted in the measured days, for all sampled sessions together."""

    refreshes: list[int] = field(default_factory=lambda: [0] * 24)  # by hour of the day
    soon: int = 0  # of them, inside the margin: nobody waited
    reads: list[int] = field(default_factory=lambda: [0] * 24)
    writes: list[int] = field(default_factory=lambda: [0] * 24)

    def trips(self, hour: int) -> int:
        """Round trips."""
        return self.reads[hour] + self.writes[hour]


def poisson(chance: random.Random, mean: float) -> int:
    """Knuth's method; the means are small."""
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def requests_of(habit: Habit, days: int, chance: random.Random) -> list[float]:
    """The moments of one session's requests."""
    moments: list[float] = []
    for day in range(days):
        for _ in range(poisson(chance, habit.visits)):
            hour = chance.choices(range(24), HOURS)[0]
            moment = day * DAY + (hour + chance.random()) * HOUR
            end = moment + chance.expovariate(1 / habit.length)
            while moment < end:
                moments.append(moment)
                moment += chance.expovariate(1 / habit.gap)
    return sorted(moments)


def walk(moments: list[float], lifetime: float, load: Load, chance: random.Random, roll_after: float) -> None:
    """One session through its days: each refresh, the notes that follow it, the cookies that are only prolonged."""
    at = 0
    begins = expires = -math.inf
    while (at := bisect_left(moments, begins, lo=at)) < len(moments):
        now = moments[at]
        token = {"issued_at": now, "expires_at": now + lifetime}
        begins_next = refresh_at(token, OPTIONS)
        assert begins_next is not None
        following = bisect_left(moments, begins_next, lo=at)
        hour = int(now % DAY / HOUR)
        if now >= DAY:  # the first day only fills the cookies
            load.refreshes[hour] += 1
            load.soon += now < expires
            load.reads[hour] += 1
            load.writes[hour] += 2
            note(moments, at, following, load, chance)
            prolong(moments, at, following, now + roll_after, roll_after, load)
        begins, expires, at = begins_next, now + lifetime, at + 1


def note(moments: list[float], at: int, following: int, load: Load, chance: random.Random) -> None:
    """The delivered note: each process that meets the new generation reads the record, the first one writes it."""
    first = bisect_left(moments, moments[at] + OPTIONS.grace, lo=at)
    met = following - first
    if met <= 0:
        return
    hour = int(moments[first] % DAY / HOUR)
    load.reads[hour] += len({chance.randrange(WORKERS) for _ in range(min(met, 8 * WORKERS))})
    load.writes[hour] += 1


def prolong(moments: list[float], at: int, following: int, again: float, roll_after: float, load: Load) -> None:
    """Cookies written only because ``update_age`` has passed: a look at the record each."""
    while (at := bisect_left(moments, again, lo=at)) < following:
        again = moments[at] + roll_after
        load.reads[int(moments[at] % DAY / HOUR)] += 1


def loads(lifetimes: tuple[float, ...], *, sessions: int, days: int, seed: int) -> dict[float, Load]:
    """The load of a sample of sessions for each access-token lifetime, over ``days`` and one that is not counted."""
    found = {lifetime: Load() for lifetime in lifetimes}
    for habit in HABITS:
        for number in range(round(sessions * habit.share)):
            chance = random.Random(f"{seed} {habit.name} {number}")
            moments = requests_of(habit, days + 1, chance)
            for lifetime, load in found.items():
                walk(moments, lifetime, load, chance, Lifetime().roll_after)
    return found


@dataclass
class Alive:
    """Sessions, and their records, at one moment."""

    signed_in: int = 0  # cookies that would open
    records: int = 0  # with a token in them
    ends: int = 0


def visits_of(habit: Habit, until: float, chance: random.Random) -> tuple[list[float], bool]:
    """Visits from somebody's first one, at any time; and whether they have left for good."""
    visits = list[float]()
    moment = chance.uniform(0, until)
    leaves = moment + chance.expovariate(1 / LEFT_AFTER)
    while moment < min(leaves, until):
        visits.append(moment)
        moment += chance.expovariate(habit.visits / DAY)
    return visits, leaves < until


def alive(max_age: float, lifetime: float, *, people: int, seed: int) -> Alive:
    """How many records are alive beside how many signed-in sessions, in the steady state.

    ``share`` is of signed-in sessions in HABITS; here it is of the people who come, so it shifts a little.
    """
    until = 2 * max_age + 5 * LEFT_AFTER
    found = Alive()
    for habit in HABITS:
        for number in range(round(people * habit.share)):
            chance = random.Random(f"{seed} alive {habit.name} {number}")
            visits, left = visits_of(habit, until, chance)
            place(found, habit, visits, max_age, lifetime, until, left and chance.random() < SIGNED_OUT, chance)
    return found


def place(
    found: Alive,
    habit: Habit,
    visits: list[float],
    max_age: float,
    lifetime: float,
    until: float,
    signed_out: bool,
    chance: random.Random,
) -> None:
    """Count what the visits of one device have left behind."""
    last = visits[-1]
    if last + max_age <= until:
        return  # what was there has expired: cookie and record live equally long
    if signed_out:
        found.ends += 1
        return
    found.signed_in += 1
    earlier = visits[-2] if len(visits) > 1 else -math.inf
    came_back = last - earlier < max_age  # else the last visit began with a sign-in, which needs no record
    found.records += came_back or chance.expovariate(1 / habit.length) > lifetime
