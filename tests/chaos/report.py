"""The verdict for people: a table, and the timeline of every case that nothing excuses."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.journal import Line
from chaos.settings import BROWSERS, Plan
from chaos.verdict import Verdict

SHOWN = 5  # cases with their timelines; of the others a line each
BEFORE, AFTER = 25.0, 3.0  # seconds of a timeline around its case
_PLAIN = ("at", "event", "browser", "by", "family")


def table(plan: Plan, verdict: Verdict) -> str:
    """Two columns: (a) with an excuse, (b) without."""
    rows = [
        f"{plan.store}: {plan.seconds:.0f} s, {plan.workers} workers, {plan.browsers} browsers; again with: {_replay(plan)}",
        f"  sessions {verdict.sessions}, requests {verdict.requests}, rotations {verdict.rotations}",
        f"  faults: {', '.join(f'{name} {count}' for name, count in sorted(verdict.faults.items())) or 'none'}",
        "",
        f"  {'':58}{'(a)':>7}{'(b)':>7}",
        _row("refresh tokens sent twice", verdict.twice.total(), verdict.unexcused("sent twice", "miscounted")),
        *(_row(f"  {cause}", count) for cause, count in sorted(verdict.twice.items())),
        _row("sessions lost", verdict.lost.total(), verdict.unexcused("lost")),
        *(_row(f"  {cause}", count) for cause, count in sorted(verdict.lost.items())),
        _row("answers of 5xx that were not asked for", 0, verdict.unexcused("5xx")),
        _row("connections broken (a: by a kill)", verdict.broken, verdict.unexcused("broken")),
        _row("older cookies that overtook (a: within its second)", verdict.overtaken, verdict.unexcused("overtaken")),
        _row("wrong answers of any other kind", 0, verdict.unexcused("wrong", "nothing")),
        "",
        f"  answers with an expired access token (RefreshUnavailable and the like): {verdict.unavailable}",
        f"  requests that were left before their answer: {verdict.went_away}",
        f"  longest wait: {verdict.longest_wait:.2f} s; at a stopped worker: {verdict.longest_wait_of_stopped:.2f} s",
        f"  between answer and publication: {_window(verdict)}",
    ]
    return "\n".join(rows)


def _replay(plan: Plan) -> str:
    words = f"SEED={plan.seed} MINUTES={plan.seconds / 60:g} STORE={plan.store}"
    return f"{words} make chaos" if plan.browsers == BROWSERS else f"{words} BROWSERS={plan.browsers} make chaos"


def _window(verdict: Verdict) -> str:
    median, late, longest = verdict.window_at(0.5), verdict.window_at(0.99), max(verdict.window, default=0.0)
    return f"median {median:.1f} ms, p99 {late:.1f} ms, max {longest:.1f} ms ({len(verdict.window)} rotations)"


def _row(name: str, excused: int, unexcused: int | None = None) -> str:
    return f"  {name:58}{excused:>7}{'' if unexcused is None else unexcused:>7}"


def cases(verdict: Verdict, lines: Sequence[Line]) -> str:
    """Every case, the first few with the lines that belong to its session."""
    parts: list[str] = []
    for number, case in enumerate(sorted(verdict.cases, key=lambda case: case.at)):
        parts.append(f"--- {case.what}; session {case.family}, at {case.at:.3f}")
        if number < SHOWN and case.family is not None:
            parts += timeline(lines, family=case.family, at=case.at)
    return "\n".join(parts)


def timeline(lines: Sequence[Line], *, family: str, at: float) -> list[str]:
    """What all journals say about a session around a time, and about faults meanwhile."""
    shown = [
        line
        for line in lines
        if at - BEFORE <= line["at"] <= at + AFTER
        and (line.get("family") == family or (line.get("by") == "harness" and line["event"] != "wrong"))
    ]
    return [_told(line, at) for line in shown]


def _told(line: Line, at: float) -> str:
    who = line.get("browser") or line.get("by")
    rest = " ".join(f"{name}={value}" for name, value in line.items() if name not in _PLAIN and value is not None)
    return f"    {line['at'] - at:+8.3f}  {who:10} {line['event']:10} {rest}"
