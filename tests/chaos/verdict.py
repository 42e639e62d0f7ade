"""What a run has shown: counts, each in one of two columns, and the cases that nothing excuses. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos.journal import Line
from chaos.sends import SLACK, Second, Send, second_sends, sends_in
from chaos.settings import OVERTAKING

LOSSES = ("anonymous", "refused")


@dataclass(frozen=True, slots=True)
class Case:
    """Something that must not happen, with what to look for in the journals."""

    what: str
    at: float
    family: str | None


@dataclass(slots=True)
class Verdict:
    """The figures of one run. ``twice`` and ``lost`` count by cause what is excused; ``cases`` is what is not."""

    sessions: int = 0
    requests: int = 0
    rotations: int = 0
    twice: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    went_away: int = 0
    overtaken: int = 0
    unavailable: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    longest_wait: float = 0.0
    longest_wait_of_stopped: float = 0.0
    window: list[float] = field(default_factory=list)  # milliseconds between answer and publication
    cases: list[Case] = field(default_factory=list)

    def unexcused(self, *kinds: str) -> int:
        """How many cases there are of these kinds."""
        return sum(case.what.startswith(kinds) for case in self.cases)

    def window_at(self, share: float) -> float:
        """A quantile of the window, in milliseconds."""
        if len(self.window) < 2:
            return self.window[0] if self.window else 0.0
        return statistics.quantiles(self.window, n=1000, method="inclusive")[round(share * 1000) - 1]


def judge(lines: Sequence[Line], *, reuses: int | None = None) -> Verdict:
    """The verdict on all journals' lines. ``reuses``: what the back end counted itself."""
    verdict = Verdict()
    sends = sends_in(lines)
    seconds = second_sends(sends, lines)
    _count(verdict, lines, sends)
    for second in seconds:
        if second.cause is None:
            verdict.cases.append(_sent_twice(second))
        else:
            verdict.twice[second.cause] += 1
    _losses(verdict, lines, seconds)
    _broken(verdict, lines)
    _overtaken(verdict, lines)
    if reuses is not None and reuses > len(seconds):
        at = lines[-1]["at"] if lines else 0.0
        verdict.cases.append(
            Case(f"miscounted: the back end saw {reuses} reuses, the journals {len(seconds)}", at, None)
        )
    if not verdict.sessions or not verdict.rotations or not verdict.requests:
        verdict.cases.append(Case("nothing happened: no sessions, requests or rotations", 0.0, None))
    return verdict


def _count(verdict: Verdict, lines: Sequence[Line], sends: Sequence[Send]) -> None:
    stalls = _stalls(lines)
    for line in lines:
        match line["event"]:
            case "signed in":
                verdict.sessions += 1
            case "response":
                verdict.requests += 1
                verdict.unavailable += line["error"] not in (None, "RefreshAccessTokenError")
                sent = line["at"] - line["waited"]
                if line["what"] in ("me", "late", "fail"):
                    if _hit(stalls, line["worker"], sent, line["at"]):
                        verdict.longest_wait_of_stopped = max(verdict.longest_wait_of_stopped, line["waited"])
                    else:
                        verdict.longest_wait = max(verdict.longest_wait, line["waited"])
            case "went away":
                verdict.went_away += 1
            case "killed" | "stopped":
                verdict.faults[f"workers {line['event']}"] += 1
            case "store":
                verdict.faults[f"store {line['what']}"] += 1
            case "order" if line["order"]:
                verdict.faults["bad minutes of the back end"] += 1
            case _:
                pass
    verdict.rotations = sum(send.status == 200 for send in sends)
    verdict.window = [
        (send.published - send.tokens) * 1000
        for send in sends
        if send.published is not None and send.tokens is not None
    ]


def _sent_twice(second: Second) -> Case:
    first, again = second.first, second.again
    what = f"sent twice: {again.token} by {first.worker} ({first.id}) and by {again.worker} ({again.id})"
    return Case(what, again.received or 0.0, again.family)


def _losses(verdict: Verdict, lines: Sequence[Line], seconds: Sequence[Second]) -> None:
    """A session that was refused is excused by a second time that is excused; an anonymous one by nothing."""
    for line in lines:
        if line["event"] != "wrong":
            continue
        how, family = line["how"], line["family"]
        before = [item for item in seconds if item.again.family == family and (item.again.judged or 0) <= line["at"]]
        causes = {item.cause for item in before}
        if how == "refused" and causes and None not in causes:
            verdict.lost[str(before[0].cause)] += 1
        elif how in LOSSES:
            verdict.cases.append(Case(f"lost: {how} ({line.get('what')} at {line.get('worker')})", line["at"], family))
        elif how == "signed out and served" and (_restarted(lines, line["ended"]) or _restarted(lines, line["at"])):
            verdict.faults["signed out, or tried again, while the store was away"] += 1
        elif how == "status":
            verdict.cases.append(Case(f"5xx or so: {line['status']} for {line['what']}", line["at"], family))
        else:
            verdict.cases.append(Case(f"wrong: {how} ({line.get('what')} at {line.get('worker')})", line["at"], family))


def _broken(verdict: Verdict, lines: Sequence[Line]) -> None:
    """A connection may break where its worker was killed, and at no other time."""
    kills: dict[str, list[float]] = {}
    for line in lines:
        if line["event"] == "killed":
            kills.setdefault(line["worker"], []).append(line["at"])
    for line in lines:
        if line["event"] != "broken":
            continue
        # A kept connection may be found dead by the first request after the kill.
        if any(line["sent"] - 10 <= at <= line["at"] + 1 for at in kills.get(line["worker"], [])):
            verdict.broken += 1
        else:
            what = f"broken: {line['error']} for {line['what']} at {line['worker'] or 'no worker'}"
            verdict.cases.append(Case(what, line["at"], line["family"]))


def _overtaken(verdict: Verdict, lines: Sequence[Line]) -> None:
    """An answer that was on its way may bring a cookie after a sign-out or another sign-in; a later one may not."""
    ends: dict[str, float] = {}
    stalls = _stalls(lines)
    for line in lines:
        if line["event"] in ("signed out", "signed in"):
            ends[line["browser"]] = line["at"]
        if line["event"] != "overtaken":
            continue
        ended = ends.get(line["browser"])
        if ended is None or ended < line["sent"]:
            continue  # the sign-out's own answer is still to come, and clears it
        if line["at"] - ended <= OVERTAKING or _hit(stalls, line["worker"], line["sent"], line["at"]):
            verdict.overtaken += 1
        else:
            what = f"overtaken: an answer to {line['what']} came {line['at'] - ended:.1f} s after the session's end"
            verdict.cases.append(Case(what, line["at"], line["family"]))


def _stalls(lines: Sequence[Line]) -> list[tuple[str, float, float]]:
    return [(line["worker"], line["began"], line["at"]) for line in lines if line["event"] == "stopped"]


def _hit(stalls: Sequence[tuple[str, float, float]], worker: str, since: float, until: float) -> bool:
    return any(name == worker and began <= until and ended >= since for name, began, ended in stalls)


def _restarted(lines: Sequence[Line], at: float) -> bool:
    """Whether the store was away then; one that only stalls is waited for."""
    restarts = [line for line in lines if line["event"] == "store" and line["what"] == "restarted"]
    return any(line["began"] - SLACK <= at <= line["at"] + SLACK for line in restarts)
